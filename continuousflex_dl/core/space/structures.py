"""Structures of many conformations without holding them all in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from ..dynamics.modes import NormalModes


class DisplacedStructures:
    """Behaves like an array (n, N, 3) in Å of which only the rows that are asked for are computed.

    Parameters
    ----------
    modes
        M modes of the reference.
    amplitudes
        (n, M) in Å.
    atoms
        0-based atoms of the reference to give; all by default.
    """

    ndim = 3

    def __init__(self, modes: NormalModes, amplitudes: ArrayLike, atoms: ArrayLike | None = None) -> None:
        self._modes = modes
        self._amplitudes = np.asarray(amplitudes, dtype=np.float64)
        self._atoms = np.arange(len(modes.coordinates)) if atoms is None else np.asarray(atoms, dtype=np.int64)
        self.shape = (len(self._amplitudes), len(self._atoms), 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        return self._modes.displace(self._amplitudes[rows])[..., self._atoms, :]


class SomeAtoms:
    """Some atoms (n, k, 3) of structures (n, N, 3), read when they are asked for.

    Parameters
    ----------
    structures
        Array or HDF5 dataset.
    atoms
        (k,) 0-based.
    """

    ndim = 3

    def __init__(self, structures: Any, atoms: ArrayLike) -> None:
        self._structures, self._atoms = structures, np.asarray(atoms, dtype=np.int64)
        self.shape = (len(structures), len(self._atoms), 3)

    @property
    def file(self) -> Any:
        """The HDF5 file of the structures, for messages."""
        return self._structures.file

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        return np.asarray(self._structures[rows], dtype=np.float64)[..., self._atoms, :]
