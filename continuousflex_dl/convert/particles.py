"""Particle sets of Scipion and RELION 3.1 STAR files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pwem.objects import Acquisition, CTFModel, Particle, ParticleFlex, SetOfParticles, Transform
from pyworkflow.object import CsvList, Float, Integer

from ..core.io.atomic import atomic_path
from ..core.io.star import TextTable, quoted, read_star, star_bytes
from .alignment import matrix_from_pose, pose_from_matrix
from .images import ConversionError, ImageNames

ITEM_ID = "cflexItemId"
AMPLITUDE = "cflexModeAmplitude"
AMPLITUDE_STD = "cflexModeAmplitudeStd"
PHASE_FLIPPED = "cflexPhaseFlipped"
# result column -> attribute of a particle
_SCALARS = {
    "cflexScore": ("_cflexScore", Float),
    "cflexConverged": ("_cflexConverged", Integer),
    "cflexAngleStd": ("_cflexAngleStd", Float),
    "cflexShiftStdAngst": ("_cflexShiftStdAngst", Float),
    "cflexFrame": ("_cflexFrame", Integer),
}
_POSE = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
_FIRST_MODE = 7
_MAGNIFICATION = (
    50000.0  # pwem asks whether there is an acquisition by looking at the magnification, which has no role here
)


# ---------------------------------------------------------------- Scipion -> STAR


def write_particles(particles: SetOfParticles, star_path: str | os.PathLike[str]) -> int:
    """Write a particle set as a RELION 3.1 STAR file.

    Poses are written where the set holds a projection alignment, the CTF where it has one, amplitudes where the items
    carry ``_xmipp_nmaDisplacements``; the item's identifier is kept as ``_cflexItemId``. Every different acquisition is an
    optics group.

    Parameters
    ----------
    particles
        Set to write; items are written in the order of their identifiers.
    star_path
        File to write, complete or not at all.

    Returns
    -------
    Number of particles written.

    Raises
    ------
    ConversionError
        For missing pixel size, acquisition, images or inconsistent items; the message names the item.
    """
    pixel_size = particles.getSamplingRate()
    if not pixel_size:
        raise ConversionError("the particles have no pixel size (sampling rate); import them again with one")
    with_pose, with_ctf = particles.hasAlignmentProj(), bool(particles.hasCTF())
    star = Path(star_path)
    star.parent.mkdir(parents=True, exist_ok=True)
    names = ImageNames(star.parent, pixel_size)
    optics = _OpticsGroups(pixel_size, _box_of(particles), bool(particles.isPhaseFlipped()))
    rows: dict[str, list[bytes]] = {}
    count = 0
    for item in particles.iterItems():
        row: dict[str, bytes] = {
            "rlnImageName": quoted(names.name(item.getLocation())),
            "rlnOpticsGroup": b"%d" % optics.number(item, with_ctf),
        }
        if with_pose:
            row.update(_pose_row(item, pixel_size))
        if with_ctf:
            row.update(_ctf_row(item))
        row.update(_amplitude_row(item))
        row[ITEM_ID] = b"%d" % item.getObjId()
        if count == 0:
            rows = {label: [] for label in row}
        elif row.keys() != rows.keys():
            odd = ", ".join("_" + label for label in sorted(set(row) ^ set(rows)))
            raise ConversionError(
                f"particle {item.getObjId()} differs from the first one in {odd}; all particles of a set must carry the same"
            )
        for label, value in row.items():
            rows[label].append(value)
        count += 1
    if count == 0:
        raise ConversionError("the particle set is empty")
    blocks = [
        optics.table(star),
        TextTable(star, "particles", {label: np.array(values) for label, values in rows.items()}),
    ]
    with atomic_path(star) as temporary:
        temporary.write_bytes(star_bytes(blocks))
    return count


def amplitudes_of(item: Any) -> list[float]:
    """Normal-mode amplitudes of a particle (Å); empty where it carries none. Understands results of other plugins."""
    stored = getattr(item, "_xmipp_nmaDisplacements", None)
    return [] if stored is None else [float(value) for value in stored]


def mode_numbers_of(item: Any) -> list[int]:
    """Mode numbers of a particle's amplitudes; 7, 8, ... where the plugin that made them does not say."""
    count = len(amplitudes_of(item))
    stored = getattr(item, "_cflexModeNumbers", None)
    numbers = [int(value) for value in stored] if stored is not None else []
    return numbers if len(numbers) == count else list(range(_FIRST_MODE, _FIRST_MODE + count))


