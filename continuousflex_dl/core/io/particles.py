"""Particle files in and out: `read_particles` for STAR, .cs and .xmd, `write_star` for RELION's 3.1 STAR."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.atomic import atomic_path
from continuousflex_dl.core.io.cryosparc import read_cs_columns
from continuousflex_dl.core.io.image_files import locate_images, relative_names
from continuousflex_dl.core.io.particle_table import (
    IMAGE_SIGN,
    ORIGIN_LABELS,
    ORIGIN_PX_LABELS,
    PHASE_FLIPPED,
    ParticleTable,
)
from continuousflex_dl.core.io.pixel_size import settle_pixel_size
from continuousflex_dl.core.io.star import STAR_TAIL, decimals, read_star, shortest, star_head, star_rows
from continuousflex_dl.core.io.text_table import Text, TextTable
from continuousflex_dl.core.io.xmd import read_xmd_columns

logger = logging.getLogger(__name__)

_OPTICS_LABELS = (
    "rlnOpticsGroup",
    "rlnOpticsGroupName",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
    "rlnImageSize",
    "rlnImageDimensionality",
    PHASE_FLIPPED,
    IMAGE_SIGN,
)
_IDENTITY = 1e-4  # a magnification closer to 1 than this moves the edge of a 500 px box by less than 0.03 px


def read_particles(
    path: str | os.PathLike[str],
    datadir: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    check_images: bool = True,
    modes: Sequence[int] | None = None,
) -> ParticleTable:
    """Read a particle file.

    Parameters
    ----------
    path
        RELION 3.0 to 5 STAR, cryoSPARC .cs, or Xmipp .xmd (also with ContinuousFlex's nmaDisplacements).
    datadir
        Where to look for images that are not where the file says; leading parts of their path may be missing there.
    pixel_size
        Å; overrides what the file and the image headers say.
    check_images
        Check that every image file is there and long enough, and compare its header with the file.
    modes
        Mode numbers of nmaDisplacements in an .xmd file; by default 7, 8, ...

    Raises
    ------
    InputError
        For whatever a user must mend. Aberrations and the like are read; what compares the images with a model
        calls `refuse_unsupported` for those it does not describe.
    """
    path = Path(path)
    readers = {".star": _read_star_columns, ".cs": read_cs_columns, ".xmd": lambda p: read_xmd_columns(p, modes)}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: found suffix '{path.suffix}', expected .star, .cs or .xmd; give a particle file, not "
            "the image stack"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an existing particle file")
    particles, optics = reader(path)
    if not len(particles):
        raise InputError(f"{path}: found no particles, expected at least one; give a file with particles")
    locations = locate_images(particles, path.parent, datadir, must_exist=check_images)
    if optics is None:
        particles, optics = _optics_from_particles(particles, keep=path.suffix.lower() == ".star")
    if "rlnOpticsGroup" not in particles:
        particles = particles.with_columns({"rlnOpticsGroup": _only_group(particles, optics)})
    optics = settle_pixel_size(ParticleTable(path, particles, optics, locations), pixel_size, check_images)
    table = _with_origins_in_angst(ParticleTable(path, particles, optics, locations))
    table.validate()
    return table


def write_star(path: str | os.PathLike[str], table: ParticleTable) -> None:
    """Write a table as RELION 3.1 STAR with image names relative to the file's folder.

    The file appears complete or not at all, holds no date, and carries the columns of the table as they are.
    """
    write_star_parts(path, table.parts() if len(table) else iter([table]))


def write_star_parts(path: str | os.PathLike[str], parts: Iterable[ParticleTable]) -> None:
    """Write a table that comes in parts, of which only one is held at a time; otherwise like `write_star`.

    Parameters
    ----------
    path
        The file.
    parts
        Particles in order, at least one part; all with the same columns and the optics table of the first.

    Raises
    ------
    ValueError
        Where a part has other columns than the first, or there is none.
    """
    path = Path(path)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.writelines(_star_pieces(path, iter(parts)))


def _star_pieces(path: Path, parts: Iterator[ParticleTable]) -> Iterator[bytes]:
    labels: list[str] = []
    spaces = False
    for number, part in enumerate(parts):
        names = relative_names(part.particles.columns["rlnImageName"], part.locations, path.parent)
        spaces |= bool((np.char.startswith(names, b'"') | np.char.startswith(names, b"'")).any())
        optics = TextTable(path, "optics", part.optics.columns)
        particles = TextTable(path, "particles", part.particles.columns).with_columns({"rlnImageName": names})
        if not number:
            labels = particles.labels
            yield from (star_head(optics), *star_rows(optics), STAR_TAIL, star_head(particles))
        elif particles.labels != labels:
            raise ValueError(f"part {number + 1} has columns {particles.labels}, the first has {labels}")
        yield from star_rows(particles)
    if not labels:
        raise ValueError("no part of a table")
    yield STAR_TAIL
    if spaces:
        logger.warning(
            "%s: image names hold spaces and are written in quotes; older RELION versions cannot read them", path
        )


def refuse_unsupported(table: ParticleTable) -> None:
    """Raise InputError for images that the forward model cannot describe, rather than ignore what the file says.

    These are beam tilt and other aberrations, anisotropic magnification, CTF-premultiplied images, and images that are
    not single-particle ones.
    """
    particles, optics = table.particles, table.optics
    expected = {"rlnImageDimensionality": 2.0, "rlnMagMat00": 1.0, "rlnMagMat11": 1.0}
    zero = ("rlnCtfDataAreCtfPremultiplied", "rlnBeamTiltX", "rlnBeamTiltY", "rlnMagMat01", "rlnMagMat10")
    expected |= dict.fromkeys(zero, 0.0)
    for block in (optics, particles):
        for label, plain in expected.items():
            if label in block:
                tolerance = _IDENTITY if "MagMat" in label else 1e-6
                _refuse(block, label, np.abs(block.numbers(label) - plain) > tolerance)
        for label in ("rlnOddZernike", "rlnEvenZernike"):
            if label in block:
                _refuse(block, label, np.array([not _all_zero(text) for text in block.text(label)]))
    if "rlnTomoVisibleFrames" in particles:
        raise InputError(
            f"{particles.source}: found _rlnTomoVisibleFrames (tilt-series particles), "
            "expected single-particle images; project them first"
        )


_MEANING = {
    "rlnCtfDataAreCtfPremultiplied": ("CTF-premultiplied images", "extract the particles without premultiplication"),
    "rlnBeamTiltX": (
        "beam tilt",
        "extract from images without beam tilt, or set it to 0 if it is negligible at your pixel size",
    ),
    "rlnBeamTiltY": (
        "beam tilt",
        "extract from images without beam tilt, or set it to 0 if it is negligible at your pixel size",
    ),
    "rlnOddZernike": ("asymmetrical aberrations", "remove the column if they are negligible at your pixel size"),
    "rlnEvenZernike": ("symmetrical aberrations", "remove the column if they are negligible at your pixel size"),
    "rlnImageDimensionality": ("images that are not two-dimensional", "give 2D particles"),
}


def _refuse(block: TextTable, label: str, bad: NDArray[np.bool_]) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    what, fix = _MEANING.get(
        label,
        ("anisotropic magnification", "correct the images for it, or set the matrix to 1 0 0 1 if it is negligible"),
    )
    raise InputError(f"{block.where(row, label)}: found {block.value(row, label)[:60]}: {what} is not supported; {fix}")


def _all_zero(text: str) -> bool:
    values = text.strip("[]").replace(",", " ").split()
    try:
        return all(float(value) == 0 for value in values)
    except ValueError:
        return False


def _read_star_columns(path: Path) -> tuple[TextTable, TextTable | None]:
    blocks = read_star(path)
    particles = blocks.get("particles")
    if particles is None:
        particles = next((block for block in blocks.values() if "rlnImageName" in block), None)
    if particles is None or "rlnImageName" not in particles:
        names = ", ".join(f"data_{name}" for name in blocks)
        raise InputError(
            f"{path}: found no column _rlnImageName (blocks: {names}), expected a particle STAR file; give "
            f"the particles, not {names}"
        )
    optics = blocks.get("optics")
    if optics is not None and (not len(optics) or "rlnOpticsGroup" not in optics):
        raise InputError(f"{path}: data_optics has no row with _rlnOpticsGroup, expected one per optics group; add it")
    if optics is not None and len(np.unique(groups := optics.integers("rlnOpticsGroup"))) != len(groups):
        raise InputError(f"{path}: data_optics has an _rlnOpticsGroup twice, expected different numbers; renumber them")
    return particles, optics


def _optics_from_particles(particles: TextTable, *, keep: bool) -> tuple[TextTable, TextTable]:
    """Give RELION 3.0 particles the optics table of 3.1: one group per combination of optics values."""
    labels = [label for label in _OPTICS_LABELS if label in particles]
    magnified = [label for label in ("rlnMagnification", "rlnDetectorPixelSize", "rlnPixelSize") if label in particles]
    code = np.zeros(len(particles), dtype=np.int64)
    for label in labels + magnified:
        values, inverse = np.unique(particles.columns[label], return_inverse=True)
        code = np.unique(code * len(values) + inverse.reshape(-1), return_inverse=True)[1].reshape(-1)
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # groups in order of appearance
    first, group = np.sort(first), rank[group.reshape(-1)]
    columns = {label: particles.columns[label][first] for label in labels}
    number = shortest(np.arange(1, len(first) + 1))
    if "rlnOpticsGroup" in columns and len(np.unique(columns["rlnOpticsGroup"])) != len(first):
        raise InputError(
            f"{particles.source}: one _rlnOpticsGroup has different optics values and there is no "
            "data_optics; remove _rlnOpticsGroup"
        )
    if "rlnOpticsGroup" not in columns:
        particles = particles.with_columns({"rlnOpticsGroup": number[group]})
    if not keep:
        particles = particles.without(label for label in labels if label != "rlnOpticsGroup")
    names = np.array([b"opticsGroup" + value for value in number.tolist()])
    named = {
        "rlnOpticsGroup": columns.pop("rlnOpticsGroup", number),
        "rlnOpticsGroupName": columns.pop("rlnOpticsGroupName", names),
    }
    return particles, TextTable(particles.source, "optics", {**named, **columns})


def _only_group(particles: TextTable, optics: TextTable) -> Text:
    if len(optics) > 1:
        raise InputError(
            f"{particles.source}: data_optics has {len(optics)} groups but data_particles has no column "
            "_rlnOpticsGroup; add it"
        )
    return np.repeat(optics.columns["rlnOpticsGroup"], len(particles))


def _with_origins_in_angst(table: ParticleTable) -> ParticleTable:
    """Add rlnOriginX/YAngst to files that have rlnOriginX/Y in pixels, also where these stand in a 3.1 file."""
    particles = table.particles
    if any(label in particles for label in ORIGIN_LABELS) or not any(label in particles for label in ORIGIN_PX_LABELS):
        return table
    angst = {
        new: decimals(particles.numbers(old) * table.pixel_size)
        for old, new in zip(ORIGIN_PX_LABELS, ORIGIN_LABELS, strict=True)
    }
    return ParticleTable(table.source, particles.with_columns(angst), table.optics, table.locations)
