"""Posterior of faint particles by importance sampling, where a parabola about the maximum does not describe it.

The likelihood of a faint particle falls off more slowly than its curvature at the maximum says, and not evenly:
Laplace's errors were 1.2 to 1.4 times too small at SNR 0.03 (64 px), and half the wrong poses were not expected. Nor is
the mean where the maximum is. Proposals are Student distributions that adapt to the samples before them; all samples
are weighed against the mixture of all proposals (Cornuet, Marin, Mira & Robert, Scand. J. Stat. 39, 798, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy.stats import chi2
from torch import Tensor

from .refine import Hypotheses, Refiner

_FREEDOM = 6.0  # of the Student distribution: heavier tails than the posterior's, so that no sample weighs much
# samples of each round, and how much wider than the posterior seems to be they are spread (Laplace's is too narrow)
_FIRST = ((96, 1.5), (96, 1.2), (96, 1.2))
_MORE = ((192, 1.3), (192, 1.3), (192, 1.3))
_CERTAIN = 0.99  # probability of being near the mean below which few samples do not show the tails

Chunks = Callable[[Hypotheses], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Samples:
    """What sampling found about each of B hypotheses.

    Attributes
    ----------
    offset
        (B, 5 + M) from the hypothesis to the mean: rotation vector (rad), shift (px), amplitudes.
    covariance
        (B, 5 + M, 5 + M) about the mean.
    near
        (B,) probability that the rotation is within the angle asked for of the mean.
    """

    offset: Tensor
    covariance: Tensor
    near: Tensor


def sample_posterior(
    refiner: Refiner, h: Hypotheses, covariance: Tensor, variance: Tensor, near_rad: float, chunks: Chunks
) -> Samples:
    """Explore the posterior about one hypothesis of each image.

    All images use the same (quasi-random) standard samples, so the answer for one does not depend on the others.

    Parameters
    ----------
    refiner
        Of the images.
    h
        (B,) where to begin.
    covariance
        (B, 5 + M, 5 + M) a first guess: of rotation vector (rad), shift (px) and amplitudes (Å).
    variance
        (B,) of the whitened noise.
    near_rad
        Angle of `Samples.near`.
    chunks
        Splits many hypotheses into as many as memory allows.
    """
    about = (torch.zeros_like(covariance[..., 0]), covariance)
    found = _explored(refiner, h, about, variance, near_rad, chunks, _FIRST, 0)
    doubtful = torch.nonzero(found.near < _CERTAIN).flatten()
    if not len(doubtful):
        return found
    about = (found.offset[doubtful], found.covariance[doubtful])
    more = _explored(refiner, h.take(doubtful), about, variance[doubtful], near_rad, chunks, _MORE, len(_FIRST))
    return Samples(
        *(getattr(found, name).index_copy(0, doubtful, getattr(more, name)) for name in found.__dataclass_fields__)
    )


def _explored(
    refiner: Refiner,
    h: Hypotheses,
    about: tuple[Tensor, Tensor],
    variance: Tensor,
    near_rad: float,
    chunks: Chunks,
    plan: tuple[tuple[int, float], ...],
    seed: int,
) -> Samples:
    """Rounds of samples, each from where those before it found the posterior to be; `about`: mean and covariance."""
    mean, width = about
    moves, targets, proposals = [], [], []
    for number, (count, wider) in enumerate(plan):
        standard = _standard(width.shape[-1], count, seed + number).to(width)
        root = wider * _root(width)
        moves.append(mean[:, None] + standard @ root.transpose(-1, -2))
        targets.append(_log_posterior(refiner, h, moves[-1], variance, chunks))
        proposals.append((mean, root))
        at = torch.cat(moves, 1)
        density = torch.stack([_log_density(at, *proposal) for proposal in proposals])  # all rounds are equally long
        weight = torch.softmax(torch.cat(targets, 1) - torch.logsumexp(density, 0), 1)
        mean = (weight[..., None] * at).sum(1)
        apart = at - mean[:, None]
        # of few samples that count the spread is too small: as much of the guess before is left as they are few
        few = (weight**2).sum(1).clamp(max=0.5)
        width = (weight[..., None] * apart).transpose(-1, -2) @ apart + few[:, None, None] * width
    near = (weight * (torch.linalg.vector_norm(apart[..., :3], dim=-1) < near_rad)).sum(1)
    return Samples(mean, width, near)


def _log_posterior(refiner: Refiner, h: Hypotheses, moves: Tensor, variance: Tensor, chunks: Chunks) -> Tensor:
    """Logarithm of the posterior (B, K), up to a constant of the image, at moves (B, K, 5 + M) from the hypotheses."""
    count = moves.shape[1]
    many = h.take(torch.arange(len(h), device=moves.device).repeat_interleave(count)).moved(moves.flatten(0, 1))
    found = [refiner.log_posterior(many.take(part), variance[part // count]) for part in chunks(many)]
    return torch.cat(found).reshape(-1, count).to(moves)


def _log_density(at: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """Of the Student distribution (B, K), up to a constant."""
    standard = torch.linalg.solve_triangular(root, (at - mean[:, None]).transpose(-1, -2), upper=False)
    spread = torch.log(torch.diagonal(root, dim1=-2, dim2=-1)).sum(-1)
    power = 0.5 * (_FREEDOM + root.shape[-1])
    return -power * torch.log1p((standard**2).sum(1) / _FREEDOM) - spread[:, None]


def _root(covariance: Tensor) -> Tensor:
    floor = torch.diag_embed(1e-9 * torch.diagonal(covariance, dim1=-2, dim2=-1) + 1e-30)
    return torch.linalg.cholesky(covariance + floor)


@lru_cache(maxsize=16)
def _standard(parameters: int, count: int, number: int) -> Tensor:
    """Quasi-random samples (K, P) of a Student distribution of mean 0, float64."""
    engine = torch.quasirandom.SobolEngine(parameters + 1, scramble=True, seed=number)
    uniform = engine.draw(count, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    normal = math.sqrt(2.0) * torch.erfinv(2.0 * uniform[:, :-1] - 1.0)
    stretch = torch.as_tensor(_FREEDOM / chi2.ppf(uniform[:, -1].numpy(), _FREEDOM)).sqrt()
    return normal * stretch[:, None]
