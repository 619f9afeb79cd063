"""Image names as a program wants them that runs in a project folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..io.particle_table import ParticleTable
from ..io.star import Text


def image_names(table: ParticleTable, project: str | os.PathLike[str] | None, *, digits: int = 6) -> Text:
    """Names ``000001@path`` (or the path alone, for a file of one image).

    Parameters
    ----------
    table
        Particles.
    project
        Folder that the paths are relative to, which is where RELION, Xmipp and Scipion look; None: absolute paths.
    digits
        Of the number.
    """
    locations = table.locations
    if project is None:
        paths = [os.path.abspath(stack) for stack in locations.stacks]
    else:
        root = os.path.realpath(project)
        paths = [os.path.relpath(os.path.realpath(Path(stack).parent) + os.sep + Path(stack).name, root)
                 for stack in locations.stacks]  # fmt: skip
    stacks = np.array([path.encode("utf-8", "surrogateescape") for path in paths], dtype=np.bytes_)
    named = stacks[locations.stack_number]
    numbers = np.char.mod(f"%0{digits}d@", locations.stack_index + 1).astype(np.bytes_)
    return np.where(locations.numbered, np.char.add(numbers, named), named)
