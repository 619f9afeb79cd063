"""What nobody prints: whether the latent knows the pose or the defocus rather than the conformation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..conventions import matrix_from_euler

Floats = NDArray[np.float64]
COMPONENTS = 3  # principal components of the latent that are looked at


def multiple_correlation(values: Floats, features: Floats) -> Floats:
    """How well each column of values (n, c) is told by features (n, p), linearly: 0 not at all, 1 exactly.

    The square is corrected for the number of features, so that pure chance gives 0 on average.
    """
    design = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    rank = int(np.linalg.matrix_rank(design))
    spare = len(values) - rank
    centred = values - values.mean(axis=0)
    total = (centred**2).sum(axis=0)
    if spare <= 0 or rank < 2:
        return np.zeros(values.shape[1])
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    unexplained = (left**2).sum(axis=0) / spare
    variance = np.maximum(total / (len(values) - 1), 1e-300)
    found: Floats = np.sqrt(np.clip(1.0 - unexplained / variance, 0.0, 1.0))
    return found


def latent_components(latent: Floats) -> Floats:
    """First principal components (n, c) of latents (n, d)."""
    centred = latent - latent.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    kept: Floats = centred @ axes[: min(COMPONENTS, len(axes))].T
    return kept


def latent_dependence(latent: Floats, euler_deg: Floats, defocus_angst: Floats | None) -> dict[str, Any]:
    """Multiple correlations of the first components of the latent with pose and with defocus.

    Parameters
    ----------
    latent
        (n, d).
    euler_deg
        (n, 3).
    defocus_angst
        (n,), or None.

    Returns
    -------
    ``pose`` (by the nine entries of the rotation matrix and the squares of the viewing direction) and ``defocus``
    (absent where it does not vary): a number per component.
    """
    components = latent_components(np.asarray(latent, dtype=np.float64))
    rotation = matrix_from_euler(euler_deg)
    view = rotation[:, 2]
    squares = np.stack([view[:, i] * view[:, j] for i in range(3) for j in range(i, 3)], axis=1)
    features = np.concatenate([rotation.reshape(len(rotation), 9), squares], axis=1)
    figures = {"pose": multiple_correlation(components, features).round(4).tolist()}
    if defocus_angst is not None and np.ptp(defocus_angst) > 1.0:
        scaled = (defocus_angst - defocus_angst.mean()) / defocus_angst.std()
        figures["defocus"] = multiple_correlation(components, scaled[:, None]).round(4).tolist()
    return figures
