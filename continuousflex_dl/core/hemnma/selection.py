"""Which hypotheses of an image are worth more work."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .reference import Reference
from .refine import Hypotheses

# Measured on images from SNR 0.03 to no noise: in the global search the true orientation was within 0.12 of the best
# gain in log-likelihood, or 10 below it where that is more.
LIKELY_SHARE, LIKELY_GAIN = 0.15, 10.0
FEWEST = 8  # orientations of an image


def worth_refining(gain: Tensor) -> Tensor:
    """Which orientations the global search leaves open (B, H): few for a well-seen particle, many for a faint one.

    Parameters
    ----------
    gain
        (B, H) log-likelihood gained over no particle, best first.
    """
    best = gain[:, :1]
    near = gain >= best - (LIKELY_SHARE * best).clamp(min=LIKELY_GAIN)
    return near | (torch.arange(gain.shape[1], device=gain.device) < FEWEST)


def within_margin(h: Hypotheses, power: Tensor, images: int, margin: float) -> Hypotheses:
    """Those whose gain in log-likelihood over no particle is at most this share (and 12) below the best of the image.

    A well-seen particle tells its poses apart early, and few are worth more work; a faint one keeps many.

    Parameters
    ----------
    power
        (B,) sum of squares of the whitened images.
    """
    if math.isinf(margin):
        return h
    least = torch.full((images,), math.inf, device=h.cost.device).scatter_reduce(0, h.image, h.cost, "amin")
    allowed = (margin * (0.5 * power - least)).clamp(min=12.0)
    return h.take(torch.nonzero(h.cost <= (least + allowed)[h.image]).flatten())


def best_distinct(
    h: Hypotheses,
    images: int,
    keep: int,
    reference: Reference,
    within_angst: float = 0.0,
    margin: float = math.inf,
) -> Hypotheses:
    """The best hypotheses of each image, those that ended in the same place counted once.

    Parameters
    ----------
    h
        Of all images.
    images
        Number of images; each has at least one hypothesis.
    keep
        At most so many are kept of each image.
    reference
        Whose atoms are turned and deformed.
    within_angst
        Of two whose atoms are nearer to each other than this (root mean square of the effects of rotation and of
        amplitudes) only the better one is kept.
    margin
        Those whose cost is above the best by more than this are dropped.
    """
    order = torch.argsort(h.cost, stable=True)
    order = order[torch.argsort(h.image[order], stable=True)]  # by image, best first
    h = h.take(order)
    count = torch.bincount(h.image, minlength=images)
    first = torch.cumsum(count, 0) - count
    rank = torch.arange(len(h), device=h.image.device) - first[h.image]
    width = int(count.max())
    table = torch.full((images, width), -1, dtype=torch.long, device=h.image.device)
    table[h.image, rank] = torch.arange(len(h), device=h.image.device)
    cost = torch.where(table >= 0, h.cost[table], math.inf)  # (images, width), ascending
    open_ = (table >= 0) & (cost <= cost[:, :1] + margin)
    rotation, amplitudes = h.rotation[table], h.amplitudes[table] / reference.amplitude_unit
    every = torch.arange(images, device=h.image.device)
    chosen = []
    for _ in range(min(keep, width)):
        best = open_.float().argmax(1)  # the first that is open
        chosen.append(torch.where(open_.any(1), table[every, best], -1))
        trace = (rotation * rotation[every, best][:, None]).sum((-2, -1))
        # a turn by an angle t moves atoms by t r sqrt(2 / 3) on average; 2 (1 - cos t) stands for t squared
        turned = (3.0 - trace) * reference.gyration_radius**2 * (2.0 / 3.0)
        bent = ((amplitudes - amplitudes[every, best][:, None]) ** 2).sum(-1)
        open_ = open_ & (turned + bent > within_angst**2)
        open_[every, best] = False
    index = torch.stack(chosen, 1).flatten()
    return h.take(index[index >= 0])
