"""The commands that do what the page asks for. The page shows them, and the server runs these and nothing else."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.space.places import axis_columns
from ..core.space.recipe import Recipe
from .dataset import Dataset
from .molecules import MOST_FRAMES
from .workspace import Workspace

PACKAGE = "continuousflex_dl"
LAUNCHER = f"{PACKAGE}.protocols.in_project"
MOST_SLICES = 100
_MOVIES, _FORMATS, _PROGRAMS = ("none", "gif", "mp4", "both"), ("cif", "pdb", "dcd"), ("star", "xmd")
_FIGURES, _PALETTES = ("svg", "png", "pdf"), ("viridis", "cividis")
_POINTS = 20_000  # of cflex plot, where nothing else is said


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes
    ----------
    title
        What it makes, for the list of the page.
    words
        Arguments of ``cflex``; of Scipion's launcher module where `module` names it.
    output
        Folder or file that it writes; None where it writes into a Scipion project.
    module
        Python module that is run.
    """

    title: str
    words: tuple[str, ...]
    output: Path | None
    module: str = PACKAGE

    @property
    def text(self) -> str:
        """As one would type it."""
        start = "cflex" if self.module == PACKAGE else f"python -m {self.module}"
        return f"{start} {shlex.join(self.words)}"

    @property
    def arguments(self) -> list[str]:
        """As it is run: with the Python that the server runs in."""
        return [sys.executable, "-m", self.module, *self.words]


def group_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex group`` on selections: their particles, centroid structures and, where asked for, maps.

    `asked` has ``selections`` (names; the current one where empty), ``name``, ``reconstruct`` and ``unconverged``.
    """
    files = [str(path) for path in _selection_files(keep, asked)]
    output = keep.result_folder(asked.get("name") or "group")
    words = ["group", str(data.path), *(word for file in files for word in ("--selection", file)), "-o", str(output)]
    words += _choices(data, asked)
    return Command("groups with maps" if asked.get("reconstruct") else "groups", tuple(words), output)


def slices_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex group`` along the path that is shown: slices with equal numbers of particles.

    `asked` has ``way`` as for `animate_command`, ``slices``, ``name``, ``reconstruct`` and ``unconverged``.
    """
    slices = _whole(asked, "slices", 10, 1, MOST_SLICES)
    output = keep.result_folder(asked.get("name") or "slices")
    words = ["group", str(data.path), *_way(data, keep, asked), "--n-groups", str(slices), "-o", str(output)]
    words += _choices(data, asked)
    return Command("slices with maps" if asked.get("reconstruct") else "slices", tuple(words), output)


def animate_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex animate`` along an axis, the path of least free energy, a drawn path or a mode.

    `asked` has ``way`` (``axis1`` ..., ``minimum``, ``path`` with ``corners``, ``mode7`` ...), ``frames``, ``name``,
    ``movie``, ``format`` and ``maps``.
    """
    way, frames = str(asked.get("way", "axis1")), _whole(asked, "frames", 20, 2, MOST_FRAMES)
    output = keep.result_folder(asked.get("name") or "motion")
    movie, kind = _one_of(asked, "movie", _MOVIES), _one_of(asked, "format", _FORMATS)
    if way.startswith("mode") and way[4:].isdigit():
        words = ["animate", str(data.path / "modes.npz"), "--mode", way[4:]]
        if asked.get("amplitude"):
            words += ["--amplitude", f"{float(asked['amplitude']):g}"]
    else:
        words = ["animate", str(data.path), *_way(data, keep, asked)]
    words += ["--n-frames", str(frames), "-o", str(output)]
    words += ["--movie", movie] if movie != "none" else []
    words += ["--format", kind] if kind != "cif" else []
    words += ["--maps"] * bool(asked.get("maps"))
    return Command("motion", (*words, *_structure(data)), output)


def structure_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex animate`` for the one structure that is shown, or ``cflex group`` for the mean one of a selection.

    `asked` has ``place`` (values by column), ``amplitudes`` (Å by mode number) or ``selections`` (names), and ``maps``,
    ``name`` and ``format``.
    """
    if asked.get("selections"):
        return group_command(data, keep, {**asked, "name": asked.get("name") or "structure"})
    source, words = data.path, []
    if asked.get("amplitudes"):
        given = _numbers(asked, "amplitudes")
        moved = {mode: amplitude for mode, amplitude in given.items() if amplitude} or given
        words = ["--amplitudes", ",".join(f"{mode}={amplitude:g}" for mode, amplitude in moved.items())]
        source = data.path / "modes.npz" if data.kind == "modes" else data.path
    elif asked.get("place"):
        place, axes = _numbers(asked, "place"), axis_columns(data.need_space)
        whole = set(place) == set(axes)
        values = [f"{place[axis]:.6g}" for axis in axes] if whole else [f"{k}={v:.6g}" for k, v in place.items()]
        words = [f"--at={','.join(values)}"]
    else:
        raise InputError("no structure of a place or of amplitudes is shown; move the slider of the path or of a mode")
    kind = _one_of(asked, "format", _FORMATS[:2])
    output = keep.result_folder(asked.get("name") or "structure")
    words = ["animate", str(source), *words, "-o", str(output)]
    words += ["--format", kind] if kind != "cif" else []
    words += ["--maps"] * bool(asked.get("maps"))
    return Command("structure", (*words, *_structure(data)), output)


