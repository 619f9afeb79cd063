"""From sums on the grid to a map: quotient, prior per shell, gridding correction."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .sums import PADDING, FourierSums

_EMPTY = 1e-3  # grid points with less weight than this share of their shell's mean are damped: nothing was seen there


def shell_weights(sums: FourierSums) -> Tensor:
    """Mean weight of the grid points of each shell, (radius + 1,) float64: what the images tell about it."""
    _, weight = sums.completed()
    shell = sums.shells().round().long().reshape(-1)
    inside = shell <= sums.radius
    total = torch.zeros(sums.radius + 1, dtype=torch.float64, device=weight.device)
    count = torch.zeros_like(total)
    total.index_add_(0, shell[inside], weight.reshape(-1)[inside].double())
    count.index_add_(0, shell[inside], torch.ones_like(weight.reshape(-1)[inside], dtype=torch.float64))
    return (total / count).cpu()


def solve(sums: FourierSums, prior: Tensor | None = None) -> Tensor:
    """Map (box, box, box), [z, y, x], that the images belong to.

    Parameters
    ----------
    sums
        Over the images.
    prior
        (radius + 1,) inverse variance of the map's coefficients in units of the noise's, per shell: what is added to
        the weights (Scheres, J. Mol. Biol. 415, 406, 2012, Eq. 12). None: only as much as keeps empty points quiet.

    Notes
    -----
    Trilinear spreading multiplies the map by the transform of its kernel, which is divided out. The mean outside the
    inscribed sphere is 0.
    """
    total, weight = sums.completed()
    distance = sums.shells()
    floor = shell_weights(sums).to(weight.device) * _EMPTY
    added = floor if prior is None else torch.maximum(prior.to(weight.device, torch.float64), floor)
    position = distance.clamp(max=sums.radius)
    low = position.floor().long().clamp(max=sums.radius - 1)
    share = position - low
    added = added.float()
    damping = (1 - share) * added[low] + share * added[low + 1]
    known = (distance <= sums.radius) & (weight + damping > 0)
    total = torch.where(known, total / (weight + damping).clamp(min=1e-30), torch.zeros_like(total))
    return _to_map(total, sums)


def _to_map(half: Tensor, sums: FourierSums) -> Tensor:
    box, reach = sums.box, sums.reach
    size = PADDING * box
    padded = torch.zeros(size, size, size // 2 + 1, dtype=half.dtype, device=half.device)
    limit = min(reach, size // 2 - 1)
    index = torch.arange(-limit, limit + 1, device=half.device)
    rows = index + reach
    depth = torch.arange(limit + 1, device=half.device)
    padded[(index % size)[:, None, None], (index % size)[:, None], depth] = half[
        rows[:, None, None], rows[:, None], depth
    ]
    whole = torch.fft.irfftn(padded, s=(size, size, size))
    offset = (torch.arange(box, device=half.device) - box // 2) % size  # the origin of the transform is voxel 0
    volume = whole[offset[:, None, None], offset[:, None], offset]
    centred = torch.arange(box, dtype=torch.float32, device=half.device) - box // 2
    # images say next to nothing about the mean: the level of the solvent is what it is known by
    outside = centred[:, None, None] ** 2 + centred[:, None] ** 2 + centred**2 > (box / 2) ** 2
    # summed by one thread, so that the last bits do not depend on their number
    volume = volume - float(volume[outside].cpu().numpy().mean(dtype=np.float64))
    kernel = torch.sinc(centred / size) ** 2
    return volume / (kernel[:, None, None] * kernel[:, None] * kernel)
