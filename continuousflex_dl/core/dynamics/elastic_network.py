"""Lowest modes of an elastic network, with or without rigid blocks."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DisconnectedNetworkError, InputError
from ..progress import Progress, silent
from .block_matrix import BlockMatrix
from .eigensolver import lowest_modes
from .hessian import node_hessian, rigid_block_hessian
from .memory import available_memory
from .network import N_RIGID, ZERO_EIGENVALUE, check_geometry, connecting_cutoff, count_parts
from .rigid_motion import RigidGroups, make_groups, motions_of_groups, node_motions
from .springs import count_springs, find_springs

_ROUND_ANGST = 0.1  # a suggested cutoff is rounded up to this
_BYTES_PER_SPRING = {False: 450, True: 230}  # measured peak, without and with rigid blocks
_BYTES_PER_NODE = 24  # of one vector


def compute_modes(
    coordinates: np.ndarray,
    blocks: np.ndarray | None,
    cutoff: float,
    n_modes: int,
    progress: Progress = silent,
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
        If the structure cannot have normal modes, has fewer than asked for, or does not fit the memory.
    """
    coordinates = np.ascontiguousarray(coordinates, dtype=np.float64)
    check_geometry(coordinates)
    n_blocks = 0 if blocks is None else int(blocks.max()) + 1
    degrees = 3 * len(coordinates) if blocks is None else 6 * n_blocks
    if not N_RIGID < n_modes <= degrees:
        what = f"{n_blocks} rigid blocks" if n_blocks else f"{len(coordinates)} nodes"
        raise InputError(f"{n_modes} modes asked for, {what} have {degrees}; give --n-modes between 7 and {degrees}")
    values, vectors = _lowest(coordinates, blocks, cutoff, n_modes, progress)
    n_zero = int(np.count_nonzero(values < ZERO_EIGENVALUE))
    if n_zero != N_RIGID:
        raise DisconnectedNetworkError(describe_loose(coordinates, blocks, cutoff, n_zero))
    vectors = vectors / np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    vectors[:N_RIGID] = rigid_body_modes(coordinates)
    values = np.concatenate([np.zeros(N_RIGID), values[N_RIGID:]])
    return values, fix_signs(vectors), n_zero


def _lowest(
    coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float, n_modes: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n,) and vectors (n, N, 3) of a network that may be loose (then fewer than `n_modes`)."""
    check_memory(coordinates, blocks, cutoff, n_modes)
    centred = coordinates - coordinates.mean(axis=0)
    hessian, motions, places, groups = _hessian(centred, blocks, cutoff)
    values, vectors = lowest_modes(hessian, motions, places, n_modes, progress)
    moved = vectors if groups is None else groups.expand(vectors)
    return values, np.ascontiguousarray(moved.T).reshape(len(values), len(coordinates), 3)


def _hessian(
    centred: np.ndarray, blocks: np.ndarray | None, cutoff: float
) -> tuple[BlockMatrix, np.ndarray, np.ndarray, RigidGroups | None]:
    """Hessian, rigid motions and places of its parts, and the blocks."""
    springs = find_springs(centred, cutoff)
    motions = node_motions(centred)
    if blocks is None:
        return node_hessian(springs, centred), motions, centred, None
    groups = make_groups(motions, centred, blocks)
    hessian = rigid_block_hessian(springs, centred, groups)
    return hessian, motions_of_groups(groups, motions), groups.centres, groups


def check_memory(coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float, n_modes: int) -> None:
    """Refuse, before any work, a system that does not fit the available memory.

    Raises
    ------
    InputError
        Says how much is needed and there is, and what makes the system smaller.
    """
    n_springs, n_nodes = count_springs(coordinates, cutoff), len(coordinates)
    n_vectors = n_modes if blocks is not None else 16 * n_modes
    needed = n_springs * _BYTES_PER_SPRING[blocks is not None] + n_nodes * n_vectors * _BYTES_PER_NODE
    available = available_memory()
    if needed > available:
        raise InputError(
            f"{n_springs} springs between {n_nodes} nodes need about {needed / 2**30:.1f} GiB, "
            f"{available / 2**30:.1f} GiB are available; use --representation ca-p (one node per residue), rigid "
            "blocks (--block-size), a smaller --cutoff, or a machine with more memory"
        )


def describe_loose(coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float, n_zero: int) -> str:
    """One line on why a network (N, 3) has too many zero modes at a cutoff in Å, and on the cutoff that has six."""
    n_parts = count_parts(coordinates, cutoff, blocks)
    state = f"the network is disconnected ({n_parts} parts)" if n_parts > 1 else "the network is too loosely connected"
    enough = rigid_cutoff(coordinates, blocks, cutoff)
    fix = f"it connects at {enough:g} Å: give --cutoff {enough:g} or more" if enough else "no cutoff connects it"
    return f"cutoff {cutoff:g} Å: {state}, found {n_zero} or more zero modes, expected 6; {fix}"


def is_rigid(coordinates: np.ndarray, blocks: np.ndarray | None, cutoff: float) -> bool:
    """Whether a network of nodes (N, 3) has no zero mode beyond the six rigid-body ones at a cutoff in Å."""
    if count_parts(coordinates, cutoff, blocks) > 1:
        return False
    values, _ = _lowest(coordinates, blocks, cutoff, N_RIGID + 1)
    return len(values) > N_RIGID and bool(values[N_RIGID] >= ZERO_EIGENVALUE)


def rigid_cutoff(coordinates: np.ndarray, blocks: np.ndarray | None, above: float) -> float | None:
    """Smallest cutoff, rounded up to 0.1 Å, at which the network has exactly six zero modes.

    Springs only add stiffness, so the number of zero modes falls as the cutoff grows and bisection finds the place.

    Parameters
    ----------
    coordinates
        (N, 3) Å.
    blocks
        (N,) block numbers, or None.
    above
        Cutoff in Å that is known to be too small.

    Returns
    -------
    float or None
        None where no cutoff up to the extent of the structure is enough.
    """

    def rigid_at(steps: int) -> bool:
        return is_rigid(coordinates, blocks, steps * _ROUND_ANGST)

    low = math.floor(above / _ROUND_ANGST)
    if blocks is None:
        low = max(low, math.ceil(connecting_cutoff(coordinates) / _ROUND_ANGST) - 1)
    most = math.ceil(float(np.linalg.norm(np.ptp(coordinates, axis=0))) / _ROUND_ANGST) + 1
    high = low + 1
    while not rigid_at(high):
        if high >= most:
            return None
        low, high = high, min(math.ceil(high * 1.25) + 1, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rigid_at(middle) else (middle, high)
    return round(high * _ROUND_ANGST, 6)


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
