"""Where the images of a particle file are: ``N@path`` names, resolved to files and written relative to a STAR file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.star import Text, TextTable, quoted, unquoted


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
    digits, paths = _split(particles)
    numbered = digits != b""
    sections = np.zeros(len(particles), dtype=np.int64)
    sections[numbered] = digits[numbered].astype(np.int64) - 1
    if (sections < 0).any():
        row = int(np.argmax(sections < 0))
        raise InputError(
            f"{particles.where(row, 'rlnImageName')}: found image number 0, expected 1 or more; sections count from 1"
        )
    unique, first, number = np.unique(paths, return_index=True, return_inverse=True)
    base = Path(os.path.realpath(folder))  # '..' in a path must climb from the real folder, not from a link to it
    stacks = []
    for text, row in zip(
        (value.decode("utf-8", "surrogateescape") for value in unique.tolist()), first.tolist(), strict=True
    ):
        found = next((str(path) for path in _candidates(text, base, datadir) if path.is_file()), None)
        if found is None and must_exist:
            looked = f"{base}, {Path.cwd()}" + (f", {datadir}" if datadir else "")
            raise InputError(
                f"{particles.where(row, 'rlnImageName')}: no file '{text}' (looked in {looked} and the "
                "folders above the particle file); "
                "give the folder of the images with --datadir"
            )
        stacks.append(os.path.normpath(found or base / text))
    return ImageLocations(tuple(stacks), number.reshape(-1).astype(np.int64), sections, numbered)


def relative_names(particles: TextTable, locations: ImageLocations, folder: Path) -> Text:
    """Image names relative to `folder`; a name that already is stays as it is, byte for byte."""
    base = os.path.realpath(folder)
    digits, paths = _split(particles)
    wanted = np.array(
        [os.path.relpath(stack, base).encode("utf-8", "surrogateescape") for stack in locations.stacks], dtype=np.bytes_
    )
    new = wanted[locations.stack_number]
    changed = new != paths
    if not changed.any():
        return particles.columns["rlnImageName"]
    names = np.where(locations.numbered, np.char.add(np.char.add(digits, b"@"), new), new)
    if any(b" " in path for path in wanted.tolist()):
        names = np.array([quoted(name.decode("utf-8", "surrogateescape")) for name in names.tolist()])
    return np.where(changed, names, particles.columns["rlnImageName"])


def _split(particles: TextTable) -> tuple[Text, Text]:
    """Digits before '@' (empty where there are none) and paths of the column rlnImageName."""
    names = particles.columns["rlnImageName"]
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
