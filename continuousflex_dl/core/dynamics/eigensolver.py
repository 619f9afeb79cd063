"""Lowest eigenpairs of the Hessian of an elastic network.

Small Hessians are solved densely, large ones by a block Davidson method (Davidson 1975; Morgan & Scott 1986), which
needs the inverse of the Hessian, roughly. Where nodes have few springs a sparse factorisation gives it; it also copes
with networks that are almost loose. Where they have many, factors would fill the memory: there coarser versions of the
network give the inverse and the first guess. The rigid-body motions are known and kept out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import splu

from ..errors import InputError
from ..progress import Progress, silent
from .block_matrix import BlockMatrix
from .multigrid import DENSE_SIZE, Multigrid
from .network import N_RIGID, ZERO_EIGENVALUE

_TOLERANCE = 1e-8  # estimated error of the unit vectors
_COARSE_TOLERANCE = 1e-2
_GUARD = 6  # vectors carried along beyond those wanted: the last ones converge slowest
_MAX_STEPS = 400
_FACTOR_MOST = 25_000_000  # entries of a sparse factor: some seconds and 1.3 GB
_SHIFT = 1e-6  # makes the Hessian definite
_PROGRESS = 100


def lowest_modes(
    hessian: BlockMatrix, motions: np.ndarray, places: np.ndarray, n_modes: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lowest eigenpairs, the six rigid-body ones counted.

    Parameters
    ----------
    hessian
        Of n parts with s degrees of freedom.
    motions
        (n, s, 6) what rigid motions of everything do to the parts (`rigid_motion.node_motions`).
    places
        (n, 3) where the parts are, Å.
    n_modes
        More than six.
    progress
        Receives finished and total steps, in hundredths of the digits still missing.

    Returns
    -------
    eigenvalues
        Ascending. Where more than six are below `ZERO_EIGENVALUE`, the network is loose; the values may then be fewer
        than `n_modes` and, above zero, not converged.
    vectors
        (n * s, ...) unit vectors, column by column.

    Raises
    ------
    InputError
        If the iteration does not converge.
    """
    rigid = np.linalg.qr(motions.reshape(-1, N_RIGID))[0]
    if hessian.size <= DENSE_SIZE or 8 * n_modes > hessian.size:
        values, vectors = eigh(hessian.toarray(), subset_by_index=(0, n_modes - 1), driver="evr", overwrite_a=True)
        progress(_PROGRESS, _PROGRESS)
        return values, vectors
    n_wanted = n_modes - N_RIGID
    n_block = n_wanted + max(_GUARD, n_wanted // 5)
    if 0.15 * hessian.filling * hessian.size**1.25 <= _FACTOR_MOST:  # measured on proteins, a ribosome, pseudoatoms
        start = np.random.default_rng(0).standard_normal((hessian.size, n_block))
        inverse = _factorised(hessian)
        values, vectors = davidson(hessian.__matmul__, inverse, start, rigid, n_wanted, _TOLERANCE, progress)
    else:
        values, vectors = _by_levels(hessian, motions, places, n_wanted, n_block, progress)
    return np.concatenate([np.zeros(N_RIGID), values[:n_wanted]]), np.hstack([rigid, vectors[:, :n_wanted]])


def _factorised(hessian: BlockMatrix) -> Callable[[np.ndarray], np.ndarray]:
    """The inverse of the shifted Hessian, by a sparse factorisation."""
    shifted = hessian.tocsc() + _SHIFT * sparse.identity(hessian.size, format="csc")
    options = {"SymmetricMode": True}
    return splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve


def _by_levels(
    hessian: BlockMatrix,
    motions: np.ndarray,
    places: np.ndarray,
    n_wanted: int,
    n_block: int,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs from the coarsest level to the finest, each starting where the one before ended."""
    grid = Multigrid.make(hessian, motions, places)
    last = min(len(grid.coarsest), N_RIGID + n_block) - 1
    vectors = eigh(grid.coarsest, subset_by_index=(0, last), driver="evr")[1]
    for number in reversed(range(len(grid.levels))):
        level = grid.levels[number]
        start = level.groups.expand(vectors)
        if number == 0:
            start = np.hstack([start, _softest_parts(hessian, _GUARD)])
        values, vectors = davidson(
            level.hessian.__matmul__,
            partial(grid.approximate_inverse, start=number),
            start,
            np.linalg.qr(level.motions.reshape(-1, N_RIGID))[0],
            n_wanted,
            _COARSE_TOLERANCE if number else _TOLERANCE,
            silent if number else progress,
        )
    return values, vectors


def davidson(
    multiply: Callable[[np.ndarray], np.ndarray],
    approximate_inverse: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    excluded: np.ndarray,
    n_wanted: int,
    tolerance: float,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest eigenpairs of a symmetric positive semidefinite matrix, orthogonal to some vectors.

    Parameters
    ----------
    multiply, approximate_inverse
        Product of the matrix, and roughly of its inverse, with vectors (size, k).
    start
        (size, b) vectors, b > `n_wanted`.
    excluded
        (size, e) orthonormal eigenvectors that are known.
    n_wanted
        Eigenpairs to converge.
    tolerance
        Largest estimated error of the unit vectors: the norm of the preconditioned residual.
    progress
        Receives finished and total steps.

    Returns
    -------
    eigenvalues
        (b,) ascending; stops as soon as one is certainly below `ZERO_EIGENVALUE`.
    vectors
        (size, b) orthonormal; the first `n_wanted` are converged.

    Raises
    ------
    InputError
        If it does not converge.
    """
    size, n_block = start.shape
    n_most = n_block + max(5 * n_block, 60)
    basis, product = np.empty((size, n_most)), np.empty((size, n_most))
    small = np.empty((n_most, n_most))
    added, filled, first_error = _orthonormal(start, [excluded]), 0, 0.0
    for _ in range(_MAX_STEPS):
        previous, filled = filled, filled + added.shape[1]
        basis[:, previous:filled], product[:, previous:filled] = added, multiply(added)
        cross = basis[:, :filled].T @ product[:, previous:filled]
        small[:filled, previous:filled], small[previous:filled, :filled] = cross, cross.T
        values, turn = np.linalg.eigh(small[:filled, :filled])
        values, turn = values[:n_block], turn[:, :n_block]
        vectors, images = basis[:, :filled] @ turn, product[:, :filled] @ turn
        correction = approximate_inverse(images - vectors * values)
        correction -= excluded @ (excluded.T @ correction)
        error = np.linalg.norm(correction, axis=0)
        worst = float(error[:n_wanted].max())
        first_error = first_error or worst
        progress(_hundredths(worst, first_error, tolerance), _PROGRESS)
        # an eigenvalue is at most what any vector gives, so a network that is found loose is loose
        if worst <= tolerance or values[0] < 0.5 * ZERO_EIGENVALUE:
            return values, vectors
        open_ones = np.flatnonzero(error > tolerance)
        open_ones = open_ones[: int((open_ones < n_wanted).sum()) + _GUARD]
        if filled + len(open_ones) > n_most:
            filled = n_block
            basis[:, :filled], product[:, :filled] = vectors, images
            small[:filled, :filled] = np.diag(values)
        added = _orthonormal(correction[:, open_ones], [excluded, basis[:, :filled]])
    raise InputError(
        f"the normal modes did not converge in {_MAX_STEPS} steps (error {worst:.1e}, expected {tolerance:.0e}): the "
        "network is almost loose; give a larger --cutoff, or rigid blocks (--block-size)"
    )


def _orthonormal(vectors: np.ndarray, against: list[np.ndarray]) -> np.ndarray:
    """Make vectors (size, k) orthonormal and orthogonal to the columns of others; twice, for rounding."""
    for _ in range(2):
        for other in against:
            vectors = vectors - other @ (other.T @ vectors)
        vectors = np.linalg.qr(vectors)[0]
    return vectors


def _softest_parts(hessian: BlockMatrix, count: int) -> np.ndarray:
    """Motions (n * s, count) of the single parts that are held least: coarser levels do not know them."""
    values, axes = np.linalg.eigh(hessian.diagonal)
    count = min(count, hessian.n_parts)
    softest = np.argsort(values[:, 0], kind="stable")[:count]
    motions = np.zeros((hessian.n_parts, hessian.width, count))
    motions[softest, :, np.arange(count)] = axes[softest, :, 0]
    return motions.reshape(hessian.size, count)


def _hundredths(error: float, first: float, tolerance: float) -> int:
    """How far an error has come from the first one to the tolerance, in digits."""
    if error <= tolerance:
        return _PROGRESS
    return int(np.clip(_PROGRESS * np.log(first / error) / np.log(first / tolerance), 0, _PROGRESS - 1))
