"""Symmetric sparse matrices of small blocks, one block per pair of parts that touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .rigid_motion import RigidGroups, bisect

_PARTS_PER_GROUP = 8


@dataclass(frozen=True, eq=False)
class Panel:
    """The rows of a matrix that belong to one compact group of parts, without the columns that are zero for all.

    Attributes
    ----------
    members
        (m,) parts of the group.
    neighbours
        (c,) parts that they touch, themselves included, ascending.
    values
        (m * s, c * s).
    """

    members: np.ndarray
    neighbours: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """A symmetric matrix over n parts of s degrees of freedom.

    It is stored as dense panels: parts that are close touch nearly the same parts, so a third of a panel is zeros and
    its product is a matrix product, several times faster than one number after the other.

    Attributes
    ----------
    panels
        One per group.
    group
        (n,) compact group of each part.
    diagonal
        (n, s, s) diagonal blocks.
    """

    panels: tuple[Panel, ...]
    group: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def make(
        cls, first: np.ndarray, second: np.ndarray, blocks: np.ndarray, diagonal: np.ndarray, places: np.ndarray
    ) -> BlockMatrix:
        """Make a matrix of its blocks.

        Parameters
        ----------
        first, second
            (E,) rows and columns, first < second, every pair once.
        blocks
            (E, s, s); those below the diagonal are their transposes.
        diagonal
            (n, s, s).
        places
            (n, 3) where the parts are, Å: near ones share a panel.
        """
        n, width, _ = diagonal.shape
        group = bisect(places, max(1, round(n / _PARTS_PER_GROUP)))
        right, left = _Rows.make(first, n), _Rows.make(second, n)
        local = np.empty(n, dtype=np.int64)
        order = np.argsort(group, kind="stable")
        panels = []
        for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            upper, upper_rows = right.of(members)
            lower, lower_rows = left.of(members)
            columns = np.concatenate([second[upper], first[lower], members])
            neighbours = np.unique(columns)
            local[neighbours] = np.arange(len(neighbours))
            rows = np.concatenate([upper_rows, lower_rows, np.arange(len(members))])
            values = np.zeros((len(members), width, len(neighbours), width))
            values[rows, :, local[columns]] = np.concatenate(
                [blocks[upper], blocks[lower].transpose(0, 2, 1), diagonal[members]]
            )
            panels.append(Panel(members, neighbours, values.reshape(len(members) * width, -1)))
        return cls(tuple(panels), group, diagonal)

    @property
    def n_parts(self) -> int:
        """Number of parts n."""
        return len(self.diagonal)

    @property
    def width(self) -> int:
        """Degrees of freedom of a part, s."""
        return int(self.diagonal.shape[1])

    @property
    def size(self) -> int:
        """Degrees of freedom in all, n * s."""
        return self.n_parts * self.width

    def __matmul__(self, vectors: np.ndarray) -> np.ndarray:
        """Product with vectors (n * s, k)."""
        count = vectors.shape[1]
        parts = vectors.reshape(self.n_parts, self.width, count)
        product = np.empty_like(parts)
        for panel in self.panels:
            near = parts[panel.neighbours].reshape(-1, count)
            product[panel.members] = (panel.values @ near).reshape(-1, self.width, count)
        return product.reshape(vectors.shape)

    def toarray(self) -> np.ndarray:
        """Dense (n * s, n * s)."""
        n, width = self.n_parts, self.width
        dense = np.zeros((n, width, n, width))
        for panel in self.panels:
            values = panel.values.reshape(len(panel.members), width, len(panel.neighbours), width)
            dense[panel.members[:, None], :, panel.neighbours] = values.transpose(0, 2, 1, 3)
        return dense.reshape(n * width, n * width)

    @property
    def filling(self) -> float:
        """Mean number of entries in a row, the zeros of the panels counted."""
        return sum(panel.values.size for panel in self.panels) / self.size

    def tocsc(self) -> sparse.csc_matrix:
        """SciPy's compressed columns, without the zeros of the panels."""
        degrees = np.arange(self.width)
        parts = []
        for panel in self.panels:
            rows = (panel.members[:, None] * self.width + degrees).ravel()
            columns = (panel.neighbours[:, None] * self.width + degrees).ravel()
            at = np.nonzero(panel.values)
            parts.append((panel.values[at], rows[at[0]], columns[at[1]]))
        values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csc_matrix((values, (rows, columns)), shape=(self.size, self.size))

    def project(self, groups: RigidGroups) -> BlockMatrix:
        """Project on the rigid motions of its own groups: a matrix of 6 x 6 blocks."""
        first, second, blocks = (np.concatenate(parts) for parts in zip(*self._projected(groups), strict=True))
        inner = first == second
        diagonal = np.zeros((len(groups), 6, 6))
        diagonal[first[inner]] = blocks[inner]
        upper = first < second
        return BlockMatrix.make(first[upper], second[upper], blocks[upper], diagonal, groups.centres)

    def _projected(self, groups: RigidGroups) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows, columns and blocks of the projection, panel by panel."""
        for panel in self.panels:
            rows = groups.basis[panel.members].reshape(-1, 6).T @ panel.values  # (6, c * s)
            by_part = rows.reshape(6, -1, self.width).transpose(1, 0, 2)  # (c, 6, s)
            blocks = np.matmul(by_part, groups.basis[panel.neighbours])
            owners = groups.group[panel.neighbours]
            order = np.argsort(owners, kind="stable")
            columns, starts = np.unique(owners[order], return_index=True)
            row = groups.group[panel.members[0]]
            yield np.full(len(columns), row), columns, np.add.reduceat(blocks[order], starts, axis=0)


@dataclass(frozen=True)
class _Rows:
    """Looks up the entries of given rows."""

    entries: np.ndarray  # (E,) numbers of the entries, sorted by row
    starts: np.ndarray  # (n + 1,)

    @classmethod
    def make(cls, rows: np.ndarray, n: int) -> _Rows:
        counts = np.bincount(rows, minlength=n)
        return cls(np.argsort(rows, kind="stable"), np.concatenate([[0], np.cumsum(counts)]))

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of some rows, and which of these rows each belongs to."""
        counts = self.starts[rows + 1] - self.starts[rows]
        owner = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.entries[self.starts[rows][owner] + within], owner
