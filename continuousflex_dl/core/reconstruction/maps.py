"""The maps of a particle set: two halves, their correlation, and the whole, with the noise held down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .filters import automatic_mask, sphere_mask
from .fsc import ShellCorrelation, masked_correlation, shell_correlation
from .solve import shell_weights, solve
from .sums import FourierSums

_LEAST, _MOST = 1e-3, 0.999  # correlations outside say nothing about how much signal there is


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps (box, box, box) and how well their halves agree.

    Attributes
    ----------
    whole, first, second
        Map of all images and of the two halves.
    mask
        That the correlations were measured in, or None.
    plain, masked, corrected
        Fourier shell correlation of the halves: without mask, inside it, and that corrected for the mask; the latter
        two None without a mask.
    """

    whole: Tensor
    first: Tensor
    second: Tensor
    mask: Tensor | None
    plain: ShellCorrelation
    masked: ShellCorrelation | None
    corrected: ShellCorrelation | None

    @property
    def best(self) -> ShellCorrelation:
        """The curve that states the resolution: corrected for the mask where there is one."""
        return self.plain if self.corrected is None else self.corrected


def make_maps(
    first: FourierSums,
    second: FourierSums,
    pixel_size: float,
    *,
    regularise: bool = True,
    mask: Tensor | None = None,
    auto_mask: bool = False,
    generator: torch.Generator | None = None,
) -> Maps:
    """Turn the sums of two half sets into maps.

    Parameters
    ----------
    first, second
        Sums of the halves.
    pixel_size
        Å.
    regularise
        Weigh every shell of the whole map with its signal-to-noise ratio, taken from the halves (Wiener filter;
        Scheres, J. Struct. Biol. 180, 519, 2012). The half maps are never regularised.
    mask
        (box, box, box), 0 to 1.
    auto_mask
        Make a mask from the whole map where none is given.
    generator
        Source of the random phases that correct for the mask.

    Raises
    ------
    ValueError
        If an automatic mask is asked for and nothing stands out of the noise.
    """
    halves = solve(first), solve(second)
    box = first.box
    ball = sphere_mask(box, 0.42 * box, 0.06 * box, halves[0].device)
    prior = None
    if regularise:
        inside = shell_correlation(halves[0] * ball, halves[1] * ball, pixel_size)
        prior = noise_to_signal(inside, first, second)
    whole = solve(first, second, prior=prior)
    if mask is None and auto_mask:
        mask = automatic_mask(whole, pixel_size)
    plain = shell_correlation(*halves, pixel_size)
    masked = corrected = None
    if mask is not None:
        mask = mask.to(whole)
        masked, corrected = masked_correlation(*halves, mask, pixel_size, generator or torch.Generator().manual_seed(0))
    return Maps(whole, *halves, mask, plain, masked, corrected)


def noise_to_signal(halves: ShellCorrelation, first: FourierSums, second: FourierSums) -> Tensor:
    """Prior of `solve` for all images, from the correlation of the halves: mean weight / signal-to-noise ratio."""
    correlation = np.clip(halves.correlation[: first.radius + 1], _LEAST, _MOST)
    below = np.flatnonzero(correlation < 0.05)
    if len(below):  # beyond the first shell without signal single shells correlate by chance
        correlation[below[0] :] = np.minimum(correlation[below[0] :], 0.05)
    ratio = 2 * correlation / (1 - correlation)  # of all images, twice that of one half
    return shell_weights(first, second) / torch.as_tensor(ratio)
