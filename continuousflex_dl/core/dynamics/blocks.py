"""Rigid blocks of rotation-translation blocks: which atoms move together."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..structure.atoms import Structure

_FLAT_ANGST = 0.01  # spread below which atoms count as lying on a line


def residue_blocks(structure: Structure, size: int) -> np.ndarray:
    """Group atoms in rigid blocks of consecutive residues in file order.

    A block never crosses a chain, a TER record or a gap in the numbering. A block whose atoms do not span a plane
    (fewer than three, or all on one line) would have undefined rotations; it is merged with its neighbour: the one
    before or after it in the same segment, else the nearest in space.

    Parameters
    ----------
    structure
        N atoms.
    size
        Residues per block, at least 1.

    Returns
    -------
    numpy.ndarray
        Block number of each atom (N,), 0-based, in order of first appearance.

    Raises
    ------
    InputError
        If fewer than two blocks come out: one rigid body has no internal motion.
    """
    if size < 1:
        raise ValueError(f"block size {size}, expected at least 1")
    segment = structure.segment_index
    begins = np.append(True, np.diff(segment) > 0)
    first_residue = structure.residue_index[begins][np.cumsum(begins) - 1]
    within = (structure.residue_index - first_residue) // size
    changed = begins | np.append(True, np.diff(within) != 0)
    blocks = _merge_flat(structure.coordinates, np.cumsum(changed) - 1, segment)
    count = int(blocks.max()) + 1
    if count < 2:
        raise InputError(
            f"the structure of {structure.n_residues} residues makes {count} rigid block of {size} residues, expected "
            "at least 2; give a smaller --block-size or 0 for no blocks"
        )
    return blocks


def spans_plane(coordinates: np.ndarray) -> bool:
    """Whether points (n, 3) in Å are at least three and not on one line."""
    if len(coordinates) < 3:
        return False
    spread = np.linalg.svd(coordinates - coordinates.mean(axis=0), compute_uv=False)
    return bool(spread[1] > _FLAT_ANGST)


def _merge_flat(coordinates: np.ndarray, blocks: np.ndarray, segment: np.ndarray) -> np.ndarray:
    blocks = blocks.copy()
    starts = np.searchsorted(blocks, np.arange(int(blocks[-1]) + 2))  # blocks are numbered in file order
    flat = [k for k in range(len(starts) - 1) if not spans_plane(coordinates[starts[k] : starts[k + 1]])]
    for block in flat:
        members = np.flatnonzero(blocks == block)
        while 0 < len(members) < len(blocks) and not spans_plane(coordinates[members]):
            neighbour = _neighbour(coordinates, blocks, segment, members)
            blocks[members] = neighbour
            members = np.flatnonzero(blocks == neighbour)
    _, first, inverse = np.unique(blocks, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _neighbour(coordinates: np.ndarray, blocks: np.ndarray, segment: np.ndarray, members: np.ndarray) -> int:
    before, after = members[0] - 1, members[-1] + 1
    if before >= 0 and segment[before] == segment[members[0]]:
        return int(blocks[before])
    if after < len(blocks) and segment[after] == segment[members[-1]]:
        return int(blocks[after])
    others = np.flatnonzero(blocks != blocks[members[0]])
    distance = np.linalg.norm(coordinates[others, None] - coordinates[None, members], axis=2).min(axis=1)
    return int(blocks[others[distance.argmin()]])
