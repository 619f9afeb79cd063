"""Thermal motion that modes predict, beside the B factors of a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structure.atoms import Structure
from .modes import NormalModes

_FLAT_B = 1e-3  # spread in Å^2 below which B factors say nothing


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Mean-square fluctuations of the nodes and their agreement with B factors.

    Attributes
    ----------
    mean_square
        (N,) sum over modes of ``|u|^2 / eigenvalue``: in units of kT over the spring constant.
    b_factor
        (N,) predicted B factors in Å^2, with the mean of those in the file; NaN where the file has none.
    correlation
        Pearson correlation with the B factors of the file; NaN where it has none.
    """

    mean_square: np.ndarray
    b_factor: np.ndarray
    correlation: float

    @property
    def comparable(self) -> bool:
        """Whether the file has B factors to compare with."""
        return bool(np.isfinite(self.correlation))


def mean_square_fluctuations(vectors: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
    """Sum over modes of ``|u_i|^2 / eigenvalue`` (N,), with vectors (M, N, 3) and eigenvalues (M,)."""
    return np.einsum("mni,mni,m->n", vectors, vectors, 1 / eigenvalues)


def fluctuations(modes: NormalModes, structure: Structure) -> Fluctuations:
    """Predict the thermal motion of a structure from its modes (Atilgan et al. 2001; B = 8 pi^2 / 3 times it)."""
    mean_square = mean_square_fluctuations(modes.vectors, modes.eigenvalues)
    measured = structure.b_factor
    if structure.is_pseudoatomic or np.ptp(measured) < _FLAT_B or np.ptp(mean_square) == 0:
        return Fluctuations(mean_square, np.full(len(measured), np.nan), float("nan"))
    scale = measured.mean() / mean_square.mean()  # not by least squares: one loose tail would decide it
    correlation = float(np.corrcoef(mean_square, measured)[0, 1])
    return Fluctuations(mean_square, scale * mean_square, correlation)
