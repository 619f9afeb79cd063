"""Last step of an alignment: the distribution of amplitudes in the set is learned and applied to each particle."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..conventions import euler_from_matrix, matrix_from_euler
from .population import FIT_PARTICLES, Population, fit_population, update
from .posterior import NEAR_DEG
from .prior import AmplitudePrior

Arrays = dict[str, NDArray]


def learn_population(
    portions: Iterable[tuple[int, int, Arrays]], total: int, prior: AmplitudePrior, amplitude_unit: float
) -> Population | None:
    """Fit the distribution of the amplitudes to particles spread evenly over the set.

    Parameters
    ----------
    portions
        First particle, the one after the last, and their results, in order.
    total
        Number of particles.
    prior
        That they were aligned with.
    amplitude_unit
        Amplitude of an RMSD of 1 Å.
    """
    step = -(-total // FIT_PARTICLES)
    amplitudes, covariances = [], []
    for first, last, found in portions:
        chosen = (np.arange(first, last) % step == 0) & found["converged"].astype(bool)
        amplitudes.append(np.asarray(found["amplitudes"][chosen], dtype=np.float64))
        covariances.append(np.asarray(found["covariance"][chosen], dtype=np.float64)[:, 5:, 5:])
    return fit_population(np.concatenate(amplitudes), np.concatenate(covariances), prior, amplitude_unit)


def finish(
    found: Arrays, population: Population | None, prior: AmplitudePrior, pixel_size: NDArray[np.float64]
) -> Arrays:
    """Results of some particles under the distribution of the whole set; unchanged without one.

    Parameters
    ----------
    found
        Arrays as in `result.Result`.
    population, prior
        What is to be assumed, and what they were aligned with.
    pixel_size
        (n,) Å.
    """
    if population is None:
        return found
    new = update(found, population, prior)
    angle = np.rad2deg(np.linalg.norm(new["move"][:, :3], axis=1))
    move = new["move"] * np.minimum(1.0, NEAR_DEG / np.maximum(angle, 1e-9))[:, None]  # beyond it is no small step
    turned = Rotation.from_rotvec(move[:, :3]).as_matrix() @ matrix_from_euler(found["euler_deg"])
    return {
        **found,
        "amplitudes": new["amplitudes"],
        "amplitude_std": new["amplitude_std"],
        "euler_deg": euler_from_matrix(turned),
        "shift_angst": found["shift_angst"] - move[:, 3:5] * pixel_size[:, None],
        "angle_std_deg": np.rad2deg(np.sqrt(new["pose_variance"][:, :3].mean(axis=1))),
        "shift_std_angst": np.sqrt(new["pose_variance"][:, 3:].mean(axis=1)) * pixel_size,
    }
