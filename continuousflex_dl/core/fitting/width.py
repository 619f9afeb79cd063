"""Width of a point in a map, from how its power falls with resolution compared with that of the reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..dynamics.modes import NormalModes
from ..pseudoatoms.gaussians import render
from ..reconstruction.map_files import Map
from .nodes import make_nodes

WIDTH_PER_RESOLUTION = 0.225  # a Gaussian of this many times the resolution (Pintilie & Chiu 2012, as in ChimeraX)
_FROM_ANGST, _LEAST_SHELLS = 50.0, 3
_ABOVE_NOISE = 2.0
_DAMPED = 1e-4  # share of the power at low resolution below which shells are not used
Floats = NDArray[np.float64]


def own_width(source: Map, modes: NormalModes, resolution: float | None = None) -> float:
    """Standard deviation in Å of a point in a map.

    Powers do not depend on where and how the molecule lies, and little on its conformation: their ratio, map over
    points, falls as ``exp(-4 pi^2 width^2 s^2)``.

    Parameters
    ----------
    source
        The map.
    modes
        The reference.
    resolution
        Å, if it is known; the width is then `WIDTH_PER_RESOLUTION` times it.
    """
    least = 0.5 * source.pixel_size
    if resolution is not None:
        return max(WIDTH_PER_RESOLUTION * resolution, least)
    step = source.pixel_size
    nodes = make_nodes(modes, max(2.0, step))
    half = np.abs(nodes.places).max(axis=0) + 4 * step
    shape = tuple(int(np.ceil(2 * side / step)) for side in half[::-1])
    points = render((nodes.places + half)[:, ::-1] / step, nodes.weights, 1.0, shape)
    frequency, power = _radial_power(source.values, step)
    own_frequency, own_power = _radial_power(points, step)
    expected = np.interp(frequency, own_frequency, own_power) * np.exp(4 * np.pi**2 * (step * frequency) ** 2)
    nyquist = 0.5 / step
    noise = float(np.median(power[frequency > 0.85 * nyquist])) if (frequency > 0.85 * nyquist).any() else 0.0
    used = (frequency > 1 / _FROM_ANGST) & (frequency < 0.9 * nyquist) & (power > _ABOVE_NOISE * noise)
    used &= power > _DAMPED * power[1:].max()
    if np.count_nonzero(used) < _LEAST_SHELLS:
        return step  # the noise hides everything; a voxel is as good a guess as any
    ratio = np.log((power[used] - noise) / expected[used])
    slope = np.polyfit(frequency[used] ** 2, ratio, 1)[0]
    return float(max(np.sqrt(max(-slope, 0.0)) / (2 * np.pi), least))


def _radial_power(values: NDArray[np.floating], voxel: float) -> tuple[Floats, Floats]:
    """Frequencies in 1/Å and mean squared Fourier coefficients of a map (nz, ny, nx) in thin shells."""
    power = np.abs(np.fft.rfftn(values.astype(np.float64) - float(np.median(values)))) ** 2
    nz, ny, nx = values.shape
    z, y, x = np.fft.fftfreq(nz, voxel), np.fft.fftfreq(ny, voxel), np.fft.rfftfreq(nx, voxel)
    frequency = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    thickness = 1 / (max(values.shape) * voxel)
    shell = np.rint(frequency / thickness).astype(np.int64).ravel()
    count = np.bincount(shell)
    mean = np.bincount(shell, power.ravel()) / np.maximum(count, 1)
    return np.arange(len(count)) * thickness, mean
