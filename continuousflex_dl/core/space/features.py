"""What a conformational space is made from: one row of numbers per particle, of one or several particle sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NonFiniteError

if TYPE_CHECKING:
    from ..io.particle_table import ParticleTable

Floats = NDArray[np.float64]
On = Literal["amplitudes", "coordinates", "latent"]

CONFORMATIONS_NAME = "conformations.h5"
_ROWS_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Features:
    """Rows (n, p) that are read when they are asked for, which matters for coordinates.

    Attributes
    ----------
    on
        What they are.
    parts
        Arrays or HDF5 datasets of the particle sets, (n_i, ...) each; trailing axes are flattened.
    modes
        (p,) mode numbers of amplitudes, else empty.
    sources
        Names of the sets, for messages.
    """

    on: On
    parts: tuple[Any, ...]
    modes: NDArray[np.int64]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def width(self) -> int:
        """Number of values p per particle."""
        return int(np.prod(self.parts[0].shape[1:]))

    @property
    def set_index(self) -> NDArray[np.int64]:
        """(n,) 0-based particle set of each row."""
        return np.repeat(np.arange(len(self.parts)), [len(part) for part in self.parts])

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """First row and values (k, p) of blocks, in order.

        Raises
        ------
        NonFiniteError
            If a value is NaN or infinite; the message names set and row.
        """
        start = 0
        step = max(1, _ROWS_BYTES // (8 * self.width))
        for part, source in zip(self.parts, self.sources, strict=True):
            for first in range(0, len(part), step):
                values = np.asarray(part[first : first + step], dtype=np.float64).reshape(-1, self.width)
                if not np.isfinite(values).all():
                    row, column = np.argwhere(~np.isfinite(values))[0].tolist()
                    raise NonFiniteError(
                        f"{source}: row {first + row + 1}, {self.name(column)}: found {values[row, column]}, "
                        "expected a number; remove this particle or estimate it again"
                    )
                yield start + first, values
            start += len(part)

    def all(self) -> Floats:
        """All rows (n, p) in memory; raises like `blocks`."""
        return np.concatenate([values for _, values in self.blocks()])

    def rows(self, wanted: NDArray[np.int64]) -> Floats:
        """Some rows (k, p), in any order."""
        starts = np.concatenate([[0], np.cumsum([len(part) for part in self.parts])])
        found = np.empty((len(wanted), self.width))
        owner = np.searchsorted(starts, wanted, side="right") - 1
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(owner == number)
            local = wanted[places] - starts[number]
            order = np.argsort(local, kind="stable")  # HDF5 reads ascending rows only, each once
            unique, inverse = np.unique(local[order], return_inverse=True)
            if len(unique):
                values = np.asarray(part[unique], dtype=np.float64).reshape(len(unique), -1)
                found[places[order]] = values[inverse.reshape(-1)]
        return found

    def name(self, column: int) -> str:
        """Name of a column, for messages."""
        if self.on == "amplitudes":
            return f"_cflexModeAmplitude{self.modes[column]}"
        return f"latent {column + 1}" if self.on == "latent" else f"coordinate {column + 1}"


def amplitude_matrix(table: ParticleTable) -> tuple[NDArray[np.int64], Floats]:
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
            "estimate amplitudes first, for example with cflex hemnma, or reduce other values (--on latent)"
        )
    values = np.stack([np.asarray(table.amplitudes[number], dtype=np.float64) for number in numbers], axis=1)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0].tolist()
        raise NonFiniteError(
            f"{table.source}: row {row + 1}, _cflexModeAmplitude{numbers[column]}: found {values[row, column]}, "
            "expected a number; remove this particle or estimate it again"
        )
    return np.array(numbers, dtype=np.int64), values


def amplitude_features(tables: Sequence[ParticleTable]) -> Features:
    """Amplitudes of one or several sets.

    Raises
    ------
    InputError
        If a set has none, or the sets have amplitudes of different modes.
    """
    found = [amplitude_matrix(table) for table in tables]
    first = found[0][0]
    for table, (numbers, _) in zip(tables, found, strict=True):
        if numbers.tolist() != first.tolist():
            raise InputError(
                f"{table.source}: found amplitudes of modes {numbers.tolist()}, but {tables[0].source} has "
                f"{first.tolist()}; sets that are reduced together need the same modes"
            )
    return Features("amplitudes", tuple(values for _, values in found), first, tuple(str(t.source) for t in tables))


def stored_features(on: On, paths: Sequence[Path], counts: Sequence[int]) -> Features:
    """Coordinates or latents from files, one per particle set.

    Parameters
    ----------
    on
        ``coordinates`` or ``latent``.
    paths
        ``conformations.h5`` (datasets ``coordinates`` (n, N, 3) and ``latent`` (n, d)), or a NumPy file with one row
        per particle. HDF5 files stay open, so that rows can be read when they are needed.
    counts
        Number of particles of each set.

    Raises
    ------
    InputError
        If a file is missing, lacks the values, or does not belong to its particles.
    """
    parts = tuple(_dataset(path, on) for path in paths)
    for path, part, count in zip(paths, parts, counts, strict=True):
        if len(part) != count:
            raise InputError(
                f"{path}: found {on} of {len(part)} particles, expected {count} as in the particle file; give the "
                "file that belongs to it"
            )
        if part.shape[1:] != parts[0].shape[1:]:
            raise InputError(
                f"{path}: found {on} of shape {part.shape[1:]} per particle, but {paths[0]} has {parts[0].shape[1:]}; "
                "sets that are reduced together need the same"
            )
    return Features(on, parts, np.zeros(0, dtype=np.int64), tuple(map(str, paths)))


def _dataset(path: str | os.PathLike[str], on: On) -> Any:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file, expected the {on} of the particles; give --conformations")
    if file.suffix.lower() in (".npy", ".npz"):
        return _numpy_rows(file, on)
    import h5py

    try:
        handle = h5py.File(file, "r")
    except OSError as error:
        raise InputError(
            f"{file}: is not a readable HDF5 file ({error}); give conformations.h5, .npy or .npz"
        ) from None
    if on not in handle or not isinstance(handle[on], h5py.Dataset) or handle[on].ndim < 2:
        there = ", ".join(handle) or "none"
        handle.close()
        raise InputError(f"{file}: found datasets {there}, expected '{on}' with one row per particle")
    return handle[on]


def _numpy_rows(file: Path, on: On) -> NDArray[Any]:
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            values = loaded
        else:
            with loaded:
                names = list(loaded.files)
                name = on if on in names else names[0] if len(names) == 1 else ""
                if not name:
                    raise InputError(f"{file}: found arrays {', '.join(names) or 'none'}, expected one named '{on}'")
                values = loaded[name]
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: cannot be read as a NumPy file ({error}); it must not be pickled") from None
    if values.ndim < 2 or not np.issubdtype(values.dtype, np.number):
        raise InputError(
            f"{file}: found {values.dtype} of shape {values.shape}, expected numbers with one row per particle"
        )
    return values