def plot_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex plot``: the figure that is shown.

    `asked` has the columns ``x``, ``y``, ``z`` and ``color``; ``selected`` and, of a saved selection, ``selections``;
    ``beside`` (dataset, workspace and selection of the result beside);
    ``way`` as for `animate_command`, ``at`` (values by axis), ``window``, ``direction``, ``palette``, ``points``,
    ``format``, ``name`` and ``unconverged``.
    """
    kind = _one_of(asked, "format", _FIGURES)
    output = keep.result_folder(asked.get("name") or "figure") / f"figure.{kind}"
    words = ["plot", str(data.path)]
    for axis, option in (("x", "--x"), ("y", "--y"), ("z", "--z"), ("color", "--colour")):
        if asked.get(axis):
            name = str(asked[axis])
            if name not in list(data.columns):  # asking for the column itself would read the file
                raise InputError(f"there is no column {name}")
            words += [option, name]
    palette = _one_of(asked, "palette", _PALETTES)
    words += ["--palette", palette] if palette != _PALETTES[0] else []
    if asked.get("selected"):
        words += ["--selection", str(_selection_files(keep, asked)[0])]
        words += ["--keep-unconverged"] * bool(asked.get("unconverged"))
    if asked.get("beside"):
        other, kept, recipe = asked["beside"]
        words += ["--beside", str(other.path), "--beside-selection", str(_kept(kept, recipe))]
    words += _way(data, keep, asked) if asked.get("way") else []
    if asked.get("at"):
        words.append(f"--at={','.join(f'{axis}={value:.6g}' for axis, value in _numbers(asked, 'at').items())}")
    for option, length in (("window", 4), ("direction", 2)):
        if asked.get(option):
            words.append(f"--{option}={','.join(f'{value:.6g}' for value in _list(asked, option, length))}")
    points = _whole(asked, "points", _POINTS, 1, 2_000_000)
    words += ["--points", str(points)] if points != _POINTS else []
    return Command("figure", (*words, "-o", str(output)), output)


def export_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """``cflex export`` of one selection for RELION (``star``) or Xmipp (``xmd``)."""
    if data.particles is None:
        raise InputError(f"{data.path}: has no particle file")
    program = _one_of(asked, "program", _PROGRAMS)
    files = _selection_files(keep, asked)
    if len(files) != 1:
        raise InputError("one selection is exported at a time")
    folder = keep.result_folder(asked.get("name") or "export")
    output = folder / f"particles.{program}"
    words = ["export", str(data.particles), "--selection", str(files[0]), "-o", str(output), *_datadir(data)]
    return Command(f"particles for {'RELION' if program == 'star' else 'Xmipp'}", tuple(words), output)


def scipion_command(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> Command:
    """Launch the protocols that make the groups of selections in the Scipion project that a result came from."""
    project = project_of(data.source)
    if project is None:
        raise InputError(f"{data.source}: does not lie in the runs of a Scipion project")
    folder, run = project
    words = [str(folder), str(run)]
    words += [word for path in _selection_files(keep, asked) for word in ("--selection", str(path))]
    words += ["--reconstruct"] * bool(asked.get("reconstruct"))
    words += ["--keep-unconverged"] * bool(asked.get("unconverged"))
    if asked.get("label"):
        words += ["--label", str(asked["label"])[:120]]
    return Command("in Scipion", tuple(words), None, LAUNCHER)


def project_of(path: Path) -> tuple[Path, int] | None:
    """Scipion project and number of the run that a folder belongs to; None where it lies in none."""
    parts = path.resolve().parts
    for place in range(len(parts) - 1, 0, -1):
        if parts[place] != "Runs" or place + 1 >= len(parts):
            continue
        project, number = Path(*parts[:place]), parts[place + 1].split("_", 1)[0]
        if (project / "project.sqlite").is_file() and number.isdigit():
            return project, int(number)
    return None


COMMANDS = {
    "group": group_command,
    "slices": slices_command,
    "animate": animate_command,
    "structure": structure_command,
    "plot": plot_command,
    "export": export_command,
    "scipion": scipion_command,
}


def _choices(data: Dataset, asked: dict[str, Any]) -> list[str]:
    """Options of ``cflex group`` that do not depend on how particles are grouped."""
    words = ["--reconstruct", *_datadir(data)] if asked.get("reconstruct") else []
    words += ["--keep-unconverged"] * bool(asked.get("unconverged"))
    return words + _structure(data)


def _structure(data: Dataset) -> list[str]:
    return [] if data.structure_file is None else ["--structure", str(Path(data.structure_file).absolute())]


def _datadir(data: Dataset) -> list[str]:
    return [] if data.datadir is None else ["--datadir", str(Path(data.datadir).absolute())]


def _way(data: Dataset, keep: Workspace, asked: dict[str, Any]) -> list[str]:
    """Options that name a path through a space; a drawn one is written to a file, which later ones do not touch."""
    way = str(asked.get("way", "axis1"))
    if way == "minimum":
        return ["--minimum-path"]
    if way == "path":
        drawn = np.asarray(asked.get("corners"), dtype=np.float64)
        if drawn.ndim != 2 or len(drawn) < 2 or not np.isfinite(drawn).all():
            raise InputError("a path has at least two points; draw one first")
        return ["--path", str(keep.keep_path(data.need_space.completed(drawn)))]
    if way.startswith("axis") and way[4:].isdigit():
        return ["--axis", way[4:]]
    raise InputError(f"way: found {way!r}, expected axis1 ..., minimum, path or mode7 ...")


def _selection_files(keep: Workspace, asked: dict[str, Any]) -> list[Path]:
    names = asked.get("selections") or []
    if not isinstance(names, list):
        raise InputError("selections: expected a list of names")
    files = [keep.selection_path(name) for name in names]
    if not files:
        files = [_kept(keep, keep.current())]
    if missing := [path.stem for path in files if not path.is_file()]:
        raise InputError(f"there is no selection {missing[0]}; save it first")
    return files


def _kept(keep: Workspace, recipe: Recipe) -> Path:
    """File of a selection: what is selected now will change, and the command keeps what it was."""
    if not recipe.steps:
        raise InputError("nothing is selected; draw an outline first")
    taken = keep.names()
    same = next((name for name in taken if keep.selection(name) == recipe), None)
    if same is None:
        same = next(name for number in count(1) if (name := f"selection_{number}") not in taken)
        keep.keep(same, recipe)
    return keep.selection_path(same)


def _whole(asked: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = asked.get(name, default)
    if not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name}: found {value!r}, expected a whole number from {low} to {high}")
    return value


def _one_of(asked: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = asked.get(name) or choices[0]
    if value not in choices:
        raise InputError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")
    return str(value)


def _numbers(asked: dict[str, Any], name: str) -> dict[str, float]:
    try:
        found = {str(key): float(value) for key, value in asked[name].items()}
    except (AttributeError, TypeError, ValueError):
        found = {}
    if not found or not np.isfinite(list(found.values())).all():
        raise InputError(f"{name}: found {asked[name]!r}, expected numbers by name")
    return found


def _list(asked: dict[str, Any], name: str, length: int) -> list[float]:
    try:
        found = [float(value) for value in asked[name]]
    except (TypeError, ValueError):
        found = []
    if len(found) != length or not np.isfinite(found).all():
        raise InputError(f"{name}: found {asked[name]!r}, expected {length} numbers")
    return found
