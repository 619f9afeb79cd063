"""``cflex plot``: a figure of the particles of a conformational space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from ..core.io.atomic import atomic_path
from ..core.space.landscape import LANDSCAPE_NAME
from ..core.space.links import Link
from ..core.space.places import SPACE_COLUMN, axis_columns
from ..core.space.recipe import Recipe
from ..core.space.result import Space
from ..core.space.scene import MARKED, density_at, fair_order, make_scene
from ..core.space.ways import main_path
from ..options.plot import PlotOptions
from .run import Run
from .space_folder import SpaceFolder, path_of, place_of, read_space_folder, values_of

if TYPE_CHECKING:
    from ..app.columns import ParticleColumns

KINDS = ("svg", "pdf", "png")
DENSITY = "density"
_POINTS_OF_A_PATH = 50


def run(options: PlotOptions, run: Run) -> None:
    """Read the space, gather what is drawn, and write the figure."""
    kind = Path(options.output).suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise InputError(f"{options.output}: found ending '.{kind}', expected .svg, .pdf or .png")
    from ..app.columns import ParticleColumns
    from .report.plane import View, draw, save

    with run.stage("read"):
        folder = read_space_folder(options.input, run)
        space = folder.space
        columns = ParticleColumns(space, folder.particles)
        names = [_named(name, space, columns) for name in _axes(options, space, columns)]
        colour = None if options.colour == DENSITY else _named(options.colour, space, columns)
        values = [columns[name] for name in names]
    with run.stage("draw"):
        order = fair_order(len(space.coordinates))
        scene = make_scene(values[0], values[1], options.points, options.limits, order)
        if not len(scene.rows):
            raise InputError(f"--window: found {options.window}, where there are no particles; give other limits")
        points = np.stack([column[scene.rows] for column in values], axis=1)
        chosen, outline = _selected(options, columns, space, names, run)
        linked = _linked(options, columns, run)
        marked, crossed = (order[mask[order]][:MARKED] for mask in (chosen, linked))
        view = View(
            titles=tuple(_title(name, space, columns) for name in names),
            points=points,
            scene=scene,
            colours=density_at(points[:, 0], points[:, 1], scene) if colour is None else columns[colour][scene.rows],
            colour_title="" if colour is None else _title(colour, space, columns),
            whole=colour is not None and columns.is_whole(colour),
            palette=options.palette,
            selected=np.stack([column[marked] for column in values], axis=1),
            linked=np.stack([column[crossed] for column in values], axis=1),
            outline=outline,
            eye=options.eye,
            **_places(options, folder, names, run),
        )
        figure = draw(view)
    with run.stage("write"), atomic_path(options.output) as temporary:
        save(figure, temporary, kind, options.dpi)
    count = int(np.count_nonzero(chosen))
    run.result(particles=scene.inside, points=len(scene.rows), selected=count)
    behind = ", over the density of all" if view.is_flat else ""
    drawn = f"{len(scene.rows):,} of {scene.inside:,} particles as points{behind}"
    print(drawn if view.is_sample else f"{len(scene.rows):,} particles")
    if options.selection:
        print(f"{count:,} of {len(space.coordinates):,} particles selected, {len(marked):,} marked")
    if options.beside:
        print(f"{np.count_nonzero(linked):,} particles are selected in {options.beside}, {len(crossed):,} crossed")
    print(f"written: {options.output}")


def _axes(options: PlotOptions, space: Space, columns: ParticleColumns) -> list[str]:
    """Columns of the two or three axes; where they are not given, as the viewer begins."""
    own = axis_columns(space)
    x = options.x or own[0]
    y = options.y or (own[1] if len(own) > 1 else next((name for name in columns if name != own[0]), own[0]))
    return [x, y, *([options.z] if options.z else [])]


def _named(name: str, space: Space, columns: ParticleColumns) -> str:
    """Column of a name; ``PC2`` and the like are names of axes too.

    Raises
    ------
    InputError
        If there is no such column.
    """
    short = {f"{space.axis_name}{axis + 1}".lower(): own for axis, own in enumerate(axis_columns(space))}
    found = short.get(name.lower(), name.removeprefix("_"))
    if found not in columns:
        raise InputError(f"there is no column {name}; there are {', '.join(columns)}")
    return found


def _title(name: str, space: Space, columns: ParticleColumns) -> str:
    unit = columns.unit(name, space)
    return columns.label(name, space) + (f" [{unit}]" if unit else "")


def _selected(
    options: PlotOptions, columns: ParticleColumns, space: Space, names: list[str], run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Which particles (n,) are selected, and the last outline (c, 2) where it was drawn in these columns."""
    none = np.zeros((0, 2))
    if options.selection is None:
        return np.zeros(len(space.coordinates), dtype=bool), none
    recipe = Recipe.load(options.selection)
    run.add_input(options.selection)
    mask = recipe.mask(columns, len(space.coordinates))
    last = recipe.steps[-1] if recipe.steps else None
    outline = np.array(last.corners) if last is not None and list(last.columns) == names else none
    return mask if options.keep_unconverged else mask & space.converged, outline


def _linked(options: PlotOptions, columns: ParticleColumns, run: Run) -> np.ndarray:
    """Which particles (n,) are selected in the other space.

    Raises
    ------
    InputError
        If the two spaces have no particle in common.
    """
    if options.beside is None or options.beside_selection is None:
        return np.zeros(len(columns[SPACE_COLUMN + "1"]), dtype=bool)
    from ..app.columns import ParticleColumns

    other = read_space_folder(options.beside, run)
    theirs = ParticleColumns(other.space, other.particles)
    recipe = Recipe.load(options.beside_selection)
    run.add_input(options.beside_selection)
    mask = recipe.mask(theirs, len(other.space.coordinates))
    link = Link.between(theirs.images(), columns.images())
    if not link.shared:
        raise InputError(f"--beside: {options.beside} and {options.input} share no particles")
    return link.carried(mask if options.keep_unconverged else mask & other.space.converged)


def _places(options: PlotOptions, folder: SpaceFolder, names: list[str], run: Run) -> dict[str, np.ndarray]:
    """Path, place and basins.

    Raises
    ------
    InputError
        If something was asked for that the columns of the figure cannot show.
    """
    space, own = folder.space, axis_columns(folder.space)
    axes = [own.index(name) for name in names if name in own]
    shown = len(axes) == len(names)
    found: dict[str, np.ndarray] = {}
    if options.minimum_path or options.path is not None or options.axis is not None:
        if not shown:
            raise InputError(f"{', '.join(names)}: paths lie in the axes of the space, which are {', '.join(own)}")
        if options.minimum_path:
            path, _, _ = main_path(space, folder.landscape(), count=_POINTS_OF_A_PATH)
        elif options.path is not None:
            path = path_of(options.path, space, run)
        else:
            path = space.path_along(options.axis or 1, _POINTS_OF_A_PATH)
        found["path"] = path[:, axes]
    if options.at is not None:
        values = values_of(options.at, "--at") if "=" in options.at else {}
        if set(names) <= set(values):
            found["at"] = np.array([[values[name] for name in names]])
        elif shown:
            found["at"] = place_of(options.at, space, "--at")[None, axes]
        else:
            raise InputError(f"--at: found {options.at}, expected values of {', '.join(names)}")
    if options.basins and names == own[:2] and (folder.path / LANDSCAPE_NAME).is_file():
        minima = folder.landscape().basins.minima
        if minima.shape[1] == 2:
            found["basins"] = minima
    return found
