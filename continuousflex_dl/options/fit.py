"""Options of ``cflex fit``."""

from __future__ import annotations

from .base import CommonOptions, ModeList, option
from .shared import FLIP_HAND, MODES, STRUCTURE


class FitOptions(CommonOptions):
    """Rigid-body and elastic fit of a reference with normal modes to a map, or to each of several maps."""

    volume: str = option(
        help="Map (MRC); or a folder of maps, or a text file with the name of a map in each line.", positional=True, metavar="VOLUME", label="Input volumes"
    )
    modes: str = MODES
    structure: str | None = STRUCTURE
    use: ModeList = option(help="Mode numbers whose amplitudes are fitted, for example 7-13.", label="Modes")
    placed: bool = option(False, help="The reference lies in the map already: no rigid search, only the nearest optimum.", label="Reference is in place")
    resolution: float | None = option(
        None, help="Resolution of the map; by default estimated from how its power falls compared with that of the reference.", unit="Å", gt=0, label="Resolution", advanced=True
    )
    flip_hand: bool = FLIP_HAND
