"""Particle sets of Scipion and RELION 3.1 STAR files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pwem.constants import NO_INDEX
from pwem.objects import Acquisition, CTFModel, Particle, ParticleFlex, SetOfParticles, Transform
from pyworkflow.object import CsvList, Float, Integer

from ..core.io.atomic import atomic_path
from ..core.io.particle_table import (
    EULER_LABELS,
    MODE_AMPLITUDE,
    MODE_AMPLITUDE_STD,
    ORIGIN_LABELS,
    PHASE_FLIPPED,
    CtfParameters,
    ParticleTable,
)
from ..core.io.particles import read_particles
from ..core.io.star import STAR_TAIL, quoted, star_head, star_rows
from ..core.io.text_table import ROWS_PER_PIECE, Columns, PackedColumn, TextTable
from .alignment import matrix_from_pose, pose_from_matrix
from .images import ConversionError, ImageNames

ITEM_ID = "cflexItemId"
_POSE = (*EULER_LABELS, *ORIGIN_LABELS)
_SCALARS = {  # result column -> attribute of a particle
    "cflexScore": "_cflexScore",
    "cflexConverged": "_cflexConverged",
    "cflexConfidence": "_cflexConfidence",
    "cflexAngleStd": "_cflexAngleStd",
    "cflexShiftStdAngst": "_cflexShiftStdAngst",
    "cflexFrame": "_cflexFrame",
}
_FIRST_MODE = 7
_MAGNIFICATION = (
    50000.0  # pwem asks whether there is an acquisition by looking at the magnification, which has no role here
)


# ---------------------------------------------------------------- Scipion -> STAR


def write_particles(
    particles: SetOfParticles, star_path: str | os.PathLike[str], ids: Collection[int] | None = None
) -> int:
    """Write a particle set as a RELION 3.1 STAR file.

    Poses are written where the set holds a projection alignment, the CTF where it has one, amplitudes where the items
    carry ``_xmipp_nmaDisplacements``; the item's identifier is kept as ``_cflexItemId``. Every different acquisition is
    an optics group.

    Parameters
    ----------
    particles
        Set to write; items are written in the order of their identifiers.
    star_path
        File to write, complete or not at all.
    ids
        Identifiers of the items to write; by default all.

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
    rows = _Rows()
    for item in items_of(particles, ids):
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
        rows.add(row, item.getObjId())
    table = rows.table(star)
    if not len(table):
        raise ConversionError("the particle set is empty")
    with atomic_path(star) as temporary, open(temporary, "wb") as stream:
        for block in (optics.table(star), table):
            stream.writelines((star_head(block), *star_rows(block), STAR_TAIL))
    return len(table)


def items_of(particles: SetOfParticles, ids: Collection[int] | None = None) -> Iterator[Particle]:
    """Items of a set in the order of their identifiers: all, or those with the given identifiers.

    As everywhere in Scipion, the item is the same object every time, with other values.
    """
    if ids is None:
        yield from particles.iterItems()
    elif len(ids):
        wanted = ids if isinstance(ids, (set, frozenset)) else set(ids)
        for item in particles.iterItems(where=f"id>={min(wanted)} AND id<={max(wanted)}"):
            if item.getObjId() in wanted:
                yield item


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


class _Rows:
    """Rows of a table, packed every few thousand."""

    def __init__(self) -> None:
        self._columns: dict[str, PackedColumn] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._count = 0

    def add(self, row: dict[str, bytes], identifier: int) -> None:
        """Add a row; all must have the labels of the first."""
        if not self._columns:
            self._columns = {label: PackedColumn([]) for label in row}
            self._waiting = {label: [] for label in row}
        elif row.keys() != self._columns.keys():
            odd = ", ".join("_" + label for label in sorted(set(row) ^ set(self._columns)))
            raise ConversionError(
                f"particle {identifier} differs from the first one in {odd}; all particles must carry the same"
            )
        for label, value in row.items():
            self._waiting[label].append(value)
        self._count += 1
        if self._count % ROWS_PER_PIECE == 0:
            self._pack()

    def table(self, star: Path) -> TextTable:
        """The particles block of a file."""
        if self._count % ROWS_PER_PIECE:
            self._pack()
        return TextTable(star, "particles", Columns(self._columns))

    def _pack(self) -> None:
        for label, values in self._waiting.items():
            self._columns[label].append(np.array(values))
            values.clear()


class _OpticsGroups:
    """Collects the different acquisitions of a set."""

    def __init__(self, pixel_size: float, box: int, phase_flipped: bool) -> None:
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
    row = {f"{MODE_AMPLITUDE}{mode}": _number(q) for mode, q in zip(numbers, amplitudes_of(item), strict=True)}
    stds = [float(value) for value in getattr(item, "_cflexModeAmplitudeStd", ())]
    if len(stds) == len(numbers):
        row.update({f"{MODE_AMPLITUDE_STD}{mode}": _number(std) for mode, std in zip(numbers, stds, strict=True)})
    for label, attribute in _SCALARS.items():
        stored = getattr(item, attribute, None)
        if stored is not None and stored.get() is not None:
            row[label] = _number(stored.get())
    return row


def _number(value: float) -> bytes:
    """Shortest text that gives back the same number."""
    return repr(float(value)).removesuffix(".0").encode()


# ---------------------------------------------------------------- STAR -> Scipion


