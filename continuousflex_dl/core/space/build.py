"""From the conformations of particles to their conformational space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .diffusion import DiffusionMap
from .features import Features, amplitude_features
from .local_map import LocalMap
from .outliers import mahalanobis
from .pca import PrincipalAxes
from .result import Space
from .umap_map import Umap

if TYPE_CHECKING:
    from ..io.particle_table import ParticleTable

Method = Literal["pca", "umap", "diffusion"]
_LINEAR_AXES = 50  # of wide features, before a method that is not linear
_RANDOM_RECOVERY = 1e-9


@dataclass(frozen=True)
class Reduction:
    """How features are reduced.

    Attributes
    ----------
    method
        ``pca``, ``umap`` or ``diffusion``.
    n_components
        Dimensions, at most.
    neighbours
        Size of a neighbourhood, for UMAP and the diffusion map.
    outlier_distance
        Mahalanobis distance beyond which a particle has no say; None: all have.
    seed
        Of UMAP.
    """

    method: Method = "pca"
    n_components: int = 2
    neighbours: int = 30
    outlier_distance: float | None = None
    seed: int = 0


def reduce_features(features: Features, used: NDArray[np.bool_], how: Reduction, hint: str = "") -> Space:
    """Make the space of features.

    Parameters
    ----------
    features
        Of n particles.
    used
        (n,) particles that have a say in the axes. All others get coordinates as well.
    how
        Method and its settings.
    hint
        What to try, for the message that too few particles are usable.

    Raises
    ------
    InputError
        If fewer than 2 particles are usable, or all features are equal.
    NonFiniteError
        If a feature is NaN or infinite.
    """
    name = features.sources[0] if len(features.sources) == 1 else "all sets"
    if used.sum() < 2:
        raise InputError(
            f"{name}: found {int(used.sum())} usable of {len(used)} particles (_cflexConverged = 1), "
            f"expected at least 2{hint}"
        )
    wide = features.width > _LINEAR_AXES
    kept = how.n_components if how.method == "pca" else min(_LINEAR_AXES, features.width)
    # distances of wide features are taken along their first axes, which need no more than one pass
    axes = PrincipalAxes(max(kept, min(10, features.width)) if wide else features.width)
    taken = used.copy()
    for _ in range(3):
        try:
            axes.fit_blocks(lambda taken=taken: _taken_blocks(features, taken))  # type: ignore[misc]
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        scores = np.concatenate([axes.transform(values) for _, values in features.blocks()])
        distance = mahalanobis(scores, taken if how.outlier_distance is None else used, how.outlier_distance)
        if how.outlier_distance is None:
            break
        now = used & (distance <= how.outlier_distance)
        if (now == taken).all() or now.sum() < 2:
            break
        taken = now
    linear = axes.components_[:kept]
    scores = scores[:, : len(linear)]
    common: dict[str, Any] = {
        "mean": axes.mean_,
        "components": linear,
        "modes": features.modes,
        "converged": taken,
        "on": features.on,
        "set_index": features.set_index,
        "sets": features.sources,
        "distance": distance,
    }
    lost = _lost_beyond(features, axes.mean_, linear, taken)  # mean squared length, for whatever stands on these axes
    if how.method == "pca":
        share = axes.explained_variance_ratio_[:kept]
        return Space(scores, explained_variance_ratio=share, method="pca", inverse_error=float(np.sqrt(lost)), **common)
    embedding = _embedding(how, int(taken.sum()), name)
    embedding.fit(scores[taken])
    coordinates = embedding.transform(scores)
    share, inverse_error = _recovered(coordinates[taken], scores[taken], lost)
    return Space(
        coordinates,
        explained_variance_ratio=share,
        method=how.method,
        scores=scores.astype(np.float32),
        inverse_error=inverse_error,
        **common,
    )


def build_space(
    table: ParticleTable, n_components: int = 2, *, keep_unconverged: bool = False, how: Reduction | None = None
) -> Space:
    """Reduce the amplitudes of one particle table; see `reduce_features`.

    Parameters
    ----------
    table
        Particles with amplitudes.
    n_components
        Axes, at most.
    keep_unconverged
        Let particles whose alignment did not converge take part in the fit. They get coordinates either way.
    how
        Method and settings; PCA by default.
    """
    features = amplitude_features([table])
    used = usable([table], [len(features)], keep_unconverged)
    return reduce_features(
        features, used, how or Reduction(n_components=n_components), hint_for(len(used), keep_unconverged)
    )


def usable(tables: Sequence[ParticleTable], counts: Sequence[int], keep_unconverged: bool) -> NDArray[np.bool_]:
    """Which particles (n,) of all tables have a say: those that converged, or all where this is not known or wanted."""
    return np.concatenate(
        [
            np.ones(count, dtype=bool)
            if keep_unconverged or table.converged is None
            else np.asarray(table.converged, dtype=bool)
            for table, count in zip(tables, counts, strict=True)
        ]
    )


def hint_for(count: int, keep_unconverged: bool) -> str:
    """What to try where too few particles are usable."""
    return "; --keep-unconverged uses the others too" if count > 1 and not keep_unconverged else "; give more particles"


def _taken_blocks(features: Features, taken: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    for first, values in features.blocks():
        rows = values[taken[first : first + len(values)]]
        if len(rows):
            yield rows


def _lost_beyond(
    features: Features, mean: NDArray[np.float64], axes: NDArray[np.float64], taken: NDArray[np.bool_]
) -> float:
    """Mean squared length of what the features have perpendicular to the axes."""
    total = 0.0
    for rows in _taken_blocks(features, taken):
        centred = rows - mean
        total += float((centred**2).sum() - ((centred @ axes.T) ** 2).sum())
    return max(total, 0.0) / int(taken.sum())


def _embedding(how: Reduction, count: int, name: str) -> Umap | DiffusionMap:
    least = how.n_components + 4
    if count < least:
        raise InputError(
            f"{name}: found {count} usable particles, expected at least {least} for --method {how.method}; "
            "take --method pca"
        )
    if how.method == "umap":
        return Umap(how.n_components, how.neighbours, seed=how.seed)
    return DiffusionMap(how.n_components, how.neighbours)


def _recovered(
    coordinates: NDArray[np.float64], scores: NDArray[np.float64], lost: float
) -> tuple[NDArray[np.float64], float]:
    """Share of the variance that the first 1, 2 ... axes give back at particles left out, and the error with all."""
    whole = float(((scores - scores.mean(axis=0)) ** 2).sum(axis=1).mean()) + lost
    shares, error = [], 0.0
    for dimensions in range(1, coordinates.shape[1] + 1):
        missed = LocalMap(coordinates[:, :dimensions], scores).error()
        error = float((missed**2).sum(axis=1).mean()) + lost
        shares.append(1 - error / max(whole, _RANDOM_RECOVERY))
    best = np.maximum.accumulate(np.clip(shares, 0, 1))
    return np.diff(best, prepend=0.0), float(np.sqrt(error))
