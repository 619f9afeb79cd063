"""Which modes the images themselves ask for.

Some images are aligned along many modes at once, under a wide prior. With that prior taken out again, what is left is
the likelihood of the amplitudes of each image, the pose integrated out. A mode earns its place where a distribution of
its amplitudes (mean and width, learned from one half of the images) makes the other half more probable than amplitudes
of zero do. That these images were not learned from is the penalty: a mode that only follows noise gains nothing there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ..errors import InputError
from ..progress import Progress, silent
from .pipeline import Hemnma
from .population import Likelihoods
from .prior import LEAST_PARTICLES, AmplitudePrior

SIGMAS = 3.0  # standard errors that a gain must be above zero
_ITERATIONS, _ITERATIONS_WITHOUT = 100, 25
_OUTLIER = 0.999  # quantile of the distance beyond which an image is left out
_PORTION = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Independent:
    """Independent Gaussian amplitudes: mean (M,) Å and variance (M,) Å^2, zero for modes at rest."""

    mean: Floats
    variance: Floats

    def without(self, mode: int) -> Independent:
        """The same with one mode at rest."""
        keep = np.arange(len(self.mean)) != mode
        return Independent(self.mean * keep, self.variance * keep)

    def explain(self, seen: Likelihoods) -> tuple[Floats, Floats, Floats]:
        """Log evidence (n,), posterior means (n, M) and variances (n, M) of the amplitudes.

        The evidence is the integral of the likelihood over the amplitudes, so that 0 is that of the resting reference.
        """
        width = np.sqrt(self.variance)
        pull = seen.vector - seen.information @ self.mean
        scaled = np.eye(len(width)) + width[:, None] * seen.information * width
        inverse = np.linalg.inv(scaled)
        along = pull * width
        step = np.einsum("nij,nj->ni", inverse, along)
        at_mean = seen.vector @ self.mean - 0.5 * np.einsum("i,nij,j->n", self.mean, seen.information, self.mean)
        evidence = at_mean - 0.5 * np.linalg.slogdet(scaled)[1] + 0.5 * (along * step).sum(axis=1)
        return evidence, self.mean + width * step, self.variance * np.diagonal(inverse, axis1=1, axis2=2)


@dataclass(frozen=True, eq=False)
class ModeEvidence:
    """What the images say of M modes.

    Attributes
    ----------
    gain, error
        (M,) by how much the logarithm of the likelihood of an image falls, on average, when the mode is held at rest
        and the others are not; and its standard error. Of images that the distribution was not learned from.
    mean, spread
        (M,) mean and standard deviation in Å of the amplitudes.
    images, left_out
        Images that count, and those left out because their pose is unsure or their amplitudes are far from all others.
    """

    gain: Floats
    error: Floats
    mean: Floats
    spread: Floats
    images: int
    left_out: int

    @property
    def supported(self) -> NDArray[np.bool_]:
        """(M,) whether the images ask for the mode."""
        return self.gain > SIGMAS * self.error

    @property
    def order(self) -> NDArray[np.int64]:
        """(M,) positions of the modes, the largest gain first."""
        return np.argsort(-self.gain, kind="stable")


def rank_modes(hemnma: Hemnma, count: int, *, threads: int = 1, progress: Progress = silent) -> ModeEvidence:
    """Align some images along all modes of `hemnma`, and weigh the modes.

    Parameters
    ----------
    hemnma
        Particles and modes; it is calibrated here.
    count
        Images, spread evenly over the set.
    threads
        That align side by side.
    progress
        Told of aligned images.

    Raises
    ------
    InputError
        If too few images can be aligned.
    """
    total = len(hemnma.table)
    if min(count, total) < LEAST_PARTICLES:
        raise InputError(
            f"{hemnma.table.source}: {min(count, total)} images are too few to rank modes, expected {LEAST_PARTICLES} "
            "or more"
        )
    chosen = np.linspace(0, total - 1, min(count, total)).round().astype(int)
    first = 0

    def calibrated(done: int, images: int) -> None:
        nonlocal first
        first = images
        progress(done, images + len(chosen))

    calibration = hemnma.calibrate(learn=False, threads=threads, progress=calibrated)
    portions = np.array_split(chosen, max(1, len(chosen) // _PORTION))
    done, parts = 0, []
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for portion, part in zip(portions, pool.map(hemnma.align, portions), strict=True):
            parts.append(part)
            done += len(portion)
            progress(first + done, first + len(chosen))
    found = {name: np.concatenate([part[name] for part in parts]) for name in ("amplitudes", "covariance", "converged")}
    ok = found["converged"].astype(bool)
    if np.count_nonzero(ok) < LEAST_PARTICLES:
        raise InputError(
            f"{hemnma.table.source}: only {np.count_nonzero(ok)} of {len(chosen)} images could be aligned, expected "
            f"{LEAST_PARTICLES} or more; give more images, or poses (--initial-poses)"
        )
    covariance = found["covariance"][ok][:, 5:, 5:].astype(np.float64)
    seen = Likelihoods.without_prior(found["amplitudes"][ok], covariance, calibration.prior)
    evidence = weigh_modes(seen, calibration.prior)
    return replace(evidence, left_out=evidence.left_out + int(np.count_nonzero(~ok)))


def weigh_modes(seen: Likelihoods, prior: AmplitudePrior) -> ModeEvidence:
    """Gain of every mode, from the likelihoods of n images.

    Parameters
    ----------
    seen
        What each image says of the amplitudes.
    prior
        Where the search for the distribution starts.
    """
    count, modes = seen.vector.shape
    start = Independent(np.zeros(modes), np.ones(modes) if prior.covariance is None else np.diag(prior.covariance))
    keep = _inliers(seen, start)
    inside = Likelihoods(seen.information[keep], seen.vector[keep])
    everywhere = _learn(inside, start, np.ones(modes, dtype=bool), _ITERATIONS)
    half = np.arange(len(inside.vector)) % 2
    gains = np.empty((len(half), modes))
    for part in (0, 1):
        learn, test = (
            Likelihoods(inside.information[half == which], inside.vector[half == which]) for which in (1 - part, part)
        )
        whole = _learn(learn, everywhere, np.ones(modes, dtype=bool), _ITERATIONS)
        reference = whole.explain(test)[0]
        for mode in range(modes):
            moving = np.arange(modes) != mode
            rest = _learn(learn, whole.without(mode), moving, _ITERATIONS_WITHOUT)
            gains[half == part, mode] = reference - rest.explain(test)[0]
    return ModeEvidence(
        gains.mean(axis=0),
        gains.std(axis=0, ddof=1) / np.sqrt(len(gains)),
        everywhere.mean,
        np.sqrt(everywhere.variance),
        len(gains),
        count - len(gains),
    )


def _learn(seen: Likelihoods, start: Independent, moving: NDArray[np.bool_], iterations: int) -> Independent:
    """Distribution of the amplitudes by expectation maximisation; modes that do not move stay at rest."""
    found = start
    for _ in range(iterations):
        _, mean, variance = found.explain(seen)
        centre = np.where(moving, mean.mean(axis=0), 0.0)
        found = Independent(centre, np.where(moving, ((mean - centre) ** 2 + variance).mean(axis=0), 0.0))
    return found


def _inliers(seen: Likelihoods, start: Independent) -> NDArray[np.bool_]:
    """Images whose amplitudes belong with those of the others: a wrong pose makes up any amplitude.

    Distances are between what an image says alone and the distribution of all, in each direction that it says anything
    of; medians keep the first guess of that distribution free of what is to be found.
    """
    _, mean, _ = start.explain(seen)
    centre = np.median(mean, axis=0)
    spread = (1.4826 * np.median(np.abs(mean - centre), axis=0)) ** 2
    keep = np.ones(len(mean), dtype=bool)
    found = Independent(centre, spread + 1e-12)
    for _ in range(3):
        # (a - m) (L^-1 + S)^-1 (a - m) without inverting L, which may be singular
        pull = seen.vector - seen.information @ found.mean
        width = np.sqrt(found.variance)
        inverse = np.linalg.inv(np.eye(len(width)) + width[:, None] * seen.information * width)
        own = np.linalg.pinv(seen.information, hermitian=True)
        along = pull * width
        distance = np.einsum("ni,nij,nj->n", pull, own, pull) - np.einsum("ni,nij,nj->n", along, inverse, along)
        keep = distance < chi2.ppf(_OUTLIER, len(width))
        if np.count_nonzero(keep) < LEAST_PARTICLES:
            return np.ones(len(mean), dtype=bool)
        chosen = Likelihoods(seen.information[keep], seen.vector[keep])
        found = _learn(chosen, found, np.ones(len(width), dtype=bool), _ITERATIONS_WITHOUT)
    return keep
