"""What the viewer keeps on disk beside a result: named selections, drawn paths, and folders of what was made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.space.paths import read_path, write_path
from ..core.space.places import SPACE_COLUMN
from ..core.space.recipe import Recipe

SELECTIONS, PATHS, RESULTS = "selections", "paths", "results"
CURRENT = "current.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def checked_name(name: Any) -> str:
    """A name that is safe as the name of a file.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(f"name: found {name!r}, expected letters, digits, '-', '_' and '.', 64 at most")
    return name


class Workspace:
    """A folder of the viewer.

    Parameters
    ----------
    folder
        It is made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Names of the selections, in alphabetical order."""
        return sorted(path.stem for path in (self.folder / SELECTIONS).glob("*.json") if _NAME.fullmatch(path.stem))

    def selection_path(self, name: str) -> Path:
        """File of a selection."""
        return self.folder / SELECTIONS / f"{checked_name(name)}.json"

    def selection(self, name: str) -> Recipe:
        """Read a selection; raises InputError if there is none of this name."""
        return Recipe.load(self.selection_path(name))

    def keep(self, name: str, recipe: Recipe) -> Path:
        """Write a selection."""
        path = self.selection_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe.save(path)
        return path

    def forget(self, name: str) -> None:
        """Remove a selection."""
        self.selection_path(name).unlink(missing_ok=True)

    @property
    def current_path(self) -> Path:
        """File of what is selected now."""
        return self.folder / CURRENT

    def current(self) -> Recipe:
        """What was selected last; nothing where that is not known."""
        try:
            return Recipe.load(self.current_path)
        except InputError:
            return Recipe()

    def keep_current(self, recipe: Recipe) -> None:
        """Remember what is selected."""
        self.folder.mkdir(parents=True, exist_ok=True)
        recipe.save(self.current_path)

    def keep_path(self, points: np.ndarray) -> Path:
        """Write a drawn path as ``cflex animate --path`` and ``cflex group --path`` read it; the same path once."""
        folder = self.folder / PATHS
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := folder / f"path_{number}.csv").exists():
            before = read_path(path, points.shape[1])
            if before.shape == points.shape and np.allclose(before, points, rtol=1e-5, atol=1e-9):
                return path
            number += 1
        write_path(path, points, tuple(f"{SPACE_COLUMN}{axis + 1}" for axis in range(points.shape[1])))
        return path

    def result_folder(self, name: str) -> Path:
        """Folder for what a command makes: `name`, or with the first number that is free."""
        base = self.folder / RESULTS / checked_name(name)
        number, path = 1, base
        while path.exists():
            number += 1
            path = base.with_name(f"{base.name}_{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
