"""Options of ``cflex view``."""

from __future__ import annotations

from typing import ClassVar

from .base import CommonOptions, option
from .shared import STRUCTURE_BESIDE


class ViewOptions(CommonOptions):
    """The web viewer: particles in their space, structures, maps and normal modes, in the browser of this computer."""

    output_is_shared: ClassVar[bool] = True

    output: str | None = option(None, help="Folder that keeps selections and what is made from them, from one start to the next; default: 'view' inside DIR.", flags=("-o",), metavar="DIR")
    input: str = option(help="Directory of `cflex space`, `cflex nma`, or of a method such as `cflex hemnma`.", positional=True, metavar="DIR", label="Result")
    also: tuple[str, ...] = option((), help="Another result directory, to be seen beside the first; may be repeated.", metavar="DIR", label="Other results")
    port: int = option(0, help="Port on 127.0.0.1 that the viewer listens on; 0 takes a free one.", ge=0, le=65535, unit="TCP port", metavar="N", label="Port")
    browser: bool = option(True, help="Open the page in the web browser.", label="Open browser")
    structure: str | None = STRUCTURE_BESIDE
    idle_minutes: float = option(0, help="Stop when no page has asked for anything in this time and nothing runs; 0: never.", unit="min", ge=0, label="Stop when idle", advanced=True)
    points: int = option(20000, help="Particles that are drawn as points, at most; selections and densities always take all of them.", unit="particles", ge=100, le=2000000, label="Points drawn", advanced=True)
