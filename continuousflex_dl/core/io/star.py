"""STAR text: blocks of columns kept exactly as they are written in the file.

A value is never converted on the way from file to file, so ``0001`` stays ``0001``. The same grammar serves RELION's
``.star`` and Xmipp's ``.xmd`` files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError, NonFiniteError

Text = NDArray[np.bytes_]  # one column: the values as UTF-8 bytes, quotes included

_ROWS_AT_ONCE = 1 << 16  # tokens become compact arrays after so many rows, which bounds memory
_TOKEN = re.compile(rb"""'(?:[^']|'(?=\S))*'(?=\s|$)|"(?:[^"]|"(?=\S))*"(?=\s|$)|\S+""")


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
    """

    source: Path
    name: str
    columns: Mapping[str, Text]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, label: object) -> bool:
        return label in self.columns

    @property
    def labels(self) -> list[str]:
        """Labels in the file's order, without underscores."""
        return list(self.columns)

    def text(self, label: str) -> list[str]:
        """Give a column as strings, quotes removed.

        Raises
        ------
        InputError
            Where the column is missing.
        """
        return [unquoted(value).decode("utf-8", "surrogateescape") for value in self._column(label).tolist()]

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
        column = self._column(label)
        try:
            values = column.astype(np.float64)
        except ValueError:
            row = next(i for i, value in enumerate(column.tolist()) if not _is_number(value))
            raise InputError(
                f"{self.where(row, label)}: found '{column[row].decode('utf-8', 'replace')}', expected a "
                "number; correct this value"
            ) from None
        bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise NonFiniteError(
                f"{self.where(row, label)}: found '{column[row].decode()}', expected a finite number; remove "
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
        return f"{self.source}: data_{self.name} row {row + 1}, _{label}"

    def take(self, indices: ArrayLike) -> TextTable:
        """Rows by 0-based index."""
        rows = np.asarray(indices)
        return TextTable(self.source, self.name, {label: column[rows] for label, column in self.columns.items()})

    def with_columns(self, new: Mapping[str, Text]) -> TextTable:
        """Replace columns in place, append the ones that are new."""
        return TextTable(self.source, self.name, {**self.columns, **new})

    def without(self, labels: Iterable[str]) -> TextTable:
        """Leave columns out; labels that are not there are no error."""
        drop = set(labels)
        return TextTable(self.source, self.name, {k: v for k, v in self.columns.items() if k not in drop})

    def _column(self, label: str) -> Text:
        if label not in self.columns:
            raise InputError(
                f"{self.source}: data_{self.name} has no column _{label}; found {_some(self.labels)}; add the column"
            )
        return self.columns[label]


def read_star(path: str | os.PathLike[str]) -> dict[str, TextTable]:
    """Read all blocks of a STAR file.

    Returns
    -------
    Blocks by name without ``data_`` (an unnamed block is ``""``), in the file's order; without ``loop_`` they have one
    row.

    Raises
    ------
    InputError
        For a missing file or one that is no STAR text; the message names the line.
    """
    source = Path(path)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); give an existing STAR file") from None
    if b"\0" in content:
        raise InputError(f"{source}: found binary data, expected STAR text; give the .star file, not the image stack")
    return _Parser(source, content.removeprefix(b"\xef\xbb\xbf").split(b"\n")).blocks()


