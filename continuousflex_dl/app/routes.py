"""What the page asks the server for. Requests are JSON; many numbers go back as bytes (see `packed`)."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from flask import Blueprint, Response, current_app, request, send_file

from ..core.errors import InputError
from ..core.space.recipe import Recipe
from ..core.space.scene import MARKED, density_at, histogram, make_scene
from .commands import COMMANDS, project_of
from .describe import describe
from .molecules import MOST_FRAMES, model_density, molecule_text, most_frames, path_points
from .state import State

routes = Blueprint("routes", __name__, url_prefix="/api")
_MOST_SHOWN = 60
_MEAN_OF, _MEAN_OF_STORED = 1_000_000, 500  # particles whose structures are averaged; stored ones must be read


def state() -> State:
    """What the requests share."""
    return current_app.extensions["cflex"]


def asked() -> dict[str, Any]:
    """The JSON object of a request.

    Raises
    ------
    InputError
        If there is none.
    """
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        raise InputError("expected a JSON object")
    return content


def packed(head: dict[str, Any], *arrays: np.ndarray) -> Response:
    """Arrays as little-endian float32 behind a JSON head: its length (uint32), the head, then the arrays.

    The head gets ``lengths``; the arrays begin at a multiple of four bytes.
    """
    head = {**head, "lengths": [int(array.size) for array in arrays]}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    parts = [len(text).to_bytes(4, "little"), text]
    parts += [np.ascontiguousarray(array, dtype="<f4").tobytes() for array in arrays]
    return Response(b"".join(parts), mimetype="application/octet-stream")


@routes.get("/datasets")
def datasets() -> dict[str, Any]:
    """Everything that the page needs to begin."""
    shared = state()
    return {
        "datasets": [describe(data, keep) for data, keep in zip(shared.datasets, shared.workspaces, strict=True)],
        "points": shared.points,
        "scipion": [project_of(data.source) is not None for data in shared.datasets],
    }


@routes.post("/<int:number>/scene")
def scene(number: int) -> Response:
    """Points of two or three columns in a window, the counts of all particles, and which points are selected."""
    data, wanted = state().dataset(number), asked()
    names = [str(wanted.get(axis)) for axis in ("x", "y", "z") if wanted.get(axis)]
    values = [_column(data, name) for name in names]
    if len(values) < 2:
        raise InputError("a scene has two or three columns")
    window = wanted.get("window")
    if window is not None and (len(window) != 4 or not np.isfinite(np.asarray(window, dtype=float)).all()):
        raise InputError(f"window: found {window!r}, expected four numbers")
    limit = min(state().points, int(wanted.get("limit") or state().points))
    made = make_scene(values[0], values[1], limit, window, state().order(number))
    rows = made.rows
    color = wanted.get("color")
    shown = _column(data, str(color))[rows] if color else density_at(values[0][rows], values[1][rows], made)
    arrays = [made.counts.ravel(), *(column[rows] for column in values), shown, rows]
    head = {"window": made.window, "inside": made.inside, "total": data.count, "bins": made.counts.shape[::-1]}
    return packed(head, *arrays)


@routes.post("/<int:number>/select")
def select(number: int) -> Response:
    """Select with a recipe, remember it, and give the size of the selection and a fair sample of it."""
    begin = time.perf_counter()
    data, wanted = state().dataset(number), asked()
    recipe = Recipe.from_dict(wanted.get("recipe"))
    mask = data.selected(recipe, unconverged=bool(wanted.get("unconverged")))
    chosen = state().order(number)[mask[state().order(number)]][:MARKED]
    names = [str(wanted.get(axis)) for axis in ("x", "y", "z") if wanted.get(axis)]
    head: dict[str, Any] = {
        "count": int(np.count_nonzero(mask)),
        "total": data.count,
        "converged": int(np.count_nonzero(data.need_space.converged)),
    }
    if wanted.get("remember", True):
        state().workspaces[number].keep_current(recipe)
    head["seconds"] = round(time.perf_counter() - begin, 4)
    return packed(head, *(_column(data, name)[chosen] for name in names))


@routes.post("/<int:number>/linked")
def linked(number: int) -> Response:
    """Particles of this dataset that a recipe selects in another one (``from``): how many, and a fair sample of them.

    What the particle files hold is not waited for; the page asks again.
    """
    data, wanted = state().dataset(number), asked()
    other = wanted.get("from")
    if not isinstance(other, int):
        raise InputError(f"from: found {other!r}, expected the number of a dataset")
    source = state().dataset(other)
    if other != number and not (data.columns.ready() and source.columns.ready()):
        return packed({"waiting": True})
    mask = source.selected(Recipe.from_dict(wanted.get("recipe")), unconverged=bool(wanted.get("unconverged")))
    shared = data.count
    if other != number:
        link = state().link(other, number)
        mask, shared = link.carried(mask), link.shared
    chosen = state().order(number)[mask[state().order(number)]][:MARKED]
    names = [str(wanted.get(axis)) for axis in ("x", "y", "z") if wanted.get(axis)]
    head = {"waiting": False, "count": int(np.count_nonzero(mask)), "shared": shared}
    return packed(head, *(_column(data, name)[chosen] for name in names))


@routes.post("/<int:number>/histogram")
def histograms(number: int) -> dict[str, Any]:
    """Histograms of columns, of all particles and of the selected ones.

    What the particle file holds is not waited for: browsers keep few connections, and an outline must not queue.
    """
    data, wanted = state().dataset(number), asked()
    recipe = Recipe.from_dict(wanted.get("recipe") or {"steps": []})
    chosen = None
    if recipe.steps:
        chosen = data.selected(recipe, unconverged=bool(wanted.get("unconverged")))
    found: dict[str, Any] = {}
    for name in list(wanted.get("columns") or [])[:8]:
        if not data.columns.ready(str(name)):
            found[name] = {"waiting": True}
            continue
        found[name] = histogram(_column(data, str(name)), chosen, whole=data.columns.is_whole(str(name)))
    return found


@routes.get("/<int:number>/selections")
def selections(number: int) -> dict[str, Any]:
    """The named selections and their sizes."""
    data, keep = state().dataset(number), state().workspaces[number]
    found = []
    for name in keep.names():
        try:
            recipe = keep.selection(name)
            size = int(np.count_nonzero(recipe.mask(data.columns, data.count) & data.need_space.converged))
            found.append({"name": name, "count": size, "recipe": recipe.as_dict()})
        except InputError as error:
            found.append({"name": name, "error": str(error)})
    return {"selections": found, "current": keep.current().as_dict()}


@routes.put("/<int:number>/selections/<name>")
def keep_selection(number: int, name: str) -> dict[str, Any]:
    """Save a selection under a name."""
    recipe = Recipe.from_dict(asked().get("recipe"))
    if not recipe.steps:
        raise InputError("nothing is selected; draw an outline first")
    path = state().workspaces[number].keep(name, recipe)
    return {"path": str(path)}


@routes.delete("/<int:number>/selections/<name>")
def forget_selection(number: int, name: str) -> dict[str, Any]:
    """Remove a saved selection."""
    state().workspaces[number].forget(name)
    return {}


@routes.post("/<int:number>/sample")
def sample(number: int) -> dict[str, Any]:
    """Some particles of a selection, or of all, chosen at random but the same every time."""
    data, wanted = state().dataset(number), asked()
    recipe = Recipe.from_dict(wanted.get("recipe") or {"steps": []})
    order = state().order(number)
    if recipe.steps:
        order = order[data.selected(recipe, unconverged=bool(wanted.get("unconverged")))[order]]
    first, count = int(wanted.get("first") or 0), min(int(wanted.get("count") or 12), _MOST_SHOWN)
    rows = order[first : first + count].tolist()
    ready = data.columns.ready()
    score = _column(data, "cflexScore")[rows].tolist() if ready and "cflexScore" in data.columns else None
    return {"rows": rows, "score": score, "of": len(order), "waiting": not ready}


@routes.get("/<int:number>/<any(image, projection):what>/<int:row>.png")
def picture(number: int, what: str, row: int) -> Response:
    """A particle, or what the model says that it looks like."""
    state().dataset(number)
    pictures = state().pictures[number]
    data = pictures.image(row) if what == "image" else pictures.projection(row)
    return Response(data, mimetype="image/png", headers={"Cache-Control": "private, max-age=3600"})


@routes.post("/<int:number>/structure")
def structure(number: int) -> Response:
    """Structure at a place (``place``: values by column), of ``amplitudes`` by mode, or the mean of a ``recipe``."""
    data, wanted = state().dataset(number), asked()
    with state().heavy:
        coordinates = _structure(data, wanted)
        if wanted.get("map"):
            return Response(model_density(data, coordinates), mimetype="application/octet-stream")
        if data.atoms is None:
            raise InputError(f"{data.path}: has no structure")
        return Response(molecule_text(data.atoms, coordinates), mimetype="text/plain")


@routes.post("/<int:number>/trajectory")
def trajectory(number: int) -> dict[str, Any]:
    """Structures along a path, as one mmCIF with a model each, and the places that they belong to."""
    data, wanted = state().dataset(number), asked()
    with state().heavy:
        count = int(wanted.get("frames") or 20)
        if 2 <= count <= MOST_FRAMES:
            count = min(count, most_frames(data.need_decoder.structure))
        points, energy = path_points(data, str(wanted.get("way", "axis1")), count, wanted.get("corners"))
        frames = data.need_decoder.at(points)
        text = molecule_text(data.need_decoder.structure, frames)
    rmsd = np.sqrt(((frames - frames[0]) ** 2).sum(axis=2).mean(axis=1))
    known = None if energy is None else [float(e) if np.isfinite(e) else None for e in energy]
    return {"cif": text, "points": points.tolist(), "rmsd": rmsd.round(3).tolist(), "energy": known}


@routes.post(f"/<int:number>/command/<any({', '.join(COMMANDS)}):what>")
def command(number: int, what: str) -> dict[str, Any]:
    """Show a command, and run it where the request says ``run``."""
    data, wanted = state().dataset(number), {"points": state().points} | asked()
    if wanted.get("beside"):
        other, recipe = _beside(wanted["beside"])
        wanted["beside"] = state().dataset(other), state().workspaces[other], recipe
    made = COMMANDS[what](data, state().workspaces[number], wanted)
    if not wanted.get("run"):
        return {"command": made.text}
    job = state().jobs.start(made)
    return {"command": made.text, "job": job.number}


@routes.get("/jobs")
def jobs() -> dict[str, Any]:
    """All jobs, the newest first."""
    return {"jobs": [job.describe() for job in reversed(state().jobs.all())]}


@routes.delete("/jobs/<int:number>")
def stop_job(number: int) -> dict[str, Any]:
    """End a job."""
    state().jobs.stop(number)
    return {}


@routes.get("/jobs/<int:number>/<path:name>")
def job_file(number: int, name: str) -> Response:
    """A file that a job made."""
    return send_file(state().jobs.get(number).file(name).absolute(), as_attachment=not request.args.get("shown"))


def _column(data: Any, name: str) -> np.ndarray:
    try:
        return data.columns[name]
    except KeyError:
        raise InputError(f"there is no column {name}") from None


def _beside(given: Any) -> tuple[int, Recipe]:
    """Number of another dataset, and a selection of it."""
    number = given.get("number") if isinstance(given, dict) else None
    if not isinstance(number, int):
        raise InputError(f"beside: found {given!r}, expected the number of a dataset and a recipe")
    return number, Recipe.from_dict(given.get("recipe"))


def _structure(data: Any, wanted: dict[str, Any]) -> np.ndarray:
    try:
        if wanted.get("place"):
            return data.structure_at({str(name): float(value) for name, value in wanted["place"].items()})
        if wanted.get("amplitudes"):
            return data.structure_of({int(mode): float(value) for mode, value in wanted["amplitudes"].items()})
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"place or amplitudes: expected numbers by name ({error})") from None
    if wanted.get("recipe"):
        recipe = Recipe.from_dict(wanted["recipe"])
        mask = data.selected(recipe, unconverged=bool(wanted.get("unconverged")))
        if not mask.any():
            raise InputError("nothing is selected")
        rows = np.flatnonzero(mask)
        most = _MEAN_OF if data.need_decoder.stored is None else _MEAN_OF_STORED
        return data.need_decoder.mean_of(rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)])
    if data.kind == "modes":
        return data.modes.coordinates
    return data.need_decoder.at(data.need_space.used.mean(axis=0))[0]
