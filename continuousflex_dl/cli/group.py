"""``cflex group``: particle subsets of a conformational space, with their centroid structures and maps."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.io.atomic import atomic_path, atomic_text
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles, refuse_unsupported, write_star
from ..core.io.star import shortest
from ..core.space.features import amplitude_matrix
from ..core.space.groups import find_clusters, slices_along
from ..core.space.paths import read_path
from ..core.space.recipe import Recipe
from ..core.space.select import select_polygon, select_where
from ..core.space.ways import main_path
from ..core.structure.writer import write_structure
from ..options.files import PARTICLES_FILE
from ..options.group import GroupOptions
from .columns import NumberColumns
from .run import Run
from .space_folder import SpaceFolder, path_of, read_space_folder

if TYPE_CHECKING:
    from ..core.reconstruction.maps import Maps

TABLE_NAME, PICTURE_NAME = "groups.csv", "groups.png"
GROUP_COLUMN = "cflexGroup"
_DEFAULT_SLICES = 10


@dataclass
class Group:
    """One group: its name, what it is, its particles (0-based rows), and the figures of it."""

    name: str
    what: str
    rows: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)


def run(options: GroupOptions, run: Run) -> None:
    """Write every group as particle file, centroid structure and, where asked for, map."""
    with run.stage("read"):
        folder = read_space_folder(options.input, run, options.structure)
        table = read_particles(
            folder.particles,
            datadir=options.datadir,
            pixel_size=options.pixel_size,
            check_images=options.reconstruct,
        )
        run.add_input(folder.particles)
        if len(table) != len(folder.space.coordinates):
            raise InputError(
                f"{folder.particles}: found {len(table)} particles, expected {len(folder.space.coordinates)} as in the "
                "space; make the space again"
            )
        if options.reconstruct:
            refuse_unsupported(table)
            folder.need_decoder()
    with run.stage("group"):
        groups = make_groups(options, folder, table, run)
    run.claim_output()
    with run.stage("write"):
        _write_subsets(run, table, groups, folder)
        _write_centroids(run, groups, folder, table)
    if options.reconstruct:
        _reconstruct(options, run, table, groups, folder)
    _write_table(run, groups, folder)
    run.result(groups=[{"name": group.name, "particles": len(group.rows), **group.figures} for group in groups])
    for group in groups:
        print(_line(group))
    print(f"written: {run.path(TABLE_NAME)}")


def make_groups(options: GroupOptions, folder: SpaceFolder, table: ParticleTable, run: Run) -> list[Group]:
    """Find the groups that were asked for; empty ones are left out and said.

    Raises
    ------
    InputError
        If no group has a particle.
    """
    space = folder.space
    used = np.ones(len(table), dtype=bool) if options.keep_unconverged else space.converged
    if not used.all():
        run.say(f"{int((~used).sum())} particles that did not converge, or are outliers, are in no group")
    named = _masks(options, folder, table, used, run)
    groups = []
    digits = max(2, len(str(len(named))))
    for number, (what, mask) in enumerate(named, start=1):
        rows = np.flatnonzero(mask & used)
        if len(rows):
            groups.append(Group(f"group_{number:0{digits}d}", what, rows))
        else:
            run.say(f"group {number} ({what}) has no particles and is left out")
    if not groups:
        raise InputError(f"{folder.path}: no particle is in any group; change what is asked for")
    return groups


def _masks(
    options: GroupOptions, folder: SpaceFolder, table: ParticleTable, used: np.ndarray, run: Run
) -> list[tuple[str, np.ndarray]]:
    """What each group is, and its particles (n,)."""
    space, way = folder.space, options.way
    if way == "where":
        return [(text, select_where(text, NumberColumns(table), len(table))) for text in options.where]
    if way == "selection":
        return [(f"selection {Path(file).stem}", _selection(file, table, run)) for file in options.selection]
    if way == "outline":
        axes = _axes(options, folder)
        points = space.coordinates[:, axes]
        return [(f"outline {file}", select_polygon(points, _outline(file, run))) for file in options.outline]
    if way == "column":
        columns = NumberColumns(table)
        name = str(options.column).removeprefix("_")
        if name not in columns:
            raise InputError(f"{folder.particles}: has no column _{name}; there are {', '.join(columns)}")
        values = columns[name]
        numbers = np.unique(values[used & np.isfinite(values)])
        if (numbers != np.rint(numbers)).any() or len(numbers) > 1000:
            raise InputError(f"{folder.particles}: _{name} is no column of up to 1,000 whole numbers; use --where")
        kept = numbers[numbers != 0] if name == GROUP_COLUMN else numbers  # 0 stands for no group
        return [(f"{name} = {number:g}", values == number) for number in kept.tolist()]
    labels = np.zeros(len(table), dtype=np.int64)
    if way == "clusters":
        labels[used] = find_clusters(space.coordinates[used], options.clusters, options.n_groups, options.seed)  # type: ignore[arg-type]
        return [(f"{options.clusters} cluster {k}", labels == k) for k in range(1, int(labels.max()) + 1)]
    if way == "axis":
        axis = options.axis or 1
        corners, what = space.path_along(axis, 2)[:, [axis - 1]], f"axis {axis}"
        points = space.coordinates[:, [axis - 1]]
    elif way == "path":
        points, corners, what = space.coordinates, path_of(str(options.path), space, run), f"path {options.path}"
    else:
        corners, _, between = main_path(space, folder.landscape(), count=100)
        points, what = space.coordinates, f"path of least free energy between {between}"
    count = options.n_groups or _DEFAULT_SLICES
    labels[used] = slices_along(
        points[used], corners, count, equal_sizes=not options.equal_lengths, reach=options.reach
    )
    return [(f"slice {k} of {count} along {what}", labels == k) for k in range(1, count + 1)]


def _axes(options: GroupOptions, folder: SpaceFolder) -> list[int]:
    try:
        axes = [int(text) for text in options.axes.split(",")]
    except ValueError:
        axes = []
    if len(set(axes)) != 2 or not all(1 <= axis <= folder.space.n_components for axis in axes):
        raise InputError(
            f"--axes: found {options.axes}, expected two different axes from 1 to {folder.space.n_components}"
        )
    return [axis - 1 for axis in axes]


def _outline(file: str, run: Run) -> np.ndarray:
    corners = read_path(file, 2)
    run.add_input(file)
    if len(corners) < 3:
        raise InputError(f"{file}: found {len(corners)} corners, expected at least 3 of a closed outline")
    return corners


def _selection(file: str, table: ParticleTable, run: Run) -> np.ndarray:
    recipe = Recipe.load(file)
    run.add_input(file)
    return recipe.mask(NumberColumns(table), len(table))


def _write_subsets(run: Run, table: ParticleTable, groups: list[Group], folder: SpaceFolder) -> None:
    labels = np.zeros(len(table), dtype=np.int64)
    for number, group in enumerate(groups, start=1):
        labels[group.rows] = number
    particles = table.particles.with_columns({GROUP_COLUMN: shortest(labels)})
    marked = ParticleTable(table.source, particles, table.optics, table.locations)
    write_star(run.path(PARTICLES_FILE), marked)
    for group in groups:
        write_star(run.path(f"{group.name}.star"), marked.take(group.rows))
        centre = folder.space.coordinates[group.rows].mean(axis=0)
        group.figures["centre"] = np.round(centre, 6).tolist()
    from .report.energy import groups_picture

    names = [group.name.replace("_", " ") for group in groups]
    with atomic_path(run.path(PICTURE_NAME)) as temporary:
        temporary.write_bytes(groups_picture(folder.space, labels, names).png)


def _write_centroids(run: Run, groups: list[Group], folder: SpaceFolder, table: ParticleTable) -> None:
    """Write the structure of the mean conformation of every group, and say how wide the group is around it."""
    decoder = folder.decoder
    if decoder is None:
        run.say("the space has neither modes nor coordinates: there are no centroid structures")
        return
    amplitudes = amplitude_matrix(table)[1] if decoder.modes is not None else None
    for group in groups:
        if amplitudes is not None:
            mean = amplitudes[group.rows].mean(axis=0)
            centroid = decoder.of_features(mean)[0]
            spread = ((amplitudes[group.rows] - mean) ** 2).sum(axis=1).mean()
            group.figures["rmsd_within_angst"] = round(float(np.sqrt(spread / len(centroid))), 4)
        else:
            centroid = decoder.mean_of(group.rows)
        write_structure(run.path(f"{group.name}.cif"), decoder.structure, centroid)


def _reconstruct(
    options: GroupOptions, run: Run, table: ParticleTable, groups: list[Group], folder: SpaceFolder
) -> None:
    import torch

    from ..core.devices import keep_freed_memory, resolve_device

    keep_freed_memory()
    device = resolve_device(options.device)
    run.device = str(device)
    torch.set_num_threads(run.threads)
    total = sum(len(group.rows) for group in groups)
    done = 0
    with run.stage("reconstruct"), run.progress("reconstruct", "particles") as progress:
        for group in groups:
            if len(group.rows) < 2:
                run.say(f"{group.name}: one particle makes no map")
                continue
            finished = done
            done += len(group.rows)
            if options.resume and run.path(f"{group.name}.mrc").exists():
                continue  # a map is written last, and complete or not at all
            _one_map(options, run, table, group, folder, device, lambda k, _n, f=finished: progress(f + k, total))  # type: ignore[misc]
    for group in groups:
        if run.path(f"{group.name}_fsc.csv").exists():
            group.figures |= _resolutions(run.path(f"{group.name}_fsc.csv"))


def _one_map(
    options: GroupOptions,
    run: Run,
    table: ParticleTable,
    group: Group,
    folder: SpaceFolder,
    device: Any,
    progress: Any,
) -> None:
    """Map of one group beside its centroid, and where the two agree."""
    import torch

    from ..core.devices import one_core_each
    from ..core.particles.stack import ImageStack
    from ..core.reconstruction.filters import automatic_mask, radial_filter
    from ..core.reconstruction.fsc import shell_correlation
    from ..core.reconstruction.images import BackProjector, half_sets, sum_halves
    from ..core.reconstruction.map_files import centred_origin, write_map
    from ..core.reconstruction.maps import make_maps
    from ..core.reconstruction.model_map import model_map
    from ..core.structure.reader import read_structure
    from .maps import write_curves

    decoder = folder.need_decoder()
    subset = table.take(group.rows)
    projector = BackProjector.make(
        subset,
        ImageStack(subset),
        ctf_choice=options.ctf,
        symmetry=options.symmetry,
        max_resolution=options.max_resolution,
        device=device,
    )
    box, pixel_size = projector.stack.box, projector.pixel_size
    with one_core_each():
        sums = sum_halves(projector, half_sets(subset), threads=run.threads, progress=progress)
    centroid, _ = read_structure(run.path(f"{group.name}.cif"))
    centred = torch.as_tensor(centroid.coordinates - decoder.centre)
    model = model_map(centred, torch.as_tensor(decoder.weights), decoder.sigma, box, pixel_size)
    try:
        mask = automatic_mask(model, pixel_size)
    except ValueError:
        raise InputError(
            f"{group.name}: its centroid structure makes no density in the box of {box} px; do the particles belong to "
            "this structure?"
        ) from None
    generator = torch.Generator().manual_seed(options.seed)
    maps: Maps = make_maps(*sums, pixel_size, mask=mask, generator=generator)
    whole = maps.whole.cpu()
    curves = {
        "halves": maps.plain,
        "halves_corrected": maps.best,
        "model": shell_correlation(whole, model, pixel_size),
        "model_masked": shell_correlation(whole * mask, model * mask, pixel_size),
    }
    write_curves(run.path(f"{group.name}_fsc.csv"), curves)
    origin = centred_origin(box, pixel_size, decoder.centre)
    if options.half_maps:
        for number, half in enumerate((maps.first, maps.second), start=1):
            write_map(run.path(f"{group.name}_half{number}.mrc"), half.cpu().numpy(), pixel_size, origin)
    shown = radial_filter(whole, pixel_size, low_pass=options.low_pass)
    write_map(run.path(f"{group.name}.mrc"), shown.numpy(), pixel_size, origin)


def _resolutions(path: Path) -> dict[str, float | None]:
    """Figures of a group's curves, from the file: a resumed run then has the same ones."""
    from ..core.reconstruction.fsc import HALF_MAPS, MODEL
    from .maps import read_curves

    curves = read_curves(path)
    found = {
        "resolution_halves_0.143_angst": curves["halves_corrected"].resolution(HALF_MAPS),
        "resolution_model_0.5_angst": curves["model"].resolution(MODEL),
        "resolution_model_masked_0.5_angst": curves["model_masked"].resolution(MODEL),
    }
    return {name: round(value, 3) if np.isfinite(value) else None for name, value in found.items()}


def _write_table(run: Run, groups: list[Group], folder: SpaceFolder) -> None:
    axes = [f"cflexSpace{axis + 1}" for axis in range(folder.space.n_components)]
    others = [name for name in groups[0].figures if name != "centre"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["group", "what", "particles", *axes, *others])
    for group in groups:
        row = [group.name, group.what, len(group.rows), *group.figures["centre"]]
        writer.writerow([*row, *(group.figures.get(name) for name in others)])
    atomic_text(run.path(TABLE_NAME), stream.getvalue())


def _line(group: Group) -> str:
    text = f"{group.name}: {len(group.rows)} particles, {group.what}"
    halves, model = (group.figures.get(f"resolution_{kind}_angst") for kind in ("halves_0.143", "model_masked_0.5"))
    if halves:
        text += f"; half maps {halves:.2f} Å (0.143)"
    if model:
        text += f", centroid {model:.2f} Å (0.5, inside its mask)"
    return text
