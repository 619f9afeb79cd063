"""Tables of text: columns kept exactly as they are written in a file, long ones compressed.

A value is never converted on the way from file to file, so ``0001`` stays ``0001``. The columns of a million particles
are some hundred megabytes of text; compressed in pieces they take a fifth of that, and are read piece by piece.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError, NonFiniteError

Text = NDArray[np.bytes_]  # one column: the values as UTF-8 bytes, quotes included

ROWS_PER_PIECE = 1 << 12  # what is in memory as text at one time, per column
_LEVEL = 1  # of zlib: higher ones gain little on numbers and take three times as long


class PackedColumn:
    """One long column, compressed in pieces of `ROWS_PER_PIECE` rows; the last one may be shorter.

    Parameters
    ----------
    pieces
        Text in the order of the rows; each is compressed when it is taken.
    """

    def __init__(self, pieces: Iterable[Text]) -> None:
        self._pieces: list[tuple[int, bytes]] = []
        self._length = 0
        for piece in pieces:
            self.append(piece)

    def append(self, piece: Text) -> None:
        """Add the next rows; only the last piece may be shorter than `ROWS_PER_PIECE`."""
        if self._length % ROWS_PER_PIECE or len(piece) > ROWS_PER_PIECE:
            raise ValueError(f"pieces must have {ROWS_PER_PIECE} rows, all but the last")
        self._pieces.append((piece.dtype.itemsize, zlib.compress(np.ascontiguousarray(piece).tobytes(), _LEVEL)))
        self._length += len(piece)

    def __len__(self) -> int:
        return self._length

    @property
    def packed_bytes(self) -> int:
        """Memory of the compressed text."""
        return sum(len(data) for _, data in self._pieces)

    def rows(self, first: int, last: int) -> Text:
        """Rows from `first` up to but not including `last`."""
        numbers = range(first // ROWS_PER_PIECE, -(-last // ROWS_PER_PIECE))
        texts = []
        for number in numbers:
            begin = number * ROWS_PER_PIECE
            texts.append(self._piece(number)[max(0, first - begin) : last - begin])
        if not texts:
            return np.array([], dtype="S1")
        return texts[0] if len(texts) == 1 else np.concatenate(texts)

    def _piece(self, number: int) -> Text:
        width, data = self._pieces[number]
        return np.frombuffer(zlib.decompress(data), dtype=f"S{width}")


class Columns(Mapping[str, Text]):
    """Columns by label, in the file's order; a packed one is unpacked whenever it is asked for.

    Parameters
    ----------
    held
        Text or packed text by label, all of one length.
    """

    def __init__(self, held: Mapping[str, Text | PackedColumn]) -> None:
        self._held = dict(held)

    @classmethod
    def of(cls, columns: Mapping[str, Text]) -> Columns:
        """The same columns; packed ones stay packed."""
        return columns if isinstance(columns, cls) else cls(columns)

    def __getitem__(self, label: str) -> Text:
        held = self._held[label]
        return held.rows(0, len(held)) if isinstance(held, PackedColumn) else held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __contains__(self, label: object) -> bool:
        return label in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def n_rows(self) -> int:
        """Length of the columns."""
        return len(next(iter(self._held.values()))) if self._held else 0

    def rows(self, label: str, first: int, last: int) -> Text:
        """Rows of one column from `first` up to but not including `last`."""
        held = self._held[label]
        return held.rows(first, last) if isinstance(held, PackedColumn) else held[first:last]

    def merged(self, new: Mapping[str, Text]) -> Columns:
        """Replace columns in place, append the ones that are new."""
        return Columns({**self._held, **Columns.of(new)._held})

    def without(self, drop: set[str]) -> Columns:
        """Leave columns out."""
        return Columns({label: held for label, held in self._held.items() if label not in drop})


@dataclass(frozen=True)
class TextTable:
    """One block of a STAR file.

    Parameters
    ----------
    source
        The file, for messages.
    name
        Block name without ``data_``.
    columns
        Text by label (without the underscore), in the file's order; all of one length.
    first_row
        Row of the file, 0-based, that the table begins with; for messages.
    """

    source: Path
    name: str
    columns: Mapping[str, Text]
    first_row: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", Columns.of(self.columns))

    @property
    def _columns(self) -> Columns:
        return Columns.of(self.columns)

    def __len__(self) -> int:
        return self._columns.n_rows

    def __contains__(self, label: object) -> bool:
        return label in self.columns

    @property
    def labels(self) -> list[str]:
        """Labels in the file's order, without underscores."""
        return list(self.columns)

    def spans(self) -> Iterator[tuple[int, int]]:
        """First and last row (exclusive) of the pieces in which long columns are best gone through."""
        for first in range(0, len(self), ROWS_PER_PIECE):
            yield first, min(first + ROWS_PER_PIECE, len(self))

    def part(self, label: str, first: int, last: int) -> Text:
        """Rows of a column as they are in the file; raises like `text`."""
        self._require(label)
        return self._columns.rows(label, first, last)

    def rows(self, first: int, last: int) -> TextTable:
        """Rows from `first` up to but not including `last`."""
        columns = {label: self.part(label, first, last) for label in self.labels}
        return TextTable(self.source, self.name, columns, self.first_row + first)

    def text(self, label: str) -> list[str]:
        """Give a column as strings, quotes removed.

        Raises
        ------
        InputError
            Where the column is missing.
        """
        return [_string(value) for value in self._column(label).tolist()]

    def value(self, row: int, label: str) -> str:
        """One value as a string, quotes removed; raises like `text`."""
        return _string(self.part(label, row, row + 1)[0])

    def numbers(self, label: str, *, allow_nan: bool = False) -> NDArray[np.float64]:
        """Give a column as numbers.

        Parameters
        ----------
        label
            Without the underscore.
        allow_nan
            ``nan`` means "not known" in this column.

        Raises
        ------
        InputError
            Where the column is missing or a value is no number; the message names the row.
        NonFiniteError
            Where a value is infinite or NaN.
        """
        self._require(label)
        values = np.empty(len(self))
        for first, last in self.spans():
            text = self.part(label, first, last)
            try:
                values[first:last] = text.astype(np.float64)
            except ValueError:
                row = next(i for i, value in enumerate(text.tolist()) if not _is_number(value))
                raise InputError(
                    f"{self.where(first + row, label)}: found '{text[row].decode('utf-8', 'replace')}', expected a "
                    "number; correct this value"
                ) from None
        bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise NonFiniteError(
                f"{self.where(row, label)}: found '{self.value(row, label)}', expected a finite number; remove "
                "this row or correct the value"
            )
        return values

    def integers(self, label: str) -> NDArray[np.int64]:
        """Give a column as whole numbers; raises like `numbers`, and for a fraction."""
        values = self.numbers(label)
        rounded = np.rint(values)
        if (rounded != values).any():
            row = int(np.argmax(rounded != values))
            raise InputError(
                f"{self.where(row, label)}: found {values[row]:g}, expected a whole number; correct this value"
            )
        return rounded.astype(np.int64)

    def where(self, row: int, label: str) -> str:
        """File, row (1-based) and label, as every message about a value begins."""
        return f"{self.source}: data_{self.name} row {self.first_row + row + 1}, _{label}"

    def take(self, indices: ArrayLike) -> TextTable:
        """Rows by 0-based index."""
        rows = np.asarray(indices)
        return TextTable(self.source, self.name, {label: self.columns[label][rows] for label in self.labels})

    def with_columns(self, new: Mapping[str, Text]) -> TextTable:
        """Replace columns in place, append the ones that are new."""
        return TextTable(self.source, self.name, self._columns.merged(new), self.first_row)

    def without(self, labels: Iterable[str]) -> TextTable:
        """Leave columns out; labels that are not there are no error."""
        return TextTable(self.source, self.name, self._columns.without(set(labels)), self.first_row)

    def _column(self, label: str) -> Text:
        self._require(label)
        return self.columns[label]

    def _require(self, label: str) -> None:
        if label not in self.columns:
            raise InputError(
                f"{self.source}: data_{self.name} has no column _{label}; found {_some(self.labels)}; add the column"
            )


def unquoted(token: bytes) -> bytes:
    """Text value of a token."""
    return token[1:-1] if len(token) > 1 and token[:1] in (b"'", b'"') and token[-1:] == token[:1] else token


def _string(token: bytes) -> str:
    return unquoted(token).decode("utf-8", "surrogateescape")


def _is_number(value: bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _some(labels: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(f"_{label}" for label in labels[:most])
    return (shown or "no columns") + (f" and {len(labels) - most} more" if len(labels) > most else "")
