"""From sums on the grid to a map: quotient, prior per shell, gridding correction.

The grid is gone through in slabs, and what lies outside the box is cut off after the transform along each axis: memory
stays near that of the sums themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .sums import PADDING, FourierSums

_EMPTY = 1e-3  # grid points with less weight than this share of their shell's mean are damped: nothing was seen there
_SLAB_VALUES = 1 << 21


def shell_weights(*sums: FourierSums) -> Tensor:
    """Mean weight of the grid points of each shell, (radius + 1,) float64: what the images tell about it."""
    radius = sums[0].radius
    total, count = np.zeros(radius + 1), np.zeros(radius + 1)
    for _, _, _, weight, distance in _slabs(*sums):
        shell = distance.round().long().reshape(-1).cpu().numpy()
        inside = shell <= radius
        values = weight.reshape(-1).cpu().numpy()[inside]
        total += np.bincount(shell[inside], weights=values, minlength=radius + 1)
        count += np.bincount(shell[inside], minlength=radius + 1)
    return torch.as_tensor(total / count)


def solve(*sums: FourierSums, prior: Tensor | None = None) -> Tensor:
    """Map (box, box, box), [z, y, x], that the images belong to.

    Parameters
    ----------
    sums
        Over the images; several are taken together.
    prior
        (radius + 1,) inverse variance of the map's coefficients in units of the noise's, per shell: what is added to
        the weights (Scheres, J. Mol. Biol. 415, 406, 2012, Eq. 12). None: only as much as keeps empty points quiet.

    Notes
    -----
    Trilinear spreading multiplies the map by the transform of its kernel, which is divided out. The mean outside the
    inscribed sphere is 0.
    """
    box, radius, reach = sums[0].box, sums[0].radius, sums[0].reach
    floor = shell_weights(*sums) * _EMPTY
    device = sums[0].real.device
    added = (floor if prior is None else torch.maximum(prior.cpu().double(), floor)).float().to(device)
    size = PADDING * box
    limit = min(reach, size // 2 - 1)
    kept = torch.arange(-limit, limit + 1, device=device)  # frequencies of the padded box that the grid has
    inside = (
        torch.arange(box, device=device) - box // 2
    ) % size  # voxels of the box; the transform's origin is voxel 0
    partly = torch.zeros(box, size, size // 2 + 1, dtype=torch.complex64, device=device)
    for first, last, total, weight, distance in _slabs(*sums):
        low = distance.clamp(max=radius).floor().long().clamp(max=radius - 1)
        share = distance.clamp(max=radius) - low
        weight = weight + (1 - share) * added[low] + share * added[low + 1]
        total = torch.where((distance <= radius) & (weight > 0), total / weight.clamp(min=1e-30), 0)
        column = torch.zeros(size, last - first, size // 2 + 1, dtype=torch.complex64, device=device)
        column[kept % size, :, : limit + 1] = total[kept + reach][:, :, : limit + 1]
        y = torch.arange(first, last, device=device) - reach
        there = y.abs() <= limit
        partly[:, y[there] % size] = torch.fft.ifft(column, dim=0)[inside][:, there]
    volume = torch.empty(box, box, box, dtype=torch.float32, device=device)
    step = max(1, _SLAB_VALUES // (size * size))
    for first in range(0, box, step):
        plane = torch.fft.ifft(partly[first : first + step], dim=1)[:, inside]
        volume[first : first + step] = torch.fft.irfft(plane, n=size, dim=2)[:, :, inside]
    return _corrected(volume, size)


def _slabs(*sums: FourierSums) -> Iterator[tuple[int, int, Tensor, Tensor, Tensor]]:
    """First row, last row, sums, weights and distances of slabs along y, over all sums."""
    side, _, depth = sums[0].shape
    step = max(1, _SLAB_VALUES // (side * depth))
    for first in range(0, side, step):
        last = min(side, first + step)
        total, weight, distance = sums[0].rows(first, last)
        for other in sums[1:]:
            more, more_weight, _ = other.rows(first, last)
            total, weight = total + more, weight + more_weight
        yield first, last, total, weight, distance


def _corrected(volume: Tensor, size: int) -> Tensor:
    """Put the level of the solvent to 0, and divide by the transform of the trilinear kernel."""
    box = len(volume)
    centred = torch.arange(box, dtype=torch.float32, device=volume.device) - box // 2
    # images say next to nothing about the mean: the level of the solvent is what it is known by
    outside = centred[:, None, None] ** 2 + centred[:, None] ** 2 + centred**2 > (box / 2) ** 2
    # summed by one thread, so that the last bits do not depend on their number
    volume = volume - float(volume[outside].cpu().numpy().mean(dtype=np.float64))
    kernel = torch.sinc(centred / size) ** 2
    return volume / (kernel[:, None, None] * kernel[:, None] * kernel)
