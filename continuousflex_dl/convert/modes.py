"""Normal modes: Scipion's SetOfNormalModes of any plugin, and the files that ``cflex`` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pwem.objects import SetOfNormalModes

from ..core.io.atomic import atomic_path, atomic_text
from .images import ConversionError
from .results import read_modes_file

_MODES_NPZ = "modes.npz"
_FIRST = 7
_RIGID = 6
_VECTOR_NAME = re.compile(r"vec\.(\d+)$")


@dataclass(frozen=True)
class Mode:
    """One normal mode of a set.

    Parameters
    ----------
    number
        1-based, the six rigid-body modes counted.
    file
        Text file of displacements, N rows x 3.
    enabled
        Recommended by whoever computed it.
    collectivity, score, eigenvalue
        None where the set does not say.
    gain, gain_error, overlap
        What images say of the mode, and its overlap with a target, where it was ranked.
    """

    number: int
    file: str
    enabled: bool = True
    collectivity: float | None = None
    score: float | None = None
    eigenvalue: float | None = None
    gain: float | None = None
    gain_error: float | None = None
    overlap: float | None = None

    @property
    def rigid(self) -> bool:
        """Whether it is one of the six rigid-body motions."""
        return self.number <= _RIGID


@dataclass(frozen=True)
class ModesInput:
    """Modes as arguments of a command: file for ``--modes``, file for ``--structure`` where needed, the numbers."""

    path: str
    structure: str | None
    numbers: tuple[int, ...]


def read_modes(modes: SetOfNormalModes) -> list[Mode]:
    """List the modes of a set of any plugin with their numbers, in ascending order.

    The identifier of an item is its mode number, except where the set leaves out the six rigid-body modes and starts at
    1 nevertheless: then it is moved by six. Whether the first six are rigid is read from their displacements.
    """
    items = [item.clone(copyEnable=True) for item in modes.iterItems()]
    identifiers = [item.getObjId() for item in items]
    shift = 0 if _ids_are_numbers(identifiers, items) else _RIGID
    found = [
        Mode(
            number=identifier + shift,
            file=str(item.getModeFile()),
            enabled=item.isEnabled(),
            collectivity=item.getCollectivity(),
            score=item.getScore(),
            eigenvalue=_optional_float(getattr(item, "_cflexEigenvalue", None)),
            gain=_optional_float(getattr(item, "_cflexGain", None)),
            gain_error=_optional_float(getattr(item, "_cflexGainError", None)),
            overlap=_optional_float(getattr(item, "_cflexOverlap", None)),
        )
        for identifier, item in zip(identifiers, items, strict=True)
    ]
    return sorted(found, key=lambda mode: mode.number)


def mode_numbers(modes: SetOfNormalModes) -> list[int]:
    """Numbers of the non-rigid modes of a set."""
    return [mode.number for mode in read_modes(modes) if not mode.rigid]


def describe_numbers(numbers: Iterable[int]) -> str:
    """Text of a list of modes: ``7, 8, 9, 12`` -> ``7-9,12``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def prepare_modes(modes: SetOfNormalModes, folder: str | os.PathLike[str]) -> ModesInput:
    """Give the modes of a set to a command.

    Where the set comes from ``cflex nma`` its ``modes.npz`` is used as it is. Otherwise `folder` gets ``modes.xmd`` and
    the displacement files, and the structure is the one that the set points to.

    Raises
    ------
    ConversionError
        If files are missing or do not belong together.
    """
    listed = [mode for mode in read_modes(modes) if not mode.rigid]
    if not listed:
        raise ConversionError("the set of normal modes has no non-rigid mode (number 7 or more); compute more modes")
    numbers = tuple(mode.number for mode in listed)
    own = own_modes_file(listed)
    if own is not None:
        return ModesInput(str(own), None, numbers)
    structure = modes.getPdb()
    if structure is None or not structure.getFileName():
        raise ConversionError("the set of normal modes has no structure; compute the modes again in this project")
    if not os.path.exists(structure.getFileName()):
        raise ConversionError(f"{structure.getFileName()}: the structure of the normal modes is not there any more")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows: set[int] = set()
    for mode in listed:
        vector = _read_vector(mode.file)
        rows.add(len(vector))
        _write_vector(target / f"vec.{mode.number}", vector)
    if len(rows) > 1:
        raise ConversionError(
            f"the modes have different numbers of atoms ({', '.join(map(str, sorted(rows)))}); expected one"
        )
    _write_xmd(target / "modes.xmd", listed)
    file = str(structure.getFileName())
    if file.lower().endswith((".pdb", ".ent")):
        _link(file, target / "atoms.pdb")  # where readers of modes.xmd look without being told
    return ModesInput(str(target / "modes.xmd"), file, numbers)


