"""Reading the directory that ``cflex space`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, REFERENCE_NAME, read_modes, read_reference
from ..core.space.decode import Decoder
from ..core.space.features import stored_features
from ..core.space.landscape import LANDSCAPE_NAME, Landscape, make_landscape
from ..core.space.paths import read_path
from ..core.space.places import place_with
from ..core.space.result import SPACE_NAME, Space
from ..options.files import PARTICLES_FILE
from .run import Run
from .space_inputs import read_atoms


@dataclass(frozen=True, eq=False)
class SpaceFolder:
    """A space on disk.

    Attributes
    ----------
    path
        The directory.
    space
        The space.
    decoder
        What makes structures of it; None where the directory has no modes, structure or coordinates.
    """

    path: Path
    space: Space
    decoder: Decoder | None

    @property
    def particles(self) -> Path:
        """The particle file."""
        return self.path / PARTICLES_FILE

    def need_decoder(self) -> Decoder:
        """Give the decoder.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.decoder is None:
            raise InputError(
                f"{self.path}: has neither modes nor coordinates with their structure, which structures are made from; "
                "make the space again with --modes or --structure"
            )
        return self.decoder

    def landscape(self, replicas: int = 0, seed: int = 0) -> Landscape:
        """Free energy that was written, or a new one.

        Raises
        ------
        InputError
            If there are too few particles.
        """
        if (self.path / LANDSCAPE_NAME).is_file():
            return Landscape.load(self.path)
        made = make_landscape(self.space.used, replicas=replicas, seed=seed)
        if made is None:
            raise InputError(f"{self.path}: the particles are too few, or do not spread, for a free energy")
        return made


def read_space_folder(given: str, run: Run, structure: str | None = None) -> SpaceFolder:
    """Read space.npz, and modes or coordinates with their structure, where the directory has them.

    Raises
    ------
    InputError
        If there is no space, or its files do not belong together.
    """
    folder = Path(given)
    folder = folder.parent if folder.name == SPACE_NAME else folder
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory; expected what cflex space wrote")
    space = Space.load(folder)
    run.add_input(folder / SPACE_NAME)
    return SpaceFolder(folder, space, _decoder(folder, space, structure, run))


def _decoder(folder: Path, space: Space, structure: str | None, run: Run) -> Decoder | None:
    if space.on == "amplitudes":
        if not (folder / MODES_NAME).is_file():
            return None
        modes = read_modes(folder / MODES_NAME)
        run.add_input(folder / MODES_NAME)
        named = read_atoms(structure, folder, modes.n_atoms, run) or read_reference(folder / MODES_NAME, modes)
        return Decoder(space, named, modes.select(space.modes.tolist()))
    stored = None
    if space.conformations:
        files = [folder / name for name in space.conformations]
        counts = np.bincount(space.set_index, minlength=len(files)).tolist()
        try:
            stored = stored_features("coordinates", files, counts)
        except InputError:
            stored = None
    if space.on == "latent" and stored is None:
        return None
    if structure is None and not (folder / REFERENCE_NAME).is_file():
        return None
    count = (len(space.mean) if stored is None else stored.width) // 3
    atoms = read_atoms(structure, folder, count, run)
    return None if atoms is None else Decoder(space, atoms, None, stored)


def place_of(text: str, space: Space, what: str) -> np.ndarray:
    """Turn ``12.5,-3`` into a place (d,) of the space; or ``cflexSpace1=12.5``, where the other axes are those of the
    particles there.

    Raises
    ------
    InputError
        If it is neither as many numbers as the space has axes, nor values by axis.
    """
    if "=" in text:
        return place_with(space, values_of(text, what))
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != space.n_components or not np.isfinite(values).all():
        raise InputError(
            f"{what}: found {text!r}, expected {space.n_components} numbers separated by commas, one per axis of the "
            "space"
        )
    return np.array(values)


def values_of(text: str, what: str) -> dict[str, float]:
    """Turn ``cflexSpace1=12,cflexScore=0.4`` into numbers by name.

    Raises
    ------
    InputError
        If it is something else.
    """
    values: dict[str, float] = {}
    for part in text.replace(",", " ").split():
        name, equals, number = part.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name or not np.isfinite(values[name]):
            raise InputError(
                f"{what}: found {part!r}, expected values by column such as cflexSpace1=120,cflexScore=0.4, or one "
                "number per axis of the space"
            )
    return values


def path_of(file: str, space: Space, run: Run) -> np.ndarray:
    """Corners (k, d) of a path that a user drew."""
    corners = read_path(file, space.n_components)
    run.add_input(file)
    return corners
