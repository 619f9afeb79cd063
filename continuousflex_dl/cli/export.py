"""``cflex export``: particles for RELION, Xmipp or cryoSPARC."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.export.cryosparc import write_cryosparc
from ..core.export.relion import write_relion
from ..core.export.xmipp import write_xmipp
from ..core.io.particles import read_particles
from ..core.space.recipe import Recipe
from ..core.space.select import select_where
from ..options.export import ExportOptions
from .columns import NumberColumns
from .run import Run


def run(options: ExportOptions, run: Run) -> None:
    """Write the particles in the format that the ending of the output names."""
    suffix = Path(options.output).suffix.lower()
    if suffix not in (".star", ".xmd", ".cs"):
        raise InputError(
            f"{options.output}: found ending '{suffix}', expected .star (RELION), .xmd (Xmipp) or .cs (cryoSPARC)"
        )
    if suffix == ".cs" and options.original is None:
        raise InputError(
            f"{options.output}: a .cs file is made from the one that the particles came from; give it with --original"
        )
    if options.project is not None and not Path(options.project).is_dir():
        raise InputError(f"{options.project}: no such folder; give the project folder of the other program")
    with run.stage("read"):
        table = read_particles(
            options.particles, datadir=options.datadir, pixel_size=options.pixel_size, check_images=suffix != ".cs"
        )
        run.add_input(options.particles)
        if options.selection is not None:
            recipe = Recipe.load(options.selection)
            run.add_input(options.selection)
            rows = np.flatnonzero(recipe.mask(NumberColumns(table), len(table)))
            if not len(rows):
                raise InputError(f"{options.particles}: no particle is in the selection {options.selection}")
            table = table.take(rows)
        if options.where is not None:
            rows = np.flatnonzero(select_where(options.where, NumberColumns(table), len(table)))
            if not len(rows):
                raise InputError(f"{options.particles}: no particle meets the condition {options.where!r}")
            table = table.take(rows)
    if np.any(table.sign < 0) and suffix != ".cs":
        run.say("the images are dark on light (negative contrast): tell the other program to invert them")
    with run.stage("write"):
        if suffix == ".star":
            left_out = write_relion(options.output, table, options.project)
            if left_out:
                run.say(f"columns that RELION does not know are left out: _{', _'.join(left_out)}")
        elif suffix == ".xmd":
            write_xmipp(options.output, table, options.project)
        else:
            run.add_input(str(options.original))
            placed = write_cryosparc(options.output, table, str(options.original), poses=options.poses)
            if not placed and options.poses:
                run.say(f"{options.original} has no alignments3D fields: no poses are written")
    run.result(particles=len(table))
    print(f"{len(table)} particles")
    print(f"written: {options.output}")