class _OpticsGroups:
    """Collects the different acquisitions of a set."""

    def __init__(self, pixel_size: float, box: int, phase_flipped: bool):
        self._pixel_size, self._box, self._flipped = pixel_size, box, phase_flipped
        self._groups: dict[tuple[float, ...], int] = {}

    def number(self, item: Particle, with_ctf: bool) -> int:
        values = (0.0, 0.0, 0.0)
        if with_ctf:
            acquisition = item.getAcquisition()
            given = (
                (acquisition.getVoltage(), acquisition.getSphericalAberration(), acquisition.getAmplitudeContrast())
                if acquisition is not None
                else (None, None, None)
            )
            if any(value is None for value in given):
                raise ConversionError(
                    f"particle {item.getObjId()} has a CTF but no voltage, spherical aberration or amplitude contrast; "
                    "import the particles with their acquisition"
                )
            values = tuple(float(value) for value in given)
        return self._groups.setdefault(values, len(self._groups) + 1)

    def table(self, star: Path) -> TextTable:
        groups = list(self._groups)
        columns: dict[str, list[bytes]] = {
            "rlnOpticsGroupName": [b"opticsGroup%d" % number for number in self._groups.values()],
            "rlnOpticsGroup": [b"%d" % number for number in self._groups.values()],
        }
        if any(any(group) for group in groups):
            for position, label in enumerate(("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")):
                columns[label] = [_number(group[position]) for group in groups]
        columns["rlnImagePixelSize"] = [_number(self._pixel_size)] * len(groups)
        columns["rlnImageSize"] = [b"%d" % self._box] * len(groups)
        columns["rlnImageDimensionality"] = [b"2"] * len(groups)
        columns[PHASE_FLIPPED] = [b"%d" % self._flipped] * len(groups)
        return TextTable(star, "optics", {label: np.array(values) for label, values in columns.items()})


def _box_of(particles: SetOfParticles) -> int:
    dimensions = particles.getDim()
    if not dimensions or not dimensions[0]:
        raise ConversionError("the size of the particle images is not known; import the particles again")
    if dimensions[0] != dimensions[1]:
        raise ConversionError(
            f"the images have {dimensions[0]} x {dimensions[1]} pixels, expected square ones; crop them"
        )
    return int(dimensions[0])


def _pose_row(item: Particle, pixel_size: float) -> dict[str, bytes]:
    if not item.hasTransform() or item.getTransform().getMatrix() is None:
        raise ConversionError(
            f"particle {item.getObjId()} has no pose although its set is aligned; make a subset without it"
        )
    pose = pose_from_matrix(item.getTransform().getMatrix(), pixel_size)
    return dict(zip(_POSE, map(_number, pose), strict=True))


def _ctf_row(item: Particle) -> dict[str, bytes]:
    if not item.hasCTF():
        raise ConversionError(f"particle {item.getObjId()} has no CTF although its set has; make a subset without it")
    ctf: CTFModel = item.getCTF()
    defocus = ctf.getDefocus()
    if defocus[0] is None or defocus[1] is None:
        raise ConversionError(f"particle {item.getObjId()} has a CTF without defocus; make a subset without it")
    row = {
        "rlnDefocusU": _number(defocus[0]),
        "rlnDefocusV": _number(defocus[1]),
        "rlnDefocusAngle": _number(defocus[2] or 0.0),
        "rlnPhaseShift": _number(ctf.getPhaseShift() or 0.0),
    }
    if ctf.hasResolution():
        row["rlnCtfMaxResolution"] = _number(ctf.getResolution())
    if ctf.getFitQuality() is not None:
        row["rlnCtfFigureOfMerit"] = _number(ctf.getFitQuality())
    return row


def _amplitude_row(item: Any) -> dict[str, bytes]:
    numbers = mode_numbers_of(item)
    row = {f"{AMPLITUDE}{mode}": _number(q) for mode, q in zip(numbers, amplitudes_of(item), strict=True)}
    for label, (attribute, _) in _SCALARS.items():
        stored = getattr(item, attribute, None)
        if stored is not None and stored.get() is not None:
            row[label] = _number(stored.get())
    return row


def _number(value: float) -> bytes:
    """Shortest text that gives back the same number."""
    return repr(float(value)).removesuffix(".0").encode()


