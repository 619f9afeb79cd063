"""STAR text: read into tables and written from them, a few megabytes at a time.

The same grammar serves RELION's ``.star`` and Xmipp's ``.xmd`` files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.text_table import ROWS_PER_PIECE, Columns, PackedColumn, Text, TextTable

_BYTES_AT_ONCE = 1 << 22  # of a file
_TOKEN = re.compile(rb"""'(?:[^']|'(?=\S))*'(?=\s|$)|"(?:[^"]|"(?=\S))*"(?=\s|$)|\S+""")


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
        with open(source, "rb") as stream:
            return _Parser(source, stream).blocks()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); give an existing STAR file") from None


class _Parser:
    """Reads blocks line by line; rows go through one tight loop."""

    def __init__(self, source: Path, stream: BinaryIO) -> None:
        self.source = source
        self.stream = stream
        self.lines: list[bytes] = []
        self.at = 0  # in `lines`
        self.before = 0  # lines of the file before `lines`
        self._more(1 << 16)  # little at first: a file that is no text may have no end of a line
        if self.lines:
            self.lines[0] = self.lines[0].removeprefix(b"\xef\xbb\xbf")

    def _more(self, size: int = _BYTES_AT_ONCE) -> bool:
        """Read on; False at the end of the file."""
        self.before, self.at = self.before + len(self.lines), 0
        head = self.stream.read(size)
        self.lines = (head + self.stream.readline()).split(b"\n") if b"\0" not in head else [head]
        if self.lines[-1] == b"":
            self.lines.pop()
        if any(b"\0" in line for line in self.lines):
            raise InputError(
                f"{self.source}: found binary data, expected STAR text; give the .star file, not the image stack"
            )
        return bool(self.lines)

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
            found[name] = TextTable(self.source, name, Columns(self._block(name)))
        if not found:
            raise InputError(
                f"{self.source}: found no data_ block, expected STAR text; the file may be empty or cut off"
            )
        return found

    def _block(self, name: str) -> dict[str, Text | PackedColumn]:
        line = self._peek()
        if line == b"loop_":
            self.at += 1
            return self._loop(name)
        columns: dict[str, Text | PackedColumn] = {}
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

    def _loop(self, name: str) -> dict[str, Text | PackedColumn]:
        labels: dict[str, Text | PackedColumn] = {}
        while (line := self._peek()) is not None and line.startswith(b"_"):
            self._add_label(labels, line.split()[0], np.array([], dtype="S1"))
            self.at += 1
        if not labels:
            raise self._error(f"found no labels after loop_ in data_{name}, expected lines that begin with '_'")
        columns = {label: PackedColumn([]) for label in labels}
        for piece in self._rows(name, len(labels)):
            for column, values in zip(columns.values(), piece, strict=True):
                column.append(values)
        return {label: column if len(column) else labels[label] for label, column in columns.items()}

    def _rows(self, name: str, width: int) -> Iterator[list[Text]]:
        rows: list[list[bytes]] = []
        more = True
        while more:
            lines, end = self.lines, len(self.lines)
            while self.at < end:
                line = lines[self.at]
                tokens = line.split() if b"'" not in line and b'"' not in line else _TOKEN.findall(line)
                if tokens and not tokens[0].startswith(b"#"):
                    if len(tokens) == 1 and (tokens[0].startswith(b"data_") or tokens[0] == b"loop_"):
                        more = False
                        break
                    if len(tokens) != width:
                        raise self._error(
                            f"found {len(tokens)} values, expected {width}, one per label of data_{name}; the "
                            "file may be cut off or a name may hold a space"
                        )
                    rows.append(tokens)
                    if len(rows) == ROWS_PER_PIECE:
                        yield [np.array(column) for column in zip(*rows, strict=True)]
                        rows = []
                self.at += 1
            more = more and self._more()
        if rows:
            yield [np.array(column) for column in zip(*rows, strict=True)]

    def _peek(self) -> bytes | None:
        """Next line that says something, stripped; None at the end."""
        while self.at < len(self.lines) or self._more():
            line = self.lines[self.at].strip()
            if line and not line.startswith(b"#"):
                return line
            self.at += 1
        return None

    def _add_label(self, columns: dict[str, Text | PackedColumn], token: bytes, values: Text) -> None:
        label = token[1:].decode("utf-8", "surrogateescape")
        if label in columns:
            raise self._error(f"found label _{label} twice, expected it once; remove one of the columns")
        columns[label] = values

    def _error(self, message: str) -> InputError:
        return InputError(f"{self.source}: line {self.before + self.at + 1}: {message}")


def star_bytes(tables: Sequence[TextTable]) -> bytes:
    """STAR text of blocks, in RELION's 3.1 layout; the same tables always give the same bytes (no date)."""
    return b"".join(piece for table in tables for piece in (star_head(table), *star_rows(table), STAR_TAIL))


STAR_TAIL = b"\n"  # what ends a block


def star_head(table: TextTable) -> bytes:
    """What comes before the rows of a block."""
    labels = "".join(f"_{label} #{i}\n" for i, label in enumerate(table.labels, 1))
    return f"\n# version 30001\n\ndata_{table.name}\n\nloop_\n{labels}".encode("utf-8", "surrogateescape")


def star_rows(table: TextTable) -> Iterator[bytes]:
    """Rows of a block, in pieces."""
    for first, last in table.spans():
        columns = (table.part(label, first, last).tolist() for label in table.labels)
        yield b"".join(b" ".join(row) + b"\n" for row in zip(*columns, strict=True))


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


def _tokens(line: bytes) -> list[bytes]:
    return _TOKEN.findall(line)


def _shown(text: bytes, length: int = 40) -> str:
    shown = text.decode("utf-8", "replace")
    return shown if len(shown) <= length else shown[:length] + "..."