def set_amplitudes(item: Any, modes: Sequence[int], amplitudes: Sequence[float], stds: Sequence[float] = ()) -> None:
    """Give a particle its amplitudes under the name that Xmipp's and ContinuousFlex's protocols read."""
    item._xmipp_nmaDisplacements = _csv(amplitudes)
    item._cflexModeNumbers = _csv(modes)
    if len(stds):
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
    table = read_particles(star_path, check_images=False)
    identifiers = table.numbers(ITEM_ID)
    if identifiers is None:
        raise ConversionError(f"{star_path}: no column _{ITEM_ID}; expected the result of a converted Scipion set")
    order = np.argsort(identifiers, kind="stable")
    ranked = identifiers[order]
    if (ranked[1:] == ranked[:-1]).any():
        raise ConversionError(f"{star_path}: column _{ITEM_ID} holds an identifier twice; run the conversion again")

    def update(item: Any, _row: Any = None) -> None:
        place = int(np.searchsorted(ranked, item.getObjId()))
        if place == len(ranked) or ranked[place] != item.getObjId():
            raise ConversionError(f"{star_path}: particle {item.getObjId()} is missing; run the command again")
        _apply(item, table, int(order[place]), pixel_size, program)

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
        Particle file.
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
    table = read_particles(star_path, check_images=False)
    as_flex = flexible and bool(table.amplitudes)
    project = os.path.realpath(project_folder)
    numbered = table.locations.numbered
    for row, stack in enumerate(table.stack_path):
        item: Particle = ParticleFlex(progName=program or "") if as_flex else Particle()
        relative = os.path.relpath(stack, project)
        item.setObjId(row + 1)
        item.setLocation(
            int(table.stack_index[row]) + 1 if numbered[row] else NO_INDEX,
            stack if relative.startswith("..") else relative,
        )
        item.setSamplingRate(float(table.pixel_size[row]))
        if table.ctf is not None:
            item.setAcquisition(_acquisition(table.ctf, row))
            item.setCTF(_ctf(table.ctf, row))
        if flexible:
            _apply(item, table, row, float(table.pixel_size[row]), program if as_flex else None)
        yield item


@dataclass(frozen=True)
class SetProperties:
    """What a set of particles has in common: pixel size (Å), acquisition of the first image, CTF, phase flipping."""

    pixel_size: float
    acquisition: Acquisition | None
    has_ctf: bool
    phase_flipped: bool


def set_properties(star_path: str | os.PathLike[str]) -> SetProperties:
    """Properties of the set of particles that a STAR file describes."""
    table = read_particles(star_path, check_images=False)
    ctf = table.ctf
    return SetProperties(
        pixel_size=float(table.pixel_size[0]),
        acquisition=None if ctf is None else _acquisition(ctf, 0),
        has_ctf=ctf is not None,
        phase_flipped=bool(table.phase_flipped.any()),
    )


def _acquisition(ctf: CtfParameters, row: int) -> Acquisition:
    return Acquisition(
        magnification=_MAGNIFICATION,
        voltage=float(ctf.voltage_kv[row]),
        sphericalAberration=float(ctf.cs_mm[row]),
        amplitudeContrast=float(ctf.amplitude_contrast[row]),
    )


def _ctf(ctf: CtfParameters, row: int) -> CTFModel:
    model = CTFModel()
    model.setStandardDefocus(
        float(ctf.defocus_u_angst[row]), float(ctf.defocus_v_angst[row]), float(ctf.defocus_angle_deg[row])
    )
    model.setPhaseShift(float(ctf.phase_shift_deg[row]))
    return model


def _apply(item: Any, table: ParticleTable, row: int, pixel_size: float, program: str | None) -> None:
    """Put the results of a row on an item."""
    if table.euler_deg is not None and table.shift_angst is not None:
        pose = (*table.euler_deg[row].tolist(), *table.shift_angst[row].tolist())
        item.setTransform(Transform(matrix_from_pose(*pose, pixel_size)))
    amplitudes = {mode: float(table.amplitudes[mode][row]) for mode in sorted(table.amplitudes)}
    if amplitudes:
        stds = [float(table.amplitude_std[mode][row]) for mode in amplitudes if mode in table.amplitude_std]
        set_amplitudes(item, list(amplitudes), list(amplitudes.values()), stds)
    for attribute, kind, values in (
        ("_cflexScore", Float, table.score),
        ("_cflexConverged", Integer, table.converged),
        ("_cflexConfidence", Float, table.confidence),
        ("_cflexAngleStd", Float, table.angle_std_deg),
        ("_cflexShiftStdAngst", Float, table.shift_std_angst),
        ("_cflexFrame", Integer, table.frame),
    ):
        if values is not None:
            setattr(item, attribute, kind(values[row].item() if kind is Float else int(values[row])))
    if program is not None:
        item.getFlexInfo().setProgName(program)
        item.setZFlex(list(amplitudes.values()))
        item.setZRed(padded(list(amplitudes.values())))


def padded(values: Sequence[float], dimensions: int = 3) -> list[float]:
    """Values followed by zeros up to `dimensions`, as viewers of flexible particles want them."""
    return list(values) + [0.0] * max(0, dimensions - len(values))


def _csv(values: Sequence[float]) -> CsvList:
    stored = CsvList()
    stored.set([repr(value) if isinstance(value, float) else str(value) for value in values])
    return stored
