"""What is known of the amplitudes before an image is seen: a Gaussian, at first wide, then learned from particles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

LEAST_PARTICLES = 30  # fewer do not tell a distribution
_REACH = 1.2  # standard deviations at which templates are deformed along each principal axis
_AXES = 6  # of ten that mattered alike, the other four changed no pose, and cost a seventh of the time


@dataclass(frozen=True)
class AmplitudePrior:
    """Gaussian distribution of the amplitudes.

    Attributes
    ----------
    mean
        (M,) Å.
    covariance
        (M, M) Å^2; None for no prior at all.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64] | None

    @classmethod
    def wide(cls, eigenvalues: NDArray[np.float64], spread: float) -> AmplitudePrior:
        """Independent amplitudes about zero, of standard deviation `spread` (Å) on the softest mode.

        Stiffer modes move less: thermal motion goes as eigenvalue^-1/2. A spread of zero means no prior.
        """
        values = np.asarray(eigenvalues, dtype=np.float64)
        mean = np.zeros(len(values))
        if spread <= 0:
            return cls(mean, None)
        known = bool(np.isfinite(values).all() and (values > 0).all())
        softness = np.sqrt(values.min() / values) if known else np.ones(len(values))
        return cls(mean, np.diag((spread * softness) ** 2))

    def precision(self, like: Tensor) -> Tensor:
        """Inverse covariance (M, M) as a tensor like another one; zero for no prior."""
        if self.covariance is None:
            return torch.zeros(len(self.mean), len(self.mean)).to(like)
        return torch.as_tensor(np.linalg.inv(self.covariance)).to(like)

    def loss(self, amplitudes: NDArray[np.float64], covariance: NDArray[np.floating]) -> NDArray[np.float64]:
        """What estimates (n, M) with error covariances (n, M, M) lose in log-likelihood (n,) against the likeliest."""
        if self.covariance is None:
            return np.zeros(len(amplitudes))
        spread = np.asarray(covariance, dtype=np.float64) + self.covariance
        offset = np.asarray(amplitudes, dtype=np.float64) - self.mean
        half: NDArray[np.float64] = 0.5 * (offset * np.linalg.solve(spread, offset[..., None])[..., 0]).sum(-1)
        return half

    def conformations(self) -> NDArray[np.float64]:
        """Amplitudes (K, M) that represent the distribution: its mean, and both ways along its widest axes."""
        if self.covariance is None:
            return self.mean[None]
        variance, axes = np.linalg.eigh(self.covariance)
        steps = (_REACH * np.sqrt(variance.clip(min=0))[:, None] * axes.T)[::-1][:_AXES]
        return np.concatenate([self.mean[None], self.mean + steps, self.mean - steps])


def learn_prior(
    amplitudes: NDArray[np.float64], covariance: NDArray[np.float64], iterations: int = 100
) -> AmplitudePrior | None:
    """Distribution of the true amplitudes, given estimates with errors (expectation maximisation, empirical Bayes).

    The estimates scatter more than the truth does; with the error of each known, the scatter of the truth is what is
    left. Estimates that do not fit the distribution (wrong poses) are left out.

    Parameters
    ----------
    amplitudes
        (n, M) estimates, Å.
    covariance
        (n, M, M) of their errors.
    iterations
        Of expectation maximisation.

    Returns
    -------
    None where there are fewer than `LEAST_PARTICLES` particles.
    """
    count, modes = amplitudes.shape
    if count < LEAST_PARTICLES:
        return None
    keep = np.ones(count, dtype=bool)
    mean, spread = np.median(amplitudes, axis=0), np.cov(amplitudes.T).reshape(modes, modes)
    for _ in range(3):  # fit, leave outliers out, fit again
        mean, spread = _maximise(amplitudes[keep], covariance[keep], mean, spread, iterations)
        offset = amplitudes - mean
        distance = np.einsum("ni,nij,nj->n", offset, np.linalg.inv(spread + covariance), offset)
        keep = distance < chi2.ppf(0.999, modes)
        if keep.sum() < LEAST_PARTICLES:
            return None
    # few particles say little of the correlations: pull those towards none
    used = int(keep.sum())
    spread = (used * spread + modes * np.diag(np.diag(spread))) / (used + modes)
    return AmplitudePrior(mean, spread)


def _maximise(
    estimates: NDArray[np.float64],
    errors: NDArray[np.float64],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
    iterations: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # a floor keeps directions without motion invertible
    floor = 1e-3 * np.trace(spread) / len(mean) * np.eye(len(mean))
    for _ in range(iterations):
        gain = spread @ np.linalg.inv(spread + errors)  # (n, M, M)
        expected = mean + np.einsum("nij,nj->ni", gain, estimates - mean)
        left = spread - gain @ spread
        mean = expected.mean(axis=0)
        offset = expected - mean
        spread = (offset.T @ offset) / len(offset) + left.mean(axis=0) + floor * 1e-3
        spread = 0.5 * (spread + spread.T)
    return mean, spread + floor
