"""Options of ``cflex export``."""

from __future__ import annotations

from typing import ClassVar

from .base import CommonOptions, option


class ExportOptions(CommonOptions):
    """Particles for other programs: RELION (.star), Xmipp and Scipion (.xmd), cryoSPARC (.cs)."""

    output_is_file: ClassVar[bool] = True

    output: str = option(help="File to write; its ending says for whom: .star for RELION, .xmd for Xmipp, .cs for cryoSPARC.", flags=("-o",), metavar="FILE")
    particles: str = option(help="Particle file (RELION STAR, cryoSPARC .cs or Xmipp .xmd).", positional=True, metavar="PARTICLES.star", label="Input particles")
    project: str | None = option(None, help="Folder in which the other program runs: paths are written relative to it. Default: absolute paths.", metavar="DIR", label="Project folder")
    original: str | None = option(None, help="For .cs: the .cs file that the particles came from, whose rows are taken.", metavar="FILE.cs", label="Original .cs file")
    poses: bool = option(True, help="For .cs: write the poses of the particle file over those of the original.", label="Write poses")
    selection: str | None = option(None, help="Take only the particles of a selection that `cflex view` saved (JSON).", metavar="FILE", label="Selection of the viewer")
    where: str | None = option(None, help="Take only particles that meet a condition on the columns of the file, for example 'cflexScore > 0.3'.", metavar="CONDITION", label="Condition")
