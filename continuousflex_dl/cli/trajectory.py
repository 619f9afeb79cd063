"""What ``cflex animate`` shows: structures along a mode or a way through a space, or a single one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.dynamics.animation import along_mode
from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, read_modes, read_reference
from ..core.space.paths import resample
from ..core.space.places import axis_columns, structure_with
from ..core.space.result import SPACE_NAME
from ..core.space.ways import main_path
from ..core.structure.atoms import Structure
from ..options.animate import AnimateOptions
from .run import Run
from .space_folder import SpaceFolder, path_of, place_of, read_space_folder, values_of
from .space_inputs import atoms_of


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What is animated, or one structure.

    Attributes
    ----------
    name
        Begin of the names of the files.
    structure
        What the N atoms are.
    frames
        (F, N, 3) Å; F = 1 for one structure.
    weights, sigma
        Mass of the atoms (N,) and their width in maps, Å.
    centre
        (3,) Å: centre of the maps.
    points
        (F, d) places in the space; None for a mode.
    energy, energy_std
        (F,) free energy in kT along a path of least free energy; else None.
    folder
        The space; None for a mode.
    amplitudes
        In Å by mode number, of one structure that is made of these; else empty.
    """

    name: str
    structure: Structure
    frames: np.ndarray
    weights: np.ndarray
    sigma: float
    centre: np.ndarray
    points: np.ndarray | None = None
    energy: np.ndarray | None = None
    energy_std: np.ndarray | None = None
    folder: SpaceFolder | None = None
    amplitudes: dict[int, float] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether it is one structure, not a motion."""
        return len(self.frames) == 1

    @property
    def steps(self) -> np.ndarray:
        """(F,) RMSD in Å from the first structure; of one structure, from the reference."""
        begin = self.structure.coordinates if self.is_one else self.frames[0]
        return np.sqrt(((self.frames - begin) ** 2).sum(axis=2).mean(axis=1))


def read_trajectory(options: AnimateOptions, run: Run) -> Trajectory:
    """Read modes or a space, and make the structures that were asked for.

    Raises
    ------
    InputError
        If the input is neither, or does not have what was asked for.
    """
    source = Path(options.input)
    if not source.exists():
        raise InputError(f"{source}: no such file or directory; expected modes (.npz, .nmd, .xmd) or a space directory")
    is_space = source.name == SPACE_NAME or (
        source.is_dir() and ((source / SPACE_NAME).exists() or not (source / MODES_NAME).exists())
    )
    return _of_space(options, run) if is_space else _of_modes(options, source, run)


def _of_modes(options: AnimateOptions, source: Path, run: Run) -> Trajectory:
    ways = {"--axis": options.axis, "--path": options.path, "--start": options.start, "--at": options.at}
    for name, given in (*ways.items(), ("--minimum-path", options.minimum_path or None)):
        if given is not None:
            raise InputError(f"{source}: holds normal modes; {name} is for the directory of cflex space")
    path = source / MODES_NAME if source.is_dir() else source
    modes = read_modes(path, options.structure)
    structure = atoms_of(options.structure, modes.n_atoms) if options.structure else read_reference(path, modes)
    run.add_input(path)
    chosen = options.amplitude_of
    if chosen:
        name, frames = "amplitudes", _of_amplitudes(modes, chosen)
    else:
        name = f"mode_{options.mode}"
        frames = along_mode(modes, options.mode, options.amplitude, options.n_frames)
    centre = modes.coordinates.mean(axis=0)
    return Trajectory(name, structure, frames, modes.weights, modes.sigma, centre, amplitudes=chosen)


def _of_amplitudes(modes: NormalModes, amplitudes: dict[int, float]) -> np.ndarray:
    """One structure (1, N, 3) in Å."""
    return modes.select(list(amplitudes)).displace(np.array([list(amplitudes.values())]))


def _of_space(options: AnimateOptions, run: Run) -> Trajectory:
    folder = read_space_folder(options.input, run, options.structure)
    space, decoder = folder.space, folder.need_decoder()
    energy = std = None
    points: np.ndarray | None
    if options.one:
        name, points, frames = _one(options, folder)
    else:
        if options.minimum_path:
            start, end = (
                None if text is None else place_of(text, space, flag)
                for text, flag in ((options.start, "--start"), (options.end, "--end"))
            )
            points, found, between = main_path(space, folder.landscape(), start, end, options.n_frames)
            name, energy, std = "minimum_path", found.energy, found.std
            run.say(f"path of least free energy between {between}")
        elif options.path is not None:
            name, points = "path", resample(path_of(options.path, space, run), options.n_frames)
        elif options.start is not None and options.end is not None:
            ends = [place_of(options.start, space, "--start"), place_of(options.end, space, "--end")]
            name, points = "path", resample(ends, options.n_frames)
        else:
            axis = options.axis or 1
            name, points = f"axis_{axis}", space.path_along(axis, options.n_frames)
        frames = decoder.at(points)
    return Trajectory(
        name, decoder.structure, frames, decoder.weights, decoder.sigma, decoder.centre, points, energy, std, folder,
        options.amplitude_of,
    )  # fmt: skip


def _one(options: AnimateOptions, folder: SpaceFolder) -> tuple[str, np.ndarray | None, np.ndarray]:
    """Name, place (1, d) and structure (1, N, 3) in Å of ``--amplitudes`` or ``--at``; the place is None where it is
    not named by axes.
    """
    space, decoder = folder.space, folder.need_decoder()
    if options.at is None:
        if decoder.modes is None:
            raise InputError(f"{folder.path}: holds no normal modes that --amplitudes could be of; give --at")
        return "amplitudes", None, _of_amplitudes(decoder.modes, options.amplitude_of)
    values = values_of(options.at, "--at") if "=" in options.at else {}
    if set(values) <= set(axis_columns(space)):
        place = place_of(options.at, space, "--at")
        return "place", place[None], decoder.at(place)
    from ..app.columns import ParticleColumns

    return "place", None, structure_with(decoder, ParticleColumns(space, folder.particles), values)[None]
