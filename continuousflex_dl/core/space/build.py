"""From a particle table to its conformational space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NonFiniteError
from .pca import PrincipalAxes
from .result import Space

if TYPE_CHECKING:
    from ..io.particle_table import ParticleTable


def amplitude_matrix(table: ParticleTable) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Mode numbers (M,) in ascending order and amplitudes (n, M) in Å.

    Raises
    ------
    InputError
        If the table has no amplitudes.
    NonFiniteError
        If one is NaN or infinite.
    """
    numbers = sorted(table.amplitudes)
    if not numbers:
        raise InputError(
            f"{table.source}: found no _cflexModeAmplitude columns, expected at least one; "
            "estimate amplitudes first, for example with cflex hemnma"
        )
    values = np.stack([np.asarray(table.amplitudes[number], dtype=np.float64) for number in numbers], axis=1)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0].tolist()
        raise NonFiniteError(
            f"{table.source}: row {row + 1}, _cflexModeAmplitude{numbers[column]}: found {values[row, column]}, "
            "expected a number; remove this particle or estimate it again"
        )
    return np.array(numbers, dtype=np.int64), values


def build_space(table: ParticleTable, n_components: int = 2, *, keep_unconverged: bool = False) -> Space:
    """Reduce the amplitudes of a particle table by PCA.

    Parameters
    ----------
    table
        Particles with amplitudes.
    n_components
        Axes, at most.
    keep_unconverged
        Let particles whose alignment did not converge take part in the fit. They get coordinates either way.

    Raises
    ------
    InputError
        If there are no amplitudes, fewer than 2 usable particles, or all amplitudes are equal.
    """
    numbers, values = amplitude_matrix(table)
    converged = np.ones(len(values), dtype=bool) if table.converged is None else np.asarray(table.converged, dtype=bool)
    used = np.ones(len(values), dtype=bool) if keep_unconverged else converged
    if used.sum() < 2:
        hint = "; --keep-unconverged uses the others too" if len(values) > 1 else "; give more particles"
        raise InputError(
            f"{table.source}: found {int(used.sum())} usable of {len(values)} particles (_cflexConverged = 1), "
            f"expected at least 2{hint}"
        )
    axes = PrincipalAxes(n_components)
    try:
        axes.fit(values[used])
    except InputError as error:
        raise InputError(f"{table.source}: {error}") from None
    return Space(
        coordinates=axes.transform(values),
        mean=axes.mean_,
        components=axes.components_,
        explained_variance_ratio=axes.explained_variance_ratio_,
        modes=numbers,
        method="pca",
        converged=converged,
    )