# ---------------------------------------------------------------- STAR -> Scipion


class ResultRows:
    """The rows of a result STAR file, by item identifier or by order.

    Parameters
    ----------
    star_path
        File that a command wrote.
    """

    def __init__(self, star_path: str | os.PathLike[str]):
        blocks = read_star(star_path)
        if "particles" not in blocks:
            raise ConversionError(
                f"{star_path}: no block data_particles, expected a RELION 3.1 STAR file; run the command again"
            )
        self.path = Path(star_path)
        self.table = blocks["particles"]
        self.optics = blocks.get("optics")
        labels = self.table.labels
        self.modes = sorted(int(found[1]) for label in labels if (found := re.fullmatch(AMPLITUDE + r"(\d+)", label)))
        self._numbers: dict[str, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.table)

    def has(self, *labels: str) -> bool:
        """Whether all these columns are there."""
        return all(label in self.table for label in labels)

    def numbers(self, label: str) -> NDArray[np.float64]:
        """Give a column as numbers (n,); NaN means not known."""
        if label not in self._numbers:
            self._numbers[label] = self.table.numbers(label, allow_nan=label not in _POSE)
        return self._numbers[label]

    def row_of_item(self) -> dict[int, int]:
        """Row of every item identifier."""
        identifiers = self.table.integers(ITEM_ID)
        rows = {int(identifier): row for row, identifier in enumerate(identifiers)}
        if len(rows) != len(self):
            raise ConversionError(f"{self.path}: column _{ITEM_ID} holds an identifier twice; run the conversion again")
        return rows

    def amplitudes(self, row: int) -> list[float]:
        """Amplitudes of a row in the order of `modes`."""
        return [float(self.numbers(f"{AMPLITUDE}{mode}")[row]) for mode in self.modes]

    def amplitude_stds(self, row: int) -> list[float]:
        """Standard deviations of the amplitudes of a row; empty where the file has none."""
        if not self.modes or not self.has(*(f"{AMPLITUDE_STD}{mode}" for mode in self.modes)):
            return []
        return [float(self.numbers(f"{AMPLITUDE_STD}{mode}")[row]) for mode in self.modes]


def set_amplitudes(item: Any, modes: Sequence[int], amplitudes: Sequence[float], stds: Sequence[float] = ()) -> None:
    """Give a particle its amplitudes under the name that Xmipp's and ContinuousFlex's protocols read."""
    item._xmipp_nmaDisplacements = _csv(amplitudes)
    item._cflexModeNumbers = _csv(modes)
    if stds:
        item._cflexModeAmplitudeStd = _csv(stds)


def particle_updates(
    star_path: str | os.PathLike[str], pixel_size: float, program: str | None = None
) -> Callable[[Any, Any], None]:
    """Make the callback that puts the rows of a result STAR file on the items of the set that was written.

    Parameters
    ----------
    star_path
        Result of a command on a file of `write_particles`.
    pixel_size
        Of the set, Å.
    program
        Name for pwem's FlexInfo; given, items are taken to be `ParticleFlex`.

    Returns
    -------
    ``update(item, _)`` for ``copyItems``.
    """
    rows = ResultRows(star_path)
    row_of = rows.row_of_item()
    has_pose = rows.has(*_POSE)

    def update(item: Any, _row: Any = None) -> None:
        if item.getObjId() not in row_of:
            raise ConversionError(f"{star_path}: particle {item.getObjId()} is missing; run the command again")
        _apply(item, rows, row_of[item.getObjId()], pixel_size, has_pose, program)

    return update


