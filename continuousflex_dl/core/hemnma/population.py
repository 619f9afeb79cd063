"""How the amplitudes of the whole particle set are distributed, and what that says of each particle (empirical Bayes).

While particles are aligned, one Gaussian learned from some of them is the prior. When all are aligned, they tell more:
a mixture of Gaussians follows a path that bends, or states that are apart. Each particle then moves to the mean of its
posterior under that mixture, its pose along with its amplitudes as their errors are correlated.

The fit is expectation maximisation with the error of every particle known (extreme deconvolution: Bovy, Hogg & Roweis,
Ann. Appl. Stat. 2011), for likelihoods in information form, because an image may not show some direction at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .prior import LEAST_PARTICLES, AmplitudePrior

FIT_PARTICLES = 4000  # at most so many particles are used for the fit, spread evenly
LARGEST_MIXTURE = 4
_ITERATIONS = 150
_LEAST_INFORMATION = 0.05  # of the prior's; directions of which an image says less are taken as unseen
_FLOOR_RMSD = 0.25  # Å: components are not narrower than about this
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likelihoods:
    """What the images alone say of the amplitudes: exp(-a L a / 2 + e a), (n, M, M) information and (n, M) e."""

    information: Floats
    vector: Floats

    @classmethod
    def without_prior(cls, amplitudes: Floats, covariance: Floats, prior: AmplitudePrior) -> Likelihoods:
        """Take the prior out of posterior means (n, M) and covariances (n, M, M)."""
        if prior.covariance is None:
            information = np.linalg.inv(covariance)
            return cls(information, np.einsum("nij,nj->ni", information, amplitudes))
        # in coordinates in which the prior is the unit Gaussian, what exceeds 1 is from the image
        to_amplitude = np.linalg.cholesky(prior.covariance)
        from_amplitude = np.linalg.inv(to_amplitude)
        total = np.einsum("ji,njk,kl->nil", to_amplitude, np.linalg.inv(covariance), to_amplitude)
        own, axes = np.linalg.eigh(total - np.eye(len(prior.mean)))
        centre = from_amplitude @ prior.mean
        place = np.einsum("ij,nj->ni", from_amplitude, amplitudes)
        along = np.einsum("nji,nj->ni", axes, np.einsum("nij,nj->ni", total, place) - centre)
        seen = own > _LEAST_INFORMATION
        own, along = np.where(seen, own, 0.0), np.where(seen, along, 0.0)
        information = np.einsum("nij,nj,nkj->nik", axes, own, axes)
        return cls(
            np.einsum("ji,njk,kl->nil", from_amplitude, information, from_amplitude),
            np.einsum("ji,nj->ni", from_amplitude, np.einsum("nij,nj->ni", axes, along)),
        )


@dataclass(frozen=True)
class Population:
    """Mixture of K Gaussians: weights (K,), means (K, M) Å, covariances (K, M, M) Å^2."""

    weights: Floats
    means: Floats
    covariances: Floats

    def posterior(self, seen: Likelihoods) -> tuple[Floats, Floats, Floats, Floats]:
        """Responsibilities (n, K), means (n, K, M) and covariances (n, K, M, M) by component; log evidence (n,)."""
        precision = np.linalg.inv(self.covariances)
        pull = np.einsum("kij,kj->ki", precision, self.means)
        total = seen.information[:, None] + precision
        covariance = np.linalg.inv(total)
        vector = seen.vector[:, None] + pull
        mean = np.einsum("nkij,nkj->nki", covariance, vector)
        evidence = (
            np.log(self.weights)
            - 0.5 * np.linalg.slogdet(self.covariances)[1]
            - 0.5 * np.linalg.slogdet(total)[1]
            + 0.5 * (vector * mean).sum(-1)
            - 0.5 * (self.means * pull).sum(-1)
        )
        top = evidence.max(axis=1, keepdims=True)
        share = np.exp(evidence - top)
        norm = share.sum(axis=1, keepdims=True)
        return share / norm, mean, covariance, (top + np.log(norm))[:, 0]

    def explain(self, seen: Likelihoods) -> tuple[Floats, Floats]:
        """Posterior mean (n, M) and covariance (n, M, M) of each particle."""
        share, mean, covariance, _ = self.posterior(seen)
        best = np.einsum("nk,nkm->nm", share, mean)
        apart = mean - best[:, None]
        return best, np.einsum("nk,nkij->nij", share, covariance + apart[..., :, None] * apart[..., None, :])


def fit_population(
    amplitudes: Floats, covariance: Floats, prior: AmplitudePrior, amplitude_unit: float
) -> Population | None:
    """Fit mixtures of 1 to `LARGEST_MIXTURE` Gaussians and take the best by the Bayesian information criterion.

    Parameters
    ----------
    amplitudes, covariance
        (n, M) and (n, M, M): posterior of each particle under `prior`.
    prior
        That they were aligned with.
    amplitude_unit
        Amplitude of an RMSD of 1 Å.

    Returns
    -------
    None where there are fewer than `LEAST_PARTICLES` particles.
    """
    count, modes = amplitudes.shape
    if count < LEAST_PARTICLES:
        return None
    seen = Likelihoods.without_prior(amplitudes, covariance, prior)
    floor = (_FLOOR_RMSD * amplitude_unit) ** 2 * np.eye(modes)
    best, best_score = None, -np.inf
    for components in range(1, LARGEST_MIXTURE + 1):
        free = components * (1 + modes + modes * (modes + 1) // 2) - 1
        if count < 3 * free:
            break
        population, evidence = _maximise(_start(amplitudes, components, floor), seen, floor)
        score = evidence - 0.5 * free * np.log(count)
        if score <= best_score:
            break
        best, best_score = population, score
    return best


def _start(amplitudes: Floats, components: int, floor: Floats) -> Population:
    """Equal shares along the first principal axis."""
    centred = amplitudes - amplitudes.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    parts = np.array_split(amplitudes[np.argsort(centred @ axis, kind="stable")], components)
    return Population(
        np.full(components, 1.0 / components),
        np.array([part.mean(axis=0) for part in parts]),
        np.array([np.cov(part.T).reshape(floor.shape) + floor for part in parts]),
    )


def _maximise(population: Population, seen: Likelihoods, floor: Floats) -> tuple[Population, float]:
    modes = len(floor)
    evidence = -np.inf
    for _ in range(_ITERATIONS):
        share, mean, covariance, log_evidence = population.posterior(seen)
        before, evidence = evidence, float(log_evidence.sum())
        if abs(evidence - before) < 1e-4 * len(mean):
            break
        members = share.sum(axis=0) + 1e-9
        means = np.einsum("nk,nkm->km", share, mean) / members[:, None]
        apart = mean - means
        spread = np.einsum("nk,nkij->kij", share, covariance + apart[..., :, None] * apart[..., None, :])
        population = Population(
            members / members.sum(), means, (spread + modes * floor) / (members + modes)[:, None, None]
        )
    return population, evidence


def update(found: dict[str, NDArray], population: Population, prior: AmplitudePrior) -> dict[str, NDArray]:
    """Answers under the population instead of the prior.

    Parameters
    ----------
    found
        ``amplitudes`` (n, M) and ``covariance`` (n, 5 + M, 5 + M) of rotation vector (rad), shift (px), amplitudes.
    population, prior
        What is to be assumed, and what was.

    Returns
    -------
    ``amplitudes``, ``amplitude_std`` (n, M); ``move`` (n, 5), by which rotation (vector in the frame of the image, rad)
    and shift (px) change; ``pose_variance`` (n, 5).
    """
    covariance = np.asarray(found["covariance"], dtype=np.float64)
    own = covariance[:, 5:, 5:]
    amplitudes, after = population.explain(Likelihoods.without_prior(found["amplitudes"], own, prior))
    gain = np.linalg.solve(own, covariance[:, 5:, :5])  # (n, M, 5)
    move = np.einsum("nmp,nm->np", gain, amplitudes - found["amplitudes"])
    less = np.einsum("nmp,nml,nlp->np", gain, own - after, gain)
    variance = np.diagonal(covariance, axis1=1, axis2=2)[:, :5]
    return {
        "amplitudes": amplitudes,
        "amplitude_std": np.sqrt(np.diagonal(after, axis1=1, axis2=2)),
        "move": move,
        "pose_variance": np.maximum(variance - less, 0.05 * variance),
    }
