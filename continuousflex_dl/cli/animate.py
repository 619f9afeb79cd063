"""``cflex animate``: a motion, or one structure of it, as structures, maps, movie and ChimeraX script."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.io.atomic import atomic_text
from ..core.io.particle_table import MODE_AMPLITUDE
from ..core.space.dcd import write_dcd
from ..core.structure.writer import write_structure
from ..options.animate import AnimateOptions
from .run import Run
from .trajectory import Trajectory, read_trajectory

MAPS_FOLDER = "maps"


def run(options: AnimateOptions, run: Run) -> None:
    """Write the structures of a motion, a table of it, and what else was asked for."""
    with run.stage("read"):
        trajectory = read_trajectory(options, run)
    run.claim_output()
    with run.stage("write"):
        output = _write_structures(options, run, trajectory)
        atomic_text(run.path(f"{trajectory.name}.csv"), "\n".join(_table(trajectory)) + "\n")
    maps = _write_maps(options, run, trajectory) if options.maps else []
    movies = _write_movies(options, run, trajectory)
    script = run.path(f"{trajectory.name}.cxc")
    atomic_text(script, "\n".join(_script(options, trajectory, output, maps)) + "\n")
    step = float(trajectory.steps[-1])
    between = "from the reference" if trajectory.is_one else "from the first to the last"
    count = "1 structure" if trajectory.is_one else f"{len(trajectory.frames)} structures"
    print(f"{output}: {count}, RMSD {step:.2f} Å {between}")
    if trajectory.energy is not None and np.isfinite(trajectory.energy).any():
        top = int(np.nanargmax(trajectory.energy))
        error = "" if trajectory.energy_std is None else f" ± {trajectory.energy_std[top]:.2f}"
        print(f"highest free energy on the way: {trajectory.energy[top]:.2f}{error} kT at frame {top + 1}")
    for written in (*(maps if trajectory.is_one else ()), *movies, script):
        print(f"written: {written}")
    run.result(
        file=output.name,
        n_frames=len(trajectory.frames),
        **{"rmsd_reference_angst" if trajectory.is_one else "rmsd_ends_angst": round(step, 4)},
        maps=len(maps),
        movies=[movie.name for movie in movies],
    )


def _write_structures(options: AnimateOptions, run: Run, trajectory: Trajectory) -> Path:
    name = trajectory.name
    if options.format != "dcd":
        output = run.path(f"{name}.{options.format}")
        write_structure(output, trajectory.structure, trajectory.frames)
        return output
    write_structure(run.path(f"{name}_first.cif"), trajectory.structure, trajectory.frames[0])
    output = run.path(f"{name}.dcd")
    write_dcd(output, trajectory.frames)
    return output


def _table(trajectory: Trajectory) -> list[str]:
    """Rows: frame, coordinates in the space or amplitudes in Å, RMSD from the first structure (of one structure, from
    the reference) in Å, free energy and its error in kT.
    """
    columns = [np.arange(1, len(trajectory.frames) + 1)]
    names = ["frame"]
    if trajectory.points is not None:
        columns += list(trajectory.points.T)
        names += [f"cflexSpace{axis + 1}" for axis in range(trajectory.points.shape[1])]
    columns += [np.array([amplitude]) for amplitude in trajectory.amplitudes.values()]
    names += [f"{MODE_AMPLITUDE}{mode}" for mode in trajectory.amplitudes]
    columns.append(trajectory.steps)
    names.append("rmsd_angst")
    for name, values in (("free_energy_kt", trajectory.energy), ("free_energy_std_kt", trajectory.energy_std)):
        if values is not None:
            columns.append(values)
            names.append(name)
    rows = [",".join(f"{value:.6g}" for value in row) for row in zip(*columns, strict=True)]
    return [",".join(names), *rows]


def _write_maps(options: AnimateOptions, run: Run, trajectory: Trajectory) -> list[Path]:
    """Write maps maps/NAME_001.mrc ... of the structures, of the size of the particles where these are known; NAME.mrc
    of one structure.
    """
    import torch

    from ..core.reconstruction.map_files import centred_origin, write_map
    from ..core.reconstruction.model_map import model_map

    torch.set_num_threads(run.threads)
    box, pixel_size = _map_size(options, trajectory)
    if not trajectory.is_one:
        run.path(MAPS_FOLDER).mkdir(exist_ok=True)
    digits = max(3, len(str(len(trajectory.frames))))
    written = []
    weights = torch.as_tensor(trajectory.weights)
    with run.stage("maps"), run.progress("maps", "maps") as progress:
        for number, frame in enumerate(trajectory.frames, start=1):
            path = run.path(
                f"{trajectory.name}.mrc"
                if trajectory.is_one
                else f"{MAPS_FOLDER}/{trajectory.name}_{number:0{digits}d}.mrc"
            )
            made = model_map(torch.as_tensor(frame - trajectory.centre), weights, trajectory.sigma, box, pixel_size)
            write_map(path, made.numpy(), pixel_size, centred_origin(box, pixel_size, trajectory.centre))
            written.append(path)
            progress(number, len(trajectory.frames))
    return written


def _map_size(options: AnimateOptions, trajectory: Trajectory) -> tuple[int, float]:
    box, pixel_size = options.map_box, options.pixel_size
    folder = trajectory.folder
    if folder is not None and folder.particles.is_file() and (box is None or pixel_size is None):
        from ..core.io.particles import read_particles

        table = read_particles(folder.particles, check_images=False)
        sizes = table.numbers("rlnImageSize")
        pixel_size = pixel_size or float(np.median(table.pixel_size))
        box = box or (None if sizes is None else int(sizes[0]))
    pixel_size = pixel_size or max(1.0, 0.5 * trajectory.sigma)
    if box is None:
        reach = float(np.abs(trajectory.frames - trajectory.centre).max()) + 4 * trajectory.sigma
        box = 2 * int(np.ceil(reach / pixel_size)) + 2
    return box, pixel_size


def _write_movies(options: AnimateOptions, run: Run, trajectory: Trajectory) -> list[Path]:
    if options.movie == "none":
        return []
    from .movie import Scene, SpaceView, write_gif, write_mp4
    from .report.drawing import axis_label

    view = None
    folder = trajectory.folder
    if folder is not None and trajectory.points is not None and folder.space.n_components > 1:
        space = folder.space
        labels = axis_label(space, 0, share=False), axis_label(space, 1, share=False)
        view = SpaceView(space.used[:, :2], trajectory.points[:, :2], labels)
    written = []
    writers = {"gif": [write_gif], "mp4": [write_mp4], "both": [write_gif, write_mp4]}[options.movie]
    with run.stage("movie"):
        for writer in writers:
            scene = Scene(trajectory.structure, trajectory.frames, view, options.movie_size)
            path = run.path(f"{trajectory.name}.{'gif' if writer is write_gif else 'mp4'}")
            writer(path, scene.pictures(), options.fps)
            written.append(path)
    return written


def _script(options: AnimateOptions, trajectory: Trajectory, output: Path, maps: list[Path]) -> list[str]:
    """Commands of a ChimeraX script that shows the motion, or the structure."""
    name = trajectory.name
    lines = [f"# {name}: open this file in ChimeraX"]
    if options.format == "dcd":
        lines += [f"open {name}_first.cif", f"open {output.name} structureModel #1"]
    else:
        lines.append(f"open {output.name}" + ("" if trajectory.is_one else " coordsets true"))
    if trajectory.structure.is_pseudoatomic:
        lines.append(f"style #1 sphere; size #1 atomRadius {trajectory.sigma:.2f}")
    else:
        lines += ["hide #1 atoms", "show #1 cartoons", "color #1 bychain"]
    if maps and trajectory.is_one:
        lines += [f"open {maps[0].name}", "transparency #2 50"]
    elif maps:
        lines += [
            "open " + " ".join(f"{MAPS_FOLDER}/{path.name}" for path in maps) + " vseries true",
            "transparency #2 50",
            "vseries play #2 loop true bounce true",
        ]
    lines.append("view")
    if not trajectory.is_one:
        lines += [
            f"coordset #1 1,{len(trajectory.frames)} loop 10 bounce true",
            "# to record: movie record; coordset #1; wait "
            f"{len(trajectory.frames)}; movie encode {name}_chimerax.mp4 framerate {options.fps:g}",
        ]
    return lines
