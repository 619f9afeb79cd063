"""Rigid motions of groups of moving parts, the common language of rigid blocks and of coarse levels.

A part moves by s numbers (three for a node, six for a rigid block). What a rigid motion of everything, a translation t
and a rotation w about the origin, does to part i is ``motions[i] @ (t, w)``. From these matrices alone a group of parts
can be made one part of six numbers, and groups of groups likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TINY = 1e-12  # of the mean square displacement: a motion below this does nothing (rotation about a line of atoms)


@dataclass(frozen=True, eq=False)
class RigidGroups:
    """Groups of parts that move together.

    Attributes
    ----------
    group
        (n,) group of each part.
    basis
        (n, s, 6) what a part does for each of the six orthonormal motions of its group.
    to_motion
        (G, 6, 6) rigid motion (t, w about `centres`) of a group from its six numbers.
    centres
        (G, 3) mean place of the parts of a group, Å.
    """

    group: np.ndarray
    basis: np.ndarray
    to_motion: np.ndarray
    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def expand(self, amplitudes: np.ndarray) -> np.ndarray:
        """Motions of the parts (n * s, k) of motions of the groups (6 G, k)."""
        blocks = amplitudes.reshape(len(self), 6, -1)[self.group]
        return np.matmul(self.basis, blocks).reshape(-1, blocks.shape[2])

    def restrict(self, motions: np.ndarray) -> np.ndarray:
        """Transpose of `expand`: (n * s, k) to (6 G, k)."""
        n, s, _ = self.basis.shape
        parts = np.matmul(self.basis.transpose(0, 2, 1), motions.reshape(n, s, -1))
        return sum_groups(parts, self.group, len(self)).reshape(6 * len(self), -1)


def node_motions(coordinates: np.ndarray) -> np.ndarray:
    """Motions (N, 3, 6) of nodes (N, 3): ``t + w x r``."""
    motions = np.zeros((len(coordinates), 3, 6))
    motions[:, range(3), range(3)] = 1
    for axis in range(3):
        motions[:, :, 3 + axis] = np.cross(np.eye(3)[axis], coordinates)
    return motions


def make_groups(motions: np.ndarray, places: np.ndarray, group: np.ndarray) -> RigidGroups:
    """Make groups of parts rigid.

    Parameters
    ----------
    motions
        (n, s, 6) of the parts, about the origin.
    places
        (n, 3) where the parts are, Å.
    group
        (n,) group of each part, 0 ... G - 1, each at least once.
    """
    n_groups = int(group.max()) + 1
    size = np.bincount(group, minlength=n_groups)
    centres = np.stack([np.bincount(group, places[:, k], n_groups) / size for k in range(3)], axis=1)
    local = about(motions, centres[group])
    gram = sum_groups(np.matmul(local.transpose(0, 2, 1), local), group, n_groups)  # (G, 6, 6)
    values, axes = np.linalg.eigh(gram)
    # a motion that moves nothing (groups on a line or of one node) keeps its place with zero displacement
    scale = np.where(values > _TINY * values[:, -1:], 1 / np.sqrt(np.maximum(values, 1e-300)), 0.0)
    to_motion = axes * scale[:, None, :]
    return RigidGroups(group, np.matmul(local, to_motion[group]), to_motion, centres)


def about(motions: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Motions (n, s, 6) about the origin turned into motions about other centres (n, 3)."""
    moved = motions.copy()
    for axis in range(3):
        lever = np.cross(np.eye(3)[axis], centres)  # (n, 3): w x c
        moved[:, :, 3 + axis] -= np.matmul(motions[:, :, :3], lever[:, :, None])[:, :, 0]
    return moved


def motions_of_groups(groups: RigidGroups, motions: np.ndarray) -> np.ndarray:
    """Motions (G, 6, 6) of groups, from those of their parts (n, s, 6)."""
    return sum_groups(np.matmul(groups.basis.transpose(0, 2, 1), motions), groups.group, len(groups))


def sum_groups(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum values (n, ...) over the members of each group: (G, ...)."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups))
    in_order = values if (np.diff(order) == 1).all() else values[order]
    return np.add.reduceat(in_order, starts, axis=0)


def bisect(places: np.ndarray, n_groups: int) -> np.ndarray:
    """Cut parts (n, 3) into compact groups of nearly equal size: halves along the longest side, again and again."""
    group = np.empty(len(places), dtype=np.int64)
    pending = [(np.arange(len(places)), 0, n_groups)]
    while pending:
        members, first, count = pending.pop()
        if count == 1:
            group[members] = first
            continue
        axis = np.ptp(places[members], axis=0).argmax()
        order = members[np.argsort(places[members, axis], kind="stable")]
        half = count // 2
        cut = len(members) * half // count
        pending += [(order[:cut], first, half), (order[cut:], first + half, count - half)]
    return group
