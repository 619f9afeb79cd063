"""Where the images of a particle file are: ``N@path`` names, resolved to files and written relative to a STAR file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.star import quoted
from continuousflex_dl.core.io.text_table import Text, TextTable, unquoted


@dataclass(frozen=True)
class ImageLocations:
    """Files and sections of n images.

    Parameters
    ----------
    stacks
        Absolute paths, each once.
    stack_number
        (n,) index into `stacks`.
    stack_index
        (n,) section in the stack, 0-based.
    numbered
        (n,) False where the name is a file without ``N@``, which must then hold a single image.
    """

    stacks: tuple[str, ...]
    stack_number: NDArray[np.int64]
    stack_index: NDArray[np.int64]
    numbered: NDArray[np.bool_]

    def take(self, indices: ArrayLike) -> ImageLocations:
        """Images by 0-based index or boolean mask."""
        rows = np.asarray(indices)
        return ImageLocations(self.stacks, self.stack_number[rows], self.stack_index[rows], self.numbered[rows])

    def last_rows(self) -> NDArray[np.int64]:
        """Image with the highest section of each stack, (stacks,); -1 for a stack that no image uses."""
        rows = np.full(len(self.stacks), -1, dtype=np.int64)
        order = np.argsort(self.stack_index, kind="stable")
        rows[self.stack_number[order]] = order  # the last assignment stays: the highest section
        return rows


def locate_images(
    particles: TextTable, folder: Path, datadir: str | os.PathLike[str] | None, *, must_exist: bool
) -> ImageLocations:
    """Resolve the column rlnImageName.

    A path is tried as absolute, relative to `folder`, to the current folder, under `datadir` (leading parts of the
    path may be missing there), and at last relative to the folders above `folder`, because RELION, cryoSPARC and
    Scipion write paths relative to their project.

    Parameters
    ----------
    particles
        Block with rlnImageName.
    folder
        Folder of the particle file.
    datadir
        Where to look for images that are not where the file says.
    must_exist
        If False, a path that is nowhere stands for a file below `folder`.

    Raises
    ------
    InputError
        For an image number below 1 or a file that is nowhere.
    """
    n = len(particles)
    numbered, sections = np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int64)
    number = np.zeros(n, dtype=np.int64)
    seen: dict[bytes, int] = {}
    first_row: list[int] = []
    for first, last in particles.spans():
        digits, paths = _split(particles.part("rlnImageName", first, last))
        there = digits != b""
        numbered[first:last] = there
        sections[first:last][there] = digits[there].astype(np.int64) - 1
        unique, rows, inverse = np.unique(paths, return_index=True, return_inverse=True)
        for path, row in zip(unique.tolist(), rows.tolist(), strict=True):
            if seen.setdefault(path, len(seen)) == len(first_row):
                first_row.append(first + row)
        number[first:last] = np.array([seen[path] for path in unique.tolist()])[inverse.reshape(-1)]
    if (sections < 0).any():
        row = int(np.argmax(sections < 0))
        raise InputError(
            f"{particles.where(row, 'rlnImageName')}: found image number 0, expected 1 or more; sections count from 1"
        )
    paths_in_order = sorted(seen)
    rank = np.zeros(len(seen), dtype=np.int64)
    rank[[seen[path] for path in paths_in_order]] = np.arange(len(seen))
    base = Path(os.path.realpath(folder))  # '..' in a path must climb from the real folder, not from a link to it
    stacks = []
    for path in paths_in_order:
        text, row = path.decode("utf-8", "surrogateescape"), first_row[seen[path]]
        found = next((str(file) for file in _candidates(text, base, datadir) if file.is_file()), None)
        if found is None and must_exist:
            looked = f"{base}, {Path.cwd()}" + (f", {datadir}" if datadir else "")
            raise InputError(
                f"{particles.where(row, 'rlnImageName')}: no file '{text}' (looked in {looked} and the "
                "folders above the particle file); "
                "give the folder of the images with --datadir"
            )
        stacks.append(os.path.normpath(found or base / text))
    return ImageLocations(tuple(stacks), rank[number], sections, numbered)


def relative_names(names: Text, locations: ImageLocations, folder: Path) -> Text:
    """Image names (n,) relative to `folder`; one that already is stays as it is, byte for byte.

    Parameters
    ----------
    names
        (n,) column rlnImageName.
    locations
        Of the same images.
    folder
        Where the particle file will be.
    """
    base = os.path.realpath(folder)
    digits, paths = _split(names)
    used, number = np.unique(locations.stack_number, return_inverse=True)
    wanted = np.array(
        [os.path.relpath(locations.stacks[stack], base).encode("utf-8", "surrogateescape") for stack in used.tolist()],
        dtype=np.bytes_,
    )
    new = wanted[number.reshape(-1)]
    changed = new != paths
    if not changed.any():
        return names
    found = np.where(locations.numbered, np.char.add(np.char.add(digits, b"@"), new), new)
    if any(b" " in path for path in wanted.tolist()):
        found = np.array([quoted(name.decode("utf-8", "surrogateescape")) for name in found.tolist()])
    return np.where(changed, found, names)


def _split(names: Text) -> tuple[Text, Text]:
    """Digits before '@' (empty where there are none) and paths of image names."""
    if np.char.startswith(names, b"'").any() or np.char.startswith(names, b'"').any():
        names = np.array([unquoted(name) for name in names.tolist()])
    parts = np.char.partition(names, b"@")
    numbered = np.char.isdigit(parts[:, 0]) & (parts[:, 1] == b"@")
    return np.where(numbered, parts[:, 0], b""), np.where(numbered, parts[:, 2], names)


def _candidates(text: str, base: Path, datadir: str | os.PathLike[str] | None) -> Iterator[Path]:
    if not text:
        return
    if os.path.isabs(text):
        yield Path(text)
    else:
        yield base / text
        yield Path.cwd() / text
    if datadir is not None:
        parts = [part for part in PurePosixPath(text).parts if part not in ("/", "..", ".")]
        root = Path(os.path.realpath(datadir))
        for start in range(len(parts)):
            yield root.joinpath(*parts[start:])
    if not os.path.isabs(text):
        for parent in base.parents:
            yield parent / text
