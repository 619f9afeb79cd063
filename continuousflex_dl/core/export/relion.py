"""RELION 3.1 STAR for a RELION project."""

from __future__ import annotations

import os

from ..io.atomic import atomic_path
from ..io.particle_table import ParticleTable
from ..io.star import TextTable, star_bytes
from .paths import image_names

_OWN = ("cflex", "xmipp_")


def write_relion(path: str | os.PathLike[str], table: ParticleTable, project: str | None = None) -> list[str]:
    """Write particles with the columns that RELION knows, and paths relative to the folder in which RELION runs.

    Parameters
    ----------
    path
        .star file.
    table
        Particles.
    project
        RELION's project folder; None: absolute paths, which work from anywhere on this machine.

    Returns
    -------
    Columns that were left out.
    """
    left_out = [label for block in (table.particles, table.optics) for label in block.labels if label.startswith(_OWN)]
    particles = table.particles.without(left_out).with_columns({"rlnImageName": image_names(table, project)})
    blocks = [
        TextTable(table.source, "optics", table.optics.without(left_out).columns),
        TextTable(table.source, "particles", particles.columns),
    ]
    with atomic_path(path) as temporary:
        temporary.write_bytes(star_bytes(blocks))
    return left_out
