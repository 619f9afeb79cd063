"""Selections that are built in steps, as the viewer makes them and ``cflex group --selection`` repeats them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..io.atomic import atomic_text
from .select import Mask, select_polygon, select_where

How = Literal["new", "add", "keep", "remove"]
FORMAT = 1
MOST_CORNERS = 20_000
_HOWS = get_args(How)


@dataclass(frozen=True)
class Step:
    """One step of a selection: an outline drawn in two columns, or a condition on columns.

    Attributes
    ----------
    how
        ``new`` forgets what was selected before, ``add`` adds to it, ``keep`` keeps only what is also in this step,
        ``remove`` takes it out.
    columns, corners
        Two column names, and the corners (k, 2) of a closed outline in them; empty for a condition.
    where
        Condition on columns (see `select_where`); empty for an outline.
    """

    how: How
    columns: tuple[str, ...] = ()
    corners: tuple[tuple[float, float], ...] = ()
    where: str = ""

    def mask(self, columns: Mapping[str, ArrayLike], count: int) -> Mask:
        """Which of the particles the step itself picks, (n,)."""
        if self.where:
            return select_where(self.where, columns, count)
        try:
            points = np.stack([np.asarray(columns[name], dtype=np.float64) for name in self.columns], axis=1)
        except KeyError as error:
            raise InputError(f"selection: there is no column {error.args[0]}; it was made on other particles") from None
        return select_polygon(points, self.corners)


@dataclass(frozen=True)
class Recipe:
    """A selection as the steps that make it; it does not depend on how many particles there are.

    Attributes
    ----------
    steps
        In order; without any, nothing is selected.
    """

    steps: tuple[Step, ...] = ()

    def mask(self, columns: Mapping[str, ArrayLike], count: int) -> Mask:
        """Which particles are selected.

        Parameters
        ----------
        columns
            Values (n,) by column name.
        count
            Number of particles n.

        Raises
        ------
        InputError
            If a column is missing, or a condition is none.
        """
        chosen = np.zeros(count, dtype=bool)
        for step in self.steps:
            picked = step.mask(columns, count)
            if step.how == "new":
                chosen = picked
            elif step.how == "add":
                chosen = chosen | picked
            elif step.how == "keep":
                chosen = chosen & picked
            else:
                chosen = chosen & ~picked
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """Content of a selection file."""
        steps: list[dict[str, Any]] = []
        for step in self.steps:
            if step.where:
                steps.append({"how": step.how, "where": step.where})
            else:
                corners = [list(corner) for corner in step.corners]
                steps.append({"how": step.how, "columns": list(step.columns), "outline": corners})
        return {"format": FORMAT, "steps": steps}

    @classmethod
    def from_dict(cls, content: Any, source: str = "selection") -> Recipe:
        """Check and take the content of a selection file.

        Raises
        ------
        InputError
            If it is none; the message names `source` and the step.
        """
        if not isinstance(content, dict) or not isinstance(content.get("steps"), list):
            raise InputError(f"{source}: found no steps, expected a selection as cflex view saves it")
        if content.get("format", FORMAT) != FORMAT:
            raise InputError(f"{source}: found format {content['format']!r}, expected {FORMAT}")
        steps = (_step(step, f"{source}: step {number}") for number, step in enumerate(content["steps"], start=1))
        return cls(tuple(steps))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a selection file, complete or not at all."""
        atomic_text(path, json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a selection file.

        Raises
        ------
        InputError
            If it is missing or is no selection.
        """
        file = Path(path)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: cannot be read ({error}); give a selection that cflex view saved") from None
        return cls.from_dict(content, str(file))


def _step(content: Any, where: str) -> Step:
    if not isinstance(content, dict) or content.get("how") not in _HOWS:
        raise InputError(f"{where}: found no 'how', expected one of {', '.join(_HOWS)}")
    condition = content.get("where")
    if isinstance(condition, str) and condition.strip():
        return Step(content["how"], where=condition)
    columns, outline = content.get("columns"), content.get("outline")
    if not isinstance(columns, list) or len(columns) != 2 or not all(isinstance(name, str) for name in columns):
        raise InputError(f"{where}: found columns {columns!r}, expected the names of two columns")
    try:
        corners = np.asarray(outline, dtype=np.float64)
    except (TypeError, ValueError):
        corners = np.zeros((0, 0))
    if corners.ndim != 2 or corners.shape[1] != 2 or not 3 <= len(corners) <= MOST_CORNERS:
        raise InputError(f"{where}: found no outline of 3 to {MOST_CORNERS:,} corners with two numbers each")
    if not np.isfinite(corners).all():
        raise InputError(f"{where}: a corner of the outline is not finite")
    return Step(content["how"], tuple(columns), tuple((x, y) for x, y in corners.tolist()))
