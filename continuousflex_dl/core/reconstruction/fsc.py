"""Fourier shell correlation of two maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HALF_MAPS, MODEL = 0.143, 0.5  # usual thresholds: between half maps, and against a model


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """Fourier shell correlation curve.

    Attributes
    ----------
    correlation
        (S,) for shells 0, 1, ... in cycles per box; shell 0 is 1 by definition.
    box
        px.
    pixel_size
        Å.
    """

    correlation: NDArray[np.float64]
    box: int
    pixel_size: float

    @property
    def frequency(self) -> NDArray[np.float64]:
        """(S,) in 1/Å."""
        return np.arange(len(self.correlation)) / (self.box * self.pixel_size)

    def resolution(self, threshold: float) -> float:
        """Resolution in Å where the curve first falls below a threshold (interpolated between shells).

        The resolution of the last shell where it never does, and infinity where it does at once.
        """
        below = np.flatnonzero(self.correlation < threshold)
        if not len(below):
            return float(1.0 / self.frequency[-1])
        shell = int(below[0])
        if shell == 0:
            return float("inf")
        upper, lower = self.correlation[shell - 1], self.correlation[shell]
        place = shell - 1 + (upper - threshold) / (upper - lower)
        return float(self.box * self.pixel_size / place) if place > 0 else float("inf")

    @property
    def reaches_nyquist(self) -> bool:
        """Whether the half-map curve is above 0.143 up to the last shell, so that the resolution is only a bound."""
        return not (self.correlation < HALF_MAPS).any()


def shell_index(box: int, device: torch.device | str = "cpu") -> Tensor:
    """(box, box, box // 2 + 1) rounded distance from the origin of every coefficient of `torch.fft.rfftn`."""
    full = torch.fft.fftfreq(box, device=device, dtype=torch.float64) * box
    half = torch.fft.rfftfreq(box, device=device, dtype=torch.float64) * box
    return torch.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2).round().long()


def shell_correlation(first: Tensor, second: Tensor, pixel_size: float) -> ShellCorrelation:
    """Fourier shell correlation of two maps (box, box, box) of one pixel size in Å, up to Nyquist.

    Raises
    ------
    ValueError
        If the maps are not cubes of one size.
    """
    box = first.shape[0]
    if first.ndim != 3 or set(first.shape) != {box} or first.shape != second.shape:
        raise ValueError(f"cubic maps of one size are needed, found {tuple(first.shape)} and {tuple(second.shape)}")
    return _correlate(torch.fft.rfftn(first.float()), torch.fft.rfftn(second.float()), box, pixel_size)


def _correlate(a: Tensor, b: Tensor, box: int, pixel_size: float) -> ShellCorrelation:
    shells = (box - 1) // 2 + 1
    index = shell_index(box, a.device)
    # coefficients with 0 < x < Nyquist stand for two
    double = torch.full((box // 2 + 1,), 2.0, dtype=torch.float64, device=a.device)
    double[0] = 1.0
    if box % 2 == 0:
        double[-1] = 1.0
    inside = (index < shells).reshape(-1)
    index = index.reshape(-1)[inside]

    def over_shells(values: Tensor) -> NDArray[np.float64]:
        weighted = (values.double() * double).reshape(-1)[inside]
        return torch.zeros(shells, dtype=torch.float64, device=a.device).index_add_(0, index, weighted).cpu().numpy()

    common = over_shells(a.real * b.real + a.imag * b.imag)
    power = over_shells(a.abs() ** 2) * over_shells(b.abs() ** 2)
    correlation = common / np.sqrt(np.where(power > 0, power, 1.0))
    correlation[0] = 1.0
    return ShellCorrelation(correlation, box, pixel_size)


def masked_correlation(
    first: Tensor, second: Tensor, mask: Tensor, pixel_size: float, generator: torch.Generator
) -> tuple[ShellCorrelation, ShellCorrelation]:
    """Correlation inside a mask, as it is and corrected for what the mask itself correlates.

    Phases beyond the resolution at which the unmasked curve falls below 0.8 are made random in both maps; what then
    correlates inside the mask comes from the mask (Chen et al., Ultramicroscopy 135, 24, 2013).

    Parameters
    ----------
    first, second
        Half maps (box, box, box).
    mask
        (box, box, box), 0 to 1, with a soft edge.
    pixel_size
        Å.
    generator
        Source of the random phases.

    Returns
    -------
    Masked curve, corrected curve.
    """
    box = first.shape[0]
    plain = shell_correlation(first, second, pixel_size)
    masked = shell_correlation(first * mask, second * mask, pixel_size)
    below = np.flatnonzero(plain.correlation < 0.8)
    start = max(2, int(below[0])) if len(below) else len(plain.correlation)
    if start >= len(plain.correlation):
        return masked, masked
    randomised = [_random_phases(volume, start, generator) * mask for volume in (first, second)]
    noise = shell_correlation(randomised[0], randomised[1], pixel_size).correlation
    shells = np.arange(len(noise))
    corrected = masked.correlation.copy()
    beyond = shells >= start + 2  # the shells at the border mix known and random phases
    gain = np.clip(1 - noise[beyond], 1e-6, None)
    corrected[beyond] = (masked.correlation[beyond] - noise[beyond]) / gain
    return masked, ShellCorrelation(corrected, box, pixel_size)


def _random_phases(volume: Tensor, start: int, generator: torch.Generator) -> Tensor:
    """Keep amplitudes, replace phases from a shell on by those of white noise (which keeps the volume real)."""
    transform = torch.fft.rfftn(volume.float())
    noise = torch.randn(volume.shape, generator=generator, dtype=torch.float32).to(volume.device)
    other = torch.fft.rfftn(noise)
    random = transform.abs() * other / other.abs().clamp(min=1e-20)
    mixed = torch.where(shell_index(volume.shape[0], volume.device) >= start, random, transform)
    return torch.fft.irfftn(mixed, s=tuple(volume.shape))
