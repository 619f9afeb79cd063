"""``cflex space``: conformational space of one or several particle sets, with free energy, clusters and a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, REFERENCE_NAME, write_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import write_star
from ..core.io.star import Text, decimals, shortest
from ..core.metrics import ParticleErrors, particle_errors
from ..core.particles.merge import merge_tables
from ..core.space.build import Reduction, hint_for, reduce_features, usable
from ..core.space.decode import Decoder
from ..core.space.features import Features, amplitude_features, stored_features
from ..core.space.groups import find_clusters
from ..core.space.landscape import LANDSCAPE_NAME, Landscape, make_landscape
from ..core.space.paths import write_path
from ..core.space.result import SPACE_NAME, Space
from ..core.structure.writer import write_structure
from ..options.files import PARTICLES_FILE
from ..options.space import SpaceOptions
from .evaluate import ensemble_rmsd, read_table, say_what_is_left_out
from .run import Run
from .space_inputs import (
    find_conformations,
    find_particles,
    read_atoms,
    read_modes_and_atoms,
)

REPORT_NAME, MOTION_NAME, PATH_NAME = "report.html", "axis_1.cif", "path.csv"
COORDINATE_COLUMN, GROUP_COLUMN, DISTANCE_COLUMN = "cflexSpace", "cflexGroup", "cflexMahalanobis"
_FILES = (
    (SPACE_NAME, "coordinates of the particles, axes, mean and explained variance (NumPy)"),
    (PARTICLES_FILE, "the particles with their coordinates in the space (_cflexSpace1 ...)"),
    (LANDSCAPE_NAME, "free energy on a grid, with errors and basins (NumPy)"),
    (PATH_NAME, "path of least free energy between the two deepest basins, in coordinates of the space"),
    (MODES_NAME, "the normal modes of the amplitudes"),
    (REFERENCE_NAME, "the reference structure"),
    (MOTION_NAME, "structures from the 2nd to the 98th percentile along the first axis, one model each"),
)


@dataclass(frozen=True, eq=False)
class Motion:
    """Structures along the first axis: frames (F, N, 3) in Å at places `path` (F, d) of the space."""

    decoder: Decoder
    frames: np.ndarray
    path: np.ndarray


def run(options: SpaceOptions, run: Run) -> None:
    """Reduce the conformations, write the space, its free energy, the motion along its first axis and the report."""
    paths = [find_particles(given) for given in (options.input, *options.also)]
    with run.stage("read"):
        tables = [read_table(str(path), options, run) for path in paths]
        files = [
            find_conformations(path, options.conformations if number == 0 else None)
            for number, path in enumerate(paths)
        ]
        features = read_features(options, files, tables, run)
        known = read_modes_and_atoms(options.modes, options.structure, paths[0].parent, run)
        truth = read_table(options.truth, options, run) if options.truth else None
    used = usable(tables, [len(part) for part in features.parts], options.keep_unconverged)
    run.claim_output()
    with run.stage("space"):
        how = Reduction(
            options.method, options.n_components, options.neighbours, options.outlier_distance, options.seed
        )
        space = reduce_features(features, used, how, hint_for(len(used), options.keep_unconverged))
        labels = None
        if options.clusters != "none":
            labels = np.zeros(len(used), dtype=np.int64)
            labels[space.converged] = find_clusters(space.used, options.clusters, options.n_clusters, options.seed)
            space = replace(space, groups=labels)
        space = replace(space, conformations=_relative(files, run))
        notes = _notes(space, used, features, options)
        space.save(run.path(SPACE_NAME))
        table = _merged(tables, paths, run)
        write_star(run.path(PARTICLES_FILE), with_columns(table, space, labels))
    decoder = _decoder(options, run, space, known, files)
    landscape = None
    with run.stage("free energy"):
        if options.method == "umap":
            notes += ("UMAP does not keep densities, so no free energy is given; --method pca has one",)
        else:
            landscape = make_landscape(space.used, replicas=options.bootstrap, seed=options.seed)
        if landscape is not None:
            landscape.save(run.path(LANDSCAPE_NAME))
            if landscape.path is not None:
                names = tuple(f"{COORDINATE_COLUMN}{axis + 1}" for axis in range(space.n_components))
                write_path(run.path(PATH_NAME), space.completed(landscape.path.points), names)
    motion = None if decoder is None else _write_motion(run, decoder, options.n_frames)
    error_angst = None if decoder is None else space.inverse_error / np.sqrt(len(decoder.structure))
    notes += _error_notes(space, error_angst)
    for note in notes:
        run.say(note)
    modes = None if decoder is None else decoder.modes
    errors = None
    if truth is not None:
        with run.stage("compare"):
            errors = particle_errors(table, truth, modes)
            say_what_is_left_out(errors, modes, run)
            if modes is not None:
                errors.rmsd.update(ensemble_rmsd(errors, str(options.truth), modes, run))
    with run.stage("report"):
        _write_report(options, run, table, features, space, landscape, labels, motion, errors, notes)
    run.result(
        particles=len(table),
        converged=int(used.sum()),
        outliers=int((used & ~space.converged).sum()),
        n_components=space.n_components,
        modes=space.modes.tolist(),
        explained_variance_ratio=[round(float(value), 6) for value in space.explained_variance_ratio],
        inverse_error=round(space.inverse_error, 6),
        inverse_error_angst=None if error_angst is None or space.on == "latent" else round(float(error_angst), 6),
        groups=None if labels is None else np.bincount(labels)[1:].tolist(),
        basins=None if landscape is None else landscape.figures(),
        pass_height_kt=round(landscape.height, 4) if landscape is not None and np.isfinite(landscape.height) else None,
    )
    _print(space, landscape, labels)
    print(f"written: {run.path(REPORT_NAME)}")


def read_features(options: SpaceOptions, files: Sequence[Path], tables: Sequence[ParticleTable], run: Run) -> Features:
    """What is reduced: amplitudes from the tables, or values from files beside them."""
    if options.on == "amplitudes":
        return amplitude_features(tables)
    features = stored_features(options.on, files, [len(table) for table in tables])
    for file in files:
        run.add_input(file)
    return features


def with_columns(table: ParticleTable, space: Space, labels: np.ndarray | None) -> ParticleTable:
    """Add coordinates ``_cflexSpace<k>``, the Mahalanobis distance and groups; columns of an earlier space go."""
    stale = [
        label
        for label in table.particles.labels
        if label.startswith(COORDINATE_COLUMN) or label in (GROUP_COLUMN, DISTANCE_COLUMN)
    ]
    new: dict[str, Text] = {
        f"{COORDINATE_COLUMN}{axis + 1}": decimals(values) for axis, values in enumerate(space.coordinates.T)
    }
    new[DISTANCE_COLUMN] = decimals(space.distance, 4)
    if labels is not None:
        new[GROUP_COLUMN] = shortest(labels)
    particles = table.particles.without(stale).with_columns(new)
    return ParticleTable(table.source, particles, table.optics, table.locations)


def _merged(tables: list[ParticleTable], paths: list[Path], run: Run) -> ParticleTable:
    if len(tables) == 1:
        return tables[0]
    merged, dropped = merge_tables(tables, paths[0])
    if dropped:
        run.say(f"columns that not all particle files have are left out: _{', _'.join(dropped)}")
    return merged


def _relative(files: Sequence[Path], run: Run) -> tuple[str, ...]:
    folder = run.path(SPACE_NAME).parent
    return tuple(os.path.relpath(file, folder) for file in files if file.suffix == ".h5" and file.is_file())


def _decoder(options: SpaceOptions, run: Run, space: Space, known: tuple | None, files: list[Path]) -> Decoder | None:
    """What makes structures of the space; None, and said, where there is nothing to make them from."""
    if space.on == "amplitudes":
        if known is None:
            run.say("no normal modes found beside the particles: no structures along the axes (give --modes)")
            return None
        modes, structure = known
        return Decoder(space, structure, modes.select(space.modes.tolist()))
    stored = None
    if space.on == "latent":
        try:
            counts = np.bincount(space.set_index, minlength=len(files)).tolist()
            stored = stored_features("coordinates", files, counts)
        except InputError:
            run.say("there are no coordinates beside the latents: no structures along the axes")
            return None
    count = (len(space.mean) if stored is None else stored.width) // 3
    structure = known[1] if known is not None and known[0].n_atoms == count else None
    structure = structure or read_atoms(options.structure, find_particles(options.input).parent, count, run)
    if structure is None:
        run.say("no reference structure found beside the particles: no structures along the axes (give --structure)")
        return None
    return Decoder(space, structure, None, stored)


def _notes(space: Space, used: np.ndarray, features: Features, options: SpaceOptions) -> tuple[str, ...]:
    notes = []
    left_out = int((~used).sum())
    if left_out and not options.keep_unconverged:
        notes.append(
            f"{left_out} of {len(used)} particles did not converge: they get a place in the space, "
            "but its axes are made without them"
        )
    if outliers := int((used & ~space.converged).sum()):
        notes.append(
            f"{outliers} of {len(used)} particles are farther than {options.outlier_distance:g} standard deviations "
            "from the others: they get a place, but no say in the axes"
        )
    if space.n_components < options.n_components:
        notes.append(f"{options.n_components} dimensions asked for, the {features.on} vary in {space.n_components}")
    return tuple(notes)


def _error_notes(space: Space, error_angst: float | None) -> tuple[str, ...]:
    unit = "" if space.on == "latent" else " Å"
    text = f"going to the space and back loses {space.inverse_error:.3g}{unit} of the {space.on} (root mean square)"
    if error_angst is not None and space.on != "latent":
        text += f", an RMSD of {error_angst:.3g} Å between structures"
    if not space.is_linear:
        text += "; measured on particles that the way back has not seen"
    return (text,)


def _write_motion(run: Run, decoder: Decoder, n_frames: int) -> Motion:
    """Write the structures along the first axis, and what the space needs to be animated further."""
    with run.stage("motion"):
        path = decoder.space.path_along(1, n_frames)
        frames = decoder.at(path)
        write_structure(run.path(MOTION_NAME), decoder.structure, frames)
        if decoder.modes is not None:
            write_modes(run.path(MODES_NAME), decoder.modes)
        coordinates = decoder.structure.coordinates if decoder.modes is None else decoder.modes.coordinates
        write_structure(run.path(REFERENCE_NAME), decoder.structure, coordinates)
    return Motion(decoder, frames, path)


def _write_report(
    options: SpaceOptions,
    run: Run,
    table: ParticleTable,
    features: Features,
    space: Space,
    landscape: Landscape | None,
    labels: np.ndarray | None,
    motion: Motion | None,
    errors: ParticleErrors | None,
    notes: tuple[str, ...],
) -> None:
    from .report import ReportContent, write_report  # matplotlib is slow to import: bad input is said before it
    from .report.trace import motion as light

    content = ReportContent(
        title=f"Conformational space of {len(table):,} particles",
        source=", ".join((options.input, *options.also)),
        space=space,
        amplitudes=features.all() if features.on == "amplitudes" else None,
        amplitude_std=dict(table.amplitude_std),
        score=table.score,
        angle_std_deg=table.angle_std_deg,
        shift_std_angst=table.shift_std_angst,
        n_atoms=None if motion is None else len(motion.decoder.structure),
        motion=None if motion is None else light(motion.decoder.structure, motion.frames),
        path=None if motion is None else motion.path,
        landscape=landscape,
        labels=labels,
        errors=errors,
        figures=None if errors is None else errors.figures(),
        notes=notes,
        files=tuple((name, what) for name, what in _FILES if run.path(name).exists()),
    )
    write_report(run.path(REPORT_NAME), content)


def _print(space: Space, landscape: Landscape | None, labels: np.ndarray | None) -> None:
    loaded = space.on == "amplitudes" and space.is_linear
    print(
        f"{'axis':>5} {'variance':>9}"
        + (f"   loadings of modes {', '.join(str(mode) for mode in space.modes)}" if loaded else "")
    )
    for axis, share in enumerate(space.explained_variance_ratio):
        loadings = [f"{round(value, 2) + 0.0:6.2f}" for value in space.components[axis]] if loaded else []
        print(f"{axis + 1:>5} {100 * share:>7.2f} %" + ("   " + " ".join(loadings) if loaded else ""))
    if landscape is not None and landscape.basins is not None:
        for line in landscape.lines():
            print(line)
    if labels is not None:
        sizes = np.bincount(labels)
        print(f"groups: {', '.join(map(str, sizes[1:]))} particles" + (f"; {sizes[0]} in none" if sizes[0] else ""))