def own_modes_file(listed: Iterable[Mode]) -> Path | None:
    """Find the ``modes.npz`` beside or above the displacement files, if all modes of the set are in it."""
    found: set[Path] = set()
    numbers: list[int] = []
    for mode in listed:
        path = Path(mode.file)
        match = _VECTOR_NAME.search(path.name)
        if match is None or int(match[1]) != mode.number:
            return None
        numbers.append(mode.number)
        found.add(
            next((f / _MODES_NPZ for f in (path.parent, path.parent.parent) if (f / _MODES_NPZ).is_file()), Path())
        )
    if len(found) != 1 or found == {Path()}:
        return None
    file = found.pop()
    return file if set(numbers) <= set(read_modes_file(file).indices.tolist()) else None


def write_modes_folder(
    modes_npz: str | os.PathLike[str], folder: str | os.PathLike[str], collectivity_threshold: float = 0.0
) -> list[Mode]:
    """Write ``modes.npz`` as other plugins know modes: ``vec.N`` text files and ``modes.xmd``.

    Modes whose collectivity is below the threshold are disabled. Paths in the result begin with `folder`.
    """
    stored = read_modes_file(modes_npz)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    listed = []
    for position, number in enumerate(stored.indices.tolist()):
        file = target / f"vec.{number}"
        _write_vector(file, stored.vectors[position])
        collectivity = float(stored.collectivity[position])
        listed.append(
            Mode(
                number=int(number),
                file=str(file),
                enabled=collectivity >= collectivity_threshold,
                collectivity=collectivity,
                score=float(stored.score[position]),
                eigenvalue=float(stored.eigenvalues[position]),
            )
        )
    _write_xmd(target / "modes.xmd", listed)
    return listed


def _ids_are_numbers(identifiers: list[int], items: list[Any]) -> bool:
    if not identifiers or min(identifiers) >= _FIRST:
        return True
    first = [
        item
        for identifier, item in sorted(zip(identifiers, items, strict=True), key=lambda pair: pair[0])
        if identifier <= _RIGID
    ]
    return _all_rigid([_read_vector(item.getModeFile()) for item in first])


def _all_rigid(vectors: list[NDArray[np.float64]], tolerance: float = 1e-3) -> bool:
    """Whether displacement fields are rigid-body motions, told without coordinates.

    A rigid field t + w x r is affine in r with an antisymmetric part, so around its mean it has rank 2; the field of a
    flexible mode of a three-dimensional structure has rank 3.
    """
    if not vectors:
        return False
    for vector in vectors:
        values = np.linalg.svd(vector - vector.mean(axis=0), compute_uv=False)
        if len(values) < 3 or values[2] > tolerance * max(np.linalg.norm(vector), 1e-30):
            return False
    return True


def _read_vector(file: str) -> NDArray[np.float64]:
    try:
        vector = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise ConversionError(
            f"{file}: the displacements of a normal mode cannot be read ({error}); compute the modes again"
        ) from error
    if vector.shape[1] != 3:
        raise ConversionError(f"{file}: found {vector.shape[1]} columns, expected 3 (x, y, z of every atom)")
    return vector


def _write_vector(file: Path, vector: NDArray[np.floating]) -> None:
    with atomic_path(file) as temporary:
        np.savetxt(temporary, vector, fmt="%.9e")


def _link(file: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.abspath(file))


def _write_xmd(file: Path, listed: list[Mode]) -> None:
    labels = ["enabled", "nmaModefile", "nmaCollectivity", "nmaScore", "nmaEigenval", "order_"]
    lines = ["# XMIPP_STAR_1 * ", "# ", "data_noname", "loop_", *(f" _{label}" for label in labels)]
    for mode in listed:
        figures = " ".join(f"{value or 0.0:.9g}" for value in (mode.collectivity, mode.score, mode.eigenvalue))
        lines.append(f"{1 if mode.enabled else -1:2d} vec.{mode.number} {figures} {mode.number}")
    atomic_text(file, "\n".join(lines) + "\n")


def _optional_float(stored: Any) -> float | None:
    return None if stored is None or stored.get() is None else float(stored.get())