class _Parser:
    """Reads blocks line by line; rows go through one tight loop."""

    def __init__(self, source: Path, lines: list[bytes]) -> None:
        self.source = source
        self.lines = lines
        self.at = 0

    def blocks(self) -> dict[str, TextTable]:
        found: dict[str, TextTable] = {}
        while (line := self._peek()) is not None:
            if not line.startswith(b"data_"):
                raise self._error(
                    f"found '{_shown(line)}', expected a line that begins with 'data_'; is this a STAR file?"
                )
            name = line[5:].split()[0].decode("utf-8", "surrogateescape") if line[5:].split() else ""
            if name in found:
                raise self._error(f"found a second block data_{name}, expected one; remove or rename it")
            self.at += 1
            found[name] = TextTable(self.source, name, self._block(name))
        if not found:
            raise InputError(
                f"{self.source}: found no data_ block, expected STAR text; the file may be empty or cut off"
            )
        return found

    def _block(self, name: str) -> dict[str, Text]:
        line = self._peek()
        if line == b"loop_":
            self.at += 1
            return self._loop(name)
        columns: dict[str, Text] = {}
        while (line := self._peek()) is not None and not line.startswith(b"data_"):
            tokens = _tokens(line)
            if not line.startswith(b"_"):
                raise self._error(
                    f"found '{_shown(line)}' in data_{name}, expected '_label value' or 'loop_'; a 'loop_' "
                    "line may be missing"
                )
            if len(tokens) < 2 or tokens[1].startswith(b"#"):
                raise self._error(
                    f"found label {_shown(tokens[0])} without a value in data_{name}; a 'loop_' line may be "
                    "missing before the labels"
                )
            self._add_label(columns, tokens[0], np.array([tokens[1]]))
            self.at += 1
        return columns

    def _loop(self, name: str) -> dict[str, Text]:
        columns: dict[str, Text] = {}
        while (line := self._peek()) is not None and line.startswith(b"_"):
            self._add_label(columns, line.split()[0], np.array([], dtype="S1"))
            self.at += 1
        if not columns:
            raise self._error(f"found no labels after loop_ in data_{name}, expected lines that begin with '_'")
        pieces = list(self._rows(name, len(columns)))
        if not pieces:
            return columns
        return {label: np.concatenate([piece[i] for piece in pieces]) for i, label in enumerate(columns)}

    def _rows(self, name: str, width: int) -> Iterable[list[Text]]:
        rows: list[list[bytes]] = []
        lines, end = self.lines, len(self.lines)
        while self.at < end:
            line = lines[self.at]
            tokens = line.split() if b"'" not in line and b'"' not in line else _TOKEN.findall(line)
            if tokens and not tokens[0].startswith(b"#"):
                if len(tokens) == 1 and (tokens[0].startswith(b"data_") or tokens[0] == b"loop_"):
                    break
                if len(tokens) != width:
                    raise self._error(
                        f"found {len(tokens)} values, expected {width}, one per label of data_{name}; the "
                        "file may be cut off or a name may hold a space"
                    )
                rows.append(tokens)
                if len(rows) == _ROWS_AT_ONCE:
                    yield [np.array(column) for column in zip(*rows, strict=True)]
                    rows = []
            self.at += 1
        if rows:
            yield [np.array(column) for column in zip(*rows, strict=True)]

    def _peek(self) -> bytes | None:
        """Next line that says something, stripped; None at the end."""
        while self.at < len(self.lines):
            line = self.lines[self.at].strip()
            if line and not line.startswith(b"#"):
                return line
            self.at += 1
        return None

    def _add_label(self, columns: dict[str, Text], token: bytes, values: Text) -> None:
        label = token[1:].decode("utf-8", "surrogateescape")
        if label in columns:
            raise self._error(f"found label _{label} twice, expected it once; remove one of the columns")
        columns[label] = values

    def _error(self, message: str) -> InputError:
        return InputError(f"{self.source}: line {self.at + 1}: {message}")


def star_bytes(tables: Sequence[TextTable]) -> bytes:
    """STAR text of blocks, in RELION's 3.1 layout; the same tables always give the same bytes (no date)."""
    pieces: list[bytes] = []
    for table in tables:
        labels = "".join(f"_{label} #{i}\n" for i, label in enumerate(table.labels, 1))
        pieces.append(f"\n# version 30001\n\ndata_{table.name}\n\nloop_\n{labels}".encode("utf-8", "surrogateescape"))
        pieces.extend(
            b" ".join(row) + b"\n" for row in zip(*(column.tolist() for column in table.columns.values()), strict=True)
        )
        pieces.append(b"\n")
    return b"".join(pieces)


def decimals(values: ArrayLike, places: int = 6) -> Text:
    """Text of numbers with a fixed number of decimals, as RELION writes them; never ``-0.000000``."""
    rounded = np.round(np.asarray(values, dtype=np.float64), places) + 0.0
    return np.char.mod(f"%.{places}f", rounded).astype(np.bytes_)


def shortest(values: ArrayLike) -> Text:
    """Shortest text that gives back the same numbers in their own precision; whole numbers have no decimals."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return np.array([repr(v).removesuffix(".0").encode() for v in array.tolist()] if array.dtype == np.float64 else
                        [str(v).removesuffix(".0").encode() for v in array], dtype=np.bytes_)  # fmt: skip
    return array.astype(np.int64 if array.dtype.kind == "b" else array.dtype).astype(np.bytes_)


def quoted(text: str) -> bytes:
    """Token of a text value: in quotes only where STAR needs them."""
    value = text.encode("utf-8", "surrogateescape")
    plain = (
        value and not re.search(rb"\s", value) and not value.startswith((b"_", b"#", b"'", b'"', b"data_", b"loop_"))
    )
    if plain:
        return value
    return b'"' + value + b'"' if b'"' not in value else b"'" + value + b"'"


def unquoted(token: bytes) -> bytes:
    """Text value of a token."""
    return token[1:-1] if len(token) > 1 and token[:1] in (b"'", b'"') and token[-1:] == token[:1] else token


def _tokens(line: bytes) -> list[bytes]:
    return _TOKEN.findall(line)


def _is_number(value: bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _shown(text: bytes, length: int = 40) -> str:
    shown = text.decode("utf-8", "replace")
    return shown if len(shown) <= length else shown[:length] + "..."


def _some(labels: list[str], most: int = 6) -> str:
    shown = ", ".join(f"_{label}" for label in labels[:most])
    return (shown or "no columns") + (f" and {len(labels) - most} more" if len(labels) > most else "")