def new_particles(
    star_path: str | os.PathLike[str],
    project_folder: str | os.PathLike[str],
    *,
    flexible: bool,
    program: str | None = None,
) -> Iterator[Particle]:
    """Make Scipion particles out of a STAR file that stands alone (a simulation).

    Parameters
    ----------
    star_path
        RELION 3.1 STAR file.
    project_folder
        Image paths are given relative to it where they lie below it.
    flexible
        Give poses and amplitudes too, and `ParticleFlex` where there are amplitudes.
    program
        Name for pwem's FlexInfo.

    Yields
    ------
    Particles with location, pixel size, acquisition and CTF; identifiers are row numbers from 1.
    """
    rows = ResultRows(star_path)
    acquisition_of = _acquisitions(rows)
    groups = rows.table.integers("rlnOpticsGroup") if rows.has("rlnOpticsGroup") else np.ones(len(rows), dtype=int)
    with_ctf = rows.has("rlnDefocusU", "rlnDefocusV")
    has_pose = flexible and rows.has(*_POSE)
    as_flex = flexible and bool(rows.modes)
    folder = Path(os.path.realpath(Path(star_path).parent))
    project = os.path.realpath(project_folder)
    for row, name in enumerate(rows.table.text("rlnImageName")):
        item: Particle = ParticleFlex(progName=program or "") if as_flex else Particle()
        index, _, file_name = name.rpartition("@")
        path = os.path.normpath(folder / file_name)
        relative = os.path.relpath(path, project)
        item.setObjId(row + 1)
        item.setLocation(int(index) if index else 0, path if relative.startswith("..") else relative)
        pixel_size, acquisition, _ = acquisition_of[int(groups[row])]
        item.setSamplingRate(pixel_size)
        if acquisition is not None:
            item.setAcquisition(acquisition.clone())
        if with_ctf and acquisition is not None:
            item.setCTF(_ctf(rows, row))
        if flexible:
            _apply(item, rows, row, pixel_size, has_pose, program if as_flex else None)
        yield item


def optics_of(star_path: str | os.PathLike[str]) -> tuple[float, Acquisition | None, bool]:
    """Pixel size (Å), acquisition and phase-flip flag of the first optics group."""
    return next(iter(_acquisitions(ResultRows(star_path)).values()))


def _acquisitions(rows: ResultRows) -> dict[int, tuple[float, Acquisition | None, bool]]:
    optics = rows.optics
    if optics is None or "rlnImagePixelSize" not in optics:
        raise ConversionError(f"{rows.path}: no pixel size in the optics table; expected _rlnImagePixelSize")
    found: dict[int, tuple[float, Acquisition | None, bool]] = {}
    numbers = optics.integers("rlnOpticsGroup")
    pixel_sizes = optics.numbers("rlnImagePixelSize")
    labels = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
    columns = [optics.numbers(label) for label in labels] if all(label in optics for label in labels) else None
    flipped = optics.integers(PHASE_FLIPPED) if PHASE_FLIPPED in optics else np.zeros(len(optics), dtype=int)
    for position, number in enumerate(numbers):
        acquisition = None
        if columns is not None:
            acquisition = Acquisition(
                magnification=_MAGNIFICATION,
                voltage=float(columns[0][position]),
                sphericalAberration=float(columns[1][position]),
                amplitudeContrast=float(columns[2][position]),
            )
        found[int(number)] = (float(pixel_sizes[position]), acquisition, bool(flipped[position]))
    return found


def _ctf(rows: ResultRows, row: int) -> CTFModel:
    ctf = CTFModel()
    angle = rows.numbers("rlnDefocusAngle")[row] if rows.has("rlnDefocusAngle") else 0.0
    ctf.setStandardDefocus(
        float(rows.numbers("rlnDefocusU")[row]), float(rows.numbers("rlnDefocusV")[row]), float(angle)
    )
    if rows.has("rlnPhaseShift"):
        ctf.setPhaseShift(float(rows.numbers("rlnPhaseShift")[row]))
    return ctf


def _apply(item: Any, rows: ResultRows, row: int, pixel_size: float, has_pose: bool, program: str | None) -> None:
    if has_pose:
        pose = [float(rows.numbers(label)[row]) for label in _POSE]
        item.setTransform(Transform(matrix_from_pose(*pose, pixel_size)))
    amplitudes = rows.amplitudes(row)
    if amplitudes:
        set_amplitudes(item, rows.modes, amplitudes, rows.amplitude_stds(row))
    for label, (attribute, kind) in _SCALARS.items():
        if rows.has(label):
            value = float(rows.numbers(label)[row])
            setattr(item, attribute, kind(int(value) if kind is Integer else value))
    if program is not None:
        item.getFlexInfo().setProgName(program)
        item.setZFlex(amplitudes)
        item.setZRed(padded(amplitudes))


def padded(values: Sequence[float], dimensions: int = 3) -> list[float]:
    """Values followed by zeros up to `dimensions`, as viewers of flexible particles want them."""
    return list(values) + [0.0] * max(0, dimensions - len(values))


def _csv(values: Sequence[float]) -> CsvList:
    stored = CsvList()
    stored.set([repr(value) if isinstance(value, float) else str(value) for value in values])
    return stored
