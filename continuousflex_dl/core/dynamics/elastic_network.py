"""Lowest modes of an elastic network, with or without rigid blocks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import DisconnectedNetworkError, InputError
from ..progress import Progress, silent
from .memory import available_memory
from .network import N_RIGID, ZERO_EIGENVALUE, check_geometry, count_parts, count_zero_modes, rigid_cutoff, stiffness
from .prody_import import import_prody

_LEAST_PRODY_CUTOFF = 4.0


class Engine(Protocol):
    """Finds the lowest eigenpairs of the Hessian of unit springs between nodes within the cutoff, masses 1."""

    name: str

    def memory_bytes(self, n_nodes: int, n_blocks: int) -> int:
        """Memory that `lowest` will need; `n_blocks` is 0 without blocks."""
        ...

    def lowest(
        self, coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float, n_modes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (n,) ascending and vectors (n, N, 3), rigid-body ones first."""
        ...


@dataclass(frozen=True)
class ProdyEngine:
    """ProDy's ANM and RTB: dense matrices, right for up to some ten thousand nodes."""

    name: str = "ProDy"

    def memory_bytes(self, n_nodes: int, n_blocks: int) -> int:
        """Dense Hessian and connectivity; with blocks the projection and its product, else a copy and the vectors."""
        hessian, connectivity = 8 * (3 * n_nodes) ** 2, 8 * n_nodes**2
        projected = 8 * 3 * n_nodes * 6 * n_blocks
        return hessian + connectivity + (2 * projected if n_blocks else hessian)

    def lowest(
        self, coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float, n_modes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Engine.lowest`."""
        prody = import_prody()
        # ProDy refuses cutoffs below 4 Å. The Hessian depends on directions only, so a larger copy has the same modes.
        scale = max(1.0, _LEAST_PRODY_CUTOFF / cutoff)
        points = np.ascontiguousarray(coordinates * scale)
        reach = cutoff * scale * (1 + 1e-12)  # the scaling must not lose a pair that is exactly at the cutoff
        if blocks is None:
            network = prody.ANM("cflex")
            network.buildHessian(points, cutoff=reach, gamma=1.0)
        else:
            network = prody.RTB("cflex")
            network.buildHessian(points, blocks, cutoff=reach, gamma=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # ProDy passes SciPy's older keywords first
            network.calcModes(n_modes, zeros=True)
        values = np.asarray(network.getEigvals())[:n_modes]
        vectors = np.asarray(network.getArray())[:, :n_modes]
        return values, vectors.T.reshape(len(values), len(coordinates), 3)


def compute_modes(
    coordinates: np.ndarray,
    blocks: np.ndarray | None,
    cutoff: float,
    n_modes: int,
    progress: Progress = silent,
    engine: Engine | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Compute the lowest normal modes of an elastic network with unit springs and unit masses.

    Parameters
    ----------
    coordinates
        (N, 3) Å.
    blocks
        (N,) number of the rigid block of each node (`blocks.residue_blocks`), or None for free nodes.
    cutoff
        Nodes nearer than this are joined by a spring; Å.
    n_modes
        How many modes, the six rigid-body ones counted.
    progress
        Receives finished and total steps.
    engine
        Eigensolver; ProDy by default.

    Returns
    -------
    eigenvalues
        (n_modes,) ascending; the first six are 0.
    vectors
        (n_modes, N, 3), unit norm over all 3N. The rigid-body modes are translations along and rotations about the
        principal axes. The component of largest magnitude is positive.
    n_zero
        Number of zero modes, always 6.

    Raises
    ------
    DisconnectedNetworkError
        If there are more than six zero modes; names the cutoff at which there are six.
    InputError
        If the structure cannot have normal modes, has fewer than asked for, or the matrices do not fit the memory.
    """
    coordinates = np.ascontiguousarray(coordinates, dtype=np.float64)
    engine = ProdyEngine() if engine is None else engine
    check_geometry(coordinates)
    n_blocks = 0 if blocks is None else int(blocks.max()) + 1
    degrees = 3 * len(coordinates) if blocks is None else 6 * n_blocks
    if not N_RIGID < n_modes <= degrees:
        what = f"{n_blocks} rigid blocks" if n_blocks else f"{len(coordinates)} nodes"
        raise InputError(f"{n_modes} modes asked for, {what} have {degrees}; give --n-modes between 7 and {degrees}")
    check_memory(engine, len(coordinates), n_blocks)
    progress(0, 3)
    values, vectors = engine.lowest(coordinates, blocks, cutoff, n_modes)
    progress(2, 3)
    n_zero = int(np.count_nonzero(values < ZERO_EIGENVALUE))
    if n_zero != N_RIGID:
        raise DisconnectedNetworkError(describe_loose(coordinates, blocks, cutoff))
    vectors = vectors / np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    vectors[:N_RIGID] = rigid_body_modes(coordinates)
    values = np.concatenate([np.zeros(N_RIGID), values[N_RIGID:]])
    vectors = fix_signs(vectors)
    progress(3, 3)
    return values, vectors, n_zero


def check_memory(engine: Engine, n_nodes: int, n_blocks: int) -> None:
    """Refuse, before any work, a system whose matrices do not fit the available memory.

    Raises
    ------
    InputError
        Says how much is needed and there is, and what makes the system smaller.
    """
    needed, available = engine.memory_bytes(n_nodes, n_blocks), available_memory()
    if needed > available:
        raise InputError(
            f"{engine.name} needs {needed / 2**30:.1f} GiB for the dense matrices of {n_nodes} nodes, "
            f"{available / 2**30:.1f} GiB are available; use --representation ca-p (one node per residue), or a "
            "machine with more memory"
        )


def describe_loose(coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float) -> str:
    """One line on why a network (N, 3) has too many zero modes at a cutoff in Å, and on the cutoff that has six."""
    n_zero = count_zero_modes(stiffness(coordinates, cutoff, blocks))
    n_parts = count_parts(coordinates, cutoff, blocks)
    state = f"the network is disconnected ({n_parts} parts)" if n_parts > 1 else "the network is too loosely connected"
    enough = rigid_cutoff(coordinates, blocks, cutoff)
    fix = f"it connects at {enough:g} Å: give --cutoff {enough:g} or more" if enough else "no cutoff connects it"
    return f"cutoff {cutoff:g} Å: {state}, found {n_zero} zero modes, expected 6; {fix}"


def rigid_body_modes(coordinates: np.ndarray) -> np.ndarray:
    """Three translations and three rotations (6, N, 3) of nodes (N, 3), orthonormal.

    The null space of the Hessian has no preferred basis; this one turns with the structure.
    """
    centred = coordinates - coordinates.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]  # rows: principal axes
    translations = np.broadcast_to(axes[:, None, :], (3, *coordinates.shape))
    rotations = np.stack([np.cross(axis, centred) for axis in axes])
    modes = np.concatenate([translations, rotations]).astype(np.float64)
    return modes / np.linalg.norm(modes, axis=(1, 2), keepdims=True)


def fix_signs(vectors: np.ndarray) -> np.ndarray:
    """Turn each vector (M, N, 3) so that its component of largest magnitude is positive; of equal ones the first."""
    flat = vectors.reshape(len(vectors), -1)
    magnitude = np.abs(flat)
    largest = (magnitude >= (1 - 1e-6) * magnitude.max(axis=1, keepdims=True)).argmax(axis=1)
    signs = np.where(flat[np.arange(len(flat)), largest] < 0, -1.0, 1.0)
    return vectors * signs[:, None, None]
