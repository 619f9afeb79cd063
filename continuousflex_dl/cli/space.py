"""``cflex space``: conformational space of a particle set, with an HTML report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, REFERENCE_NAME, read_modes, read_reference, write_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import write_star
from ..core.io.star import decimals
from ..core.metrics import ParticleErrors, particle_errors
from ..core.space.build import amplitude_matrix, build_space
from ..core.space.result import SPACE_NAME, Space
from ..core.structure.atoms import Structure
from ..core.structure.writer import write_structure
from ..options.space import SpaceOptions
from .evaluate import ensemble_rmsd, read_table, say_what_is_left_out
from .run import RECORD_NAME, Run

log = logging.getLogger(__name__)

PARTICLES_NAME, REPORT_NAME, MOTION_NAME = "particles.star", "report.html", "axis_1.cif"
COORDINATE_COLUMN = "cflexSpace"
_FILES = (
    (SPACE_NAME, "coordinates of the particles, axes, mean and explained variance (NumPy)"),
    (PARTICLES_NAME, "the particles with their coordinates in the space (_cflexSpace1 ...)"),
    (MODES_NAME, "the normal modes of the amplitudes"),
    (REFERENCE_NAME, "the reference structure of the modes"),
    (MOTION_NAME, "structures from the 2nd to the 98th percentile along PC 1, one model each"),
)


@dataclass(frozen=True, eq=False)
class Motion:
    """Structures along the first axis: frames (F, N, 3) in Å at places `path` (F, d) of the space."""

    structure: Structure
    frames: np.ndarray
    path: np.ndarray


def run(options: SpaceOptions, run: Run) -> None:
    """Reduce the amplitudes, write the space, the motion along its first axis and the report."""
    particles = find_particles(options.input)
    with run.stage("read"):
        table = read_table(str(particles), options, run)
        numbers, amplitudes = amplitude_matrix(table)
        modes_path = Path(options.modes) if options.modes else find_modes(particles.parent)
        modes = structure = None
        if modes_path is None:
            run.say("no normal modes found beside the particles: no structures along the axes (give --modes)")
        else:
            modes = read_modes(modes_path)
            structure = read_reference(_file_of(modes_path), modes)
            run.add_input(_file_of(modes_path))
        truth = read_table(options.truth, options, run) if options.truth else None
    run.claim_output()
    with run.stage("space"):
        space = build_space(table, options.n_components, keep_unconverged=options.keep_unconverged)
        notes = _notes(space, options)
        for note in notes:
            run.say(note)
        space.save(run.path(SPACE_NAME))
        write_star(run.path(PARTICLES_NAME), with_coordinates(table, space.coordinates))
    motion = None
    if modes is not None and structure is not None:
        motion = _write_motion(run, space, modes.select(numbers.tolist()), structure, options.n_frames)
    errors = _compare(options, run, table, truth, modes)
    with run.stage("report"):
        _write_report(options, run, table, amplitudes, space, motion, errors, notes)
    run.result(
        particles=len(table),
        converged=int(space.converged.sum()),
        n_components=space.n_components,
        modes=numbers.tolist(),
        explained_variance_ratio=[round(float(value), 6) for value in space.explained_variance_ratio],
    )
    _print_axes(space)
    print(f"written: {run.path(REPORT_NAME)}")


def find_particles(given: str) -> Path:
    """Find the particle file: what was given, or particles.star in a result directory."""
    path = Path(given)
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; give a particle file or a result directory")
    if not path.is_dir():
        return path
    inside = path / PARTICLES_NAME
    if not inside.is_file():
        raise InputError(f"{path}: holds no {PARTICLES_NAME}; expected the result of a command such as cflex hemnma")
    return inside


def find_modes(folder: Path) -> Path | None:
    """Find the modes of a result: modes.npz in its directory, or what its run.json names."""
    if (folder / MODES_NAME).is_file():
        return folder / MODES_NAME
    record_path = folder / RECORD_NAME
    if not record_path.is_file():
        return None
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        named = record["options"].get("modes")
        inputs = [Path(path) for path in record.get("inputs", {})]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        log.warning("%s: cannot be read (%s), the modes are not taken from it", record_path, error)
        return None
    if not isinstance(named, str) or not named:
        return None
    # options keep the path as typed, relative to a folder that may not be the current one; inputs are absolute
    same_name = [path for path in inputs if path.name == Path(named).name]
    for candidate in (*same_name, Path(named), folder / named):
        if candidate.exists():
            return candidate
    log.warning("%s: names modes %s, which are not there any more; give --modes", record_path, named)
    return None


def with_coordinates(table: ParticleTable, coordinates: np.ndarray) -> ParticleTable:
    """Add columns ``_cflexSpace<k>`` with coordinates (n, d); those of an earlier space go."""
    stale = [label for label in table.particles.labels if label.startswith(COORDINATE_COLUMN)]
    new = {f"{COORDINATE_COLUMN}{axis + 1}": decimals(values) for axis, values in enumerate(coordinates.T)}
    particles = table.particles.without(stale).with_columns(new)
    return ParticleTable(table.source, particles, table.optics, table.locations)


def _file_of(modes_path: Path) -> Path:
    return modes_path / MODES_NAME if modes_path.is_dir() else modes_path


def _notes(space: Space, options: SpaceOptions) -> tuple[str, ...]:
    notes = []
    left_out = int((~space.converged).sum())
    if left_out and not options.keep_unconverged:
        notes.append(
            f"{left_out} of {len(space.converged)} particles did not converge: they get a place in the space, "
            "but its axes are made without them"
        )
    if space.n_components < options.n_components:
        notes.append(f"{options.n_components} dimensions asked for, the amplitudes vary in {space.n_components}")
    return tuple(notes)


def _write_motion(run: Run, space: Space, modes: NormalModes, structure: Structure, n_frames: int) -> Motion:
    """Write the structures along PC 1, and the modes that the space needs to be animated further."""
    with run.stage("motion"):
        path = space.path_along(1, n_frames)
        frames = modes.displace(space.inverse_transform(path))
        write_structure(run.path(MOTION_NAME), structure, frames)
        write_modes(run.path(MODES_NAME), modes)
        write_structure(run.path(REFERENCE_NAME), structure, modes.coordinates)
    return Motion(structure, frames, path)


def _compare(
    options: SpaceOptions, run: Run, table: ParticleTable, truth: ParticleTable | None, modes: NormalModes | None
) -> ParticleErrors | None:
    if truth is None:
        return None
    with run.stage("compare"):
        errors = particle_errors(table, truth, modes)
        say_what_is_left_out(errors, modes, run)
        if modes is not None:
            errors.rmsd.update(ensemble_rmsd(errors, str(options.truth), modes, run))
    return errors


def _write_report(
    options: SpaceOptions,
    run: Run,
    table: ParticleTable,
    amplitudes: np.ndarray,
    space: Space,
    motion: Motion | None,
    errors: ParticleErrors | None,
    notes: tuple[str, ...],
) -> None:
    from .report import ReportContent, write_report  # matplotlib is slow to import: bad input is said before it
    from .report.trace import motion as light

    content = ReportContent(
        title=f"Conformational space of {len(table):,} particles",
        source=options.input,
        space=space,
        amplitudes=amplitudes,
        amplitude_std=dict(table.amplitude_std),
        score=table.score,
        angle_std_deg=table.angle_std_deg,
        shift_std_angst=table.shift_std_angst,
        n_atoms=None if motion is None else len(motion.structure),
        motion=None if motion is None else light(motion.structure, motion.frames),
        path=None if motion is None else motion.path,
        errors=errors,
        figures=None if errors is None else errors.figures(),
        notes=notes,
        files=tuple((name, what) for name, what in _FILES if run.path(name).exists()),
    )
    write_report(run.path(REPORT_NAME), content)


def _print_axes(space: Space) -> None:
    print(f"{'axis':>5} {'variance':>9}   loadings of modes {', '.join(str(mode) for mode in space.modes)}")
    rows = zip(space.explained_variance_ratio, space.components, strict=True)
    for axis, (share, loadings) in enumerate(rows, start=1):
        print(f"{axis:>5} {100 * share:>7.2f} %   {' '.join(f'{round(value, 2) + 0.0:6.2f}' for value in loadings)}")
