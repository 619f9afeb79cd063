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
_FIRST = ((256, 1.6), (256, 1.3), (256, 1.3))
_MORE = ((512, 1.3), (512, 1.3), (512, 1.3))
# probability of being near the mean, and samples that count, below which the first rounds do not show the tails
_CERTAIN, _ENOUGH = 0.99, 100.0

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
    pool = _Pool.start(covariance)
    _explore(pool, refiner, h, variance, chunks, _FIRST, 0)
    found = pool.summary(near_rad)
    doubtful = torch.nonzero((found.near < _CERTAIN) | (pool.effective < _ENOUGH)).flatten()
    if not len(doubtful):
        return found
    pool = pool.take(doubtful)
    _explore(pool, refiner, h.take(doubtful), variance[doubtful], chunks, _MORE, len(_FIRST))
    more = pool.summary(near_rad)
    return Samples(
        *(getattr(found, name).index_copy(0, doubtful, getattr(more, name)) for name in found.__dataclass_fields__)
    )


@dataclass
class _Pool:
    """All samples of B posteriors so far, K of each, and what they say together.

    Attributes
    ----------
    moves, targets
        By round: (B, K', 5 + M) samples, (B, K') logarithm of the posterior there.
    proposals
        By round: mean (B, 5 + M) and lower triangular root (B, 5 + M, 5 + M) of the width of what they were drawn from.
    weight
        (B, K).
    mean, covariance
        (B, 5 + M) and (B, 5 + M, 5 + M), of the posterior.
    """

    moves: list[Tensor]
    targets: list[Tensor]
    proposals: list[tuple[Tensor, Tensor]]
    weight: Tensor
    mean: Tensor
    covariance: Tensor

    @classmethod
    def start(cls, covariance: Tensor) -> _Pool:
        mean = torch.zeros_like(covariance[..., 0])
        return cls([], [], [], mean[:, :0], mean, covariance)

    @property
    def effective(self) -> Tensor:
        """Number of samples (B,) that count."""
        return 1.0 / (self.weight**2).sum(1)

    def take(self, index: Tensor) -> _Pool:
        """The samples of some of the posteriors."""
        return _Pool(
            [values[index] for values in self.moves],
            [values[index] for values in self.targets],
            [(mean[index], root[index]) for mean, root in self.proposals],
            self.weight[index],
            self.mean[index],
            self.covariance[index],
        )

    def draw(self, standard: Tensor, wider: float) -> Tensor:
        """New samples (B, K', 5 + M) from standard ones (K', 5 + M), about where the posterior was found to be."""
        root = wider * _root(self.covariance)
        self.proposals.append((self.mean, root))
        self.moves.append(self.mean[:, None] + standard @ root.transpose(-1, -2))
        return self.moves[-1]

    def weigh(self, target: Tensor) -> None:
        """Weigh all samples against the mixture of all proposals; `target` is that of the newest (B, K')."""
        self.targets.append(target)
        at = torch.cat(self.moves, 1)
        drawn = torch.tensor([moves.shape[1] for moves in self.moves]).to(at)
        density = torch.stack([_log_density(at, *proposal) for proposal in self.proposals])
        mixture = torch.logsumexp(density + torch.log(drawn / drawn.sum())[:, None, None], 0)
        self.weight = torch.softmax(torch.cat(self.targets, 1) - mixture, 1)
        self.mean = (self.weight[..., None] * at).sum(1)
        apart = at - self.mean[:, None]
        # of few samples that count the spread is too small: as much of the guess before is left as they are few
        few = (1.0 / self.effective).clamp(max=0.5)[:, None, None]
        self.covariance = (self.weight[..., None] * apart).transpose(-1, -2) @ apart + few * self.covariance

    def summary(self, near_rad: float) -> Samples:
        """What the samples say, and how probable a rotation within an angle of the mean is."""
        turn = torch.cat(self.moves, 1)[..., :3] - self.mean[:, None, :3]
        near = (self.weight * (torch.linalg.vector_norm(turn, dim=-1) < near_rad)).sum(1)
        return Samples(self.mean, self.covariance, near)


def _explore(
    pool: _Pool,
    refiner: Refiner,
    h: Hypotheses,
    variance: Tensor,
    chunks: Chunks,
    plan: tuple[tuple[int, float], ...],
    seed: int,
) -> None:
    """Rounds of samples, each from where those before it found the posterior to be."""
    for number, (count, wider) in enumerate(plan):
        moves = pool.draw(_standard(h.amplitudes.shape[1] + 5, count, seed + number).to(pool.mean), wider)
        pool.weigh(_log_posterior(refiner, h, moves, variance, chunks))


def _log_posterior(refiner: Refiner, h: Hypotheses, moves: Tensor, variance: Tensor, chunks: Chunks) -> Tensor:
    """Logarithm of the posterior (B, K), up to a constant of the image, at moves (B, K, 5 + M) from the hypotheses."""
    count = moves.shape[1]
    many = h.take(torch.arange(len(h), device=moves.device).repeat_interleave(count)).moved(moves.flatten(0, 1))
    found = [refiner.log_posterior(many.take(part), variance[part // count]) for part in chunks(many)]
    # all rotations are equally probable, rotation vectors are not, and beyond half a turn they come again
    angle = torch.linalg.vector_norm(moves[..., :3], dim=-1)
    volume = torch.where(angle <= math.pi, 2.0 * torch.log(torch.sinc(angle / (2.0 * math.pi))), -math.inf)
    return torch.cat(found).reshape(-1, count).to(moves) + volume


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
