"""Coarser and coarser versions of a Hessian, in which groups of parts move rigidly.

Slow motions are nearly rigid over short distances, so a Hessian projected on compact rigid groups knows them well; what
it leaves out is stiff and local. One sweep over all levels approximates the inverse of the Hessian well enough to make
an eigensolver converge in some ten steps, whatever the size (additive on the finest level, a V-cycle below).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .block_matrix import BlockMatrix
from .rigid_motion import RigidGroups, make_groups, motions_of_groups

DENSE_SIZE = 2000  # degrees of freedom that are solved as they are
_DAMPING = 0.7  # of the local corrections: 2 / _DAMPING exceeds the largest eigenvalue of the scaled Hessian
_SHIFT = 1e-7  # of the mean diagonal, keeps singular matrices invertible


@dataclass(frozen=True, eq=False)
class Level:
    """A Hessian, and how its parts are grouped on the next coarser level.

    Attributes
    ----------
    hessian
        n parts of s degrees of freedom.
    motions
        (n, s, 6) rigid motions of everything.
    inverse_diagonal
        (n, s, s), damped.
    groups
        Of the parts.
    """

    hessian: BlockMatrix
    motions: np.ndarray
    inverse_diagonal: np.ndarray
    groups: RigidGroups

    def smooth(self, residual: np.ndarray) -> np.ndarray:
        """Local correction (n * s, k): every part moves as if the others stood still."""
        n, s, _ = self.inverse_diagonal.shape
        return np.matmul(self.inverse_diagonal, residual.reshape(n, s, -1)).reshape(residual.shape)


@dataclass(frozen=True, eq=False)
class Multigrid:
    """Levels from fine to coarse, and the coarsest Hessian, which is dense.

    Attributes
    ----------
    levels
        Finest first; at least one.
    coarsest
        (m, m) dense Hessian.
    factor
        Its Cholesky factor (shifted), as `scipy.linalg.cho_factor` gives it.
    motions
        (m / 6, 6, 6) rigid motions on the coarsest level.
    """

    levels: tuple[Level, ...]
    coarsest: np.ndarray
    factor: tuple[np.ndarray, bool]
    motions: np.ndarray

    @classmethod
    def make(cls, hessian: BlockMatrix, motions: np.ndarray, places: np.ndarray) -> Multigrid:
        """Coarsen a Hessian of parts with motions (n, s, 6) at places (n, 3) in Å until it is small."""
        levels = []
        while True:
            groups = make_groups(motions, places, hessian.group)
            shift = _SHIFT * np.trace(hessian.diagonal.mean(axis=0)) / hessian.width
            inverse = _DAMPING * np.linalg.inv(hessian.diagonal + shift * np.eye(hessian.width))
            levels.append(Level(hessian, motions, inverse, groups))
            hessian, motions, places = hessian.project(groups), motions_of_groups(groups, motions), groups.centres
            if hessian.size <= DENSE_SIZE:
                break
        coarsest = hessian.toarray()
        shifted = coarsest + _SHIFT * np.trace(coarsest) / len(coarsest) * np.eye(len(coarsest))
        return cls(tuple(levels), coarsest, cho_factor(shifted, lower=True), motions)

    def approximate_inverse(self, residual: np.ndarray, start: int = 0) -> np.ndarray:
        """Apply the approximate inverse of the Hessian of level `start` to vectors (n * s, k)."""
        level = self.levels[start]
        correction = level.smooth(residual) + level.groups.expand(
            self._cycle(level.groups.restrict(residual), start + 1)
        )
        return correction

    def _cycle(self, residual: np.ndarray, number: int) -> np.ndarray:
        if number == len(self.levels):
            return cho_solve(self.factor, residual, check_finite=False)
        level = self.levels[number]
        correction = level.smooth(residual)
        left = residual - level.hessian @ correction
        correction += level.groups.expand(self._cycle(level.groups.restrict(left), number + 1))
        return correction + level.smooth(residual - level.hessian @ correction)
