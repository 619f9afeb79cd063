"""Options of ``cflex fit``."""

from __future__ import annotations

from .base import CommonOptions, ModeList, option


class FitOptions(CommonOptions):
    """Rigid-body and elastic fit of a reference with normal modes to a map, or to each of several maps."""

    volume: str = option(
        help="Map (MRC); or a folder of maps, or a text file with the name of a map in each line.", positional=True, metavar="VOLUME", label="Input volumes"
    )
    modes: str = option(help="Normal modes of the reference: modes.npz, .nmd, or a ContinuousFlex modes.xmd.", metavar="MODES.npz", label="Normal modes")
    structure: str | None = option(
        None, help="Structure that the modes belong to; needed where the modes file holds no coordinates (modes.xmd), checked where it does.",
        metavar="STRUCTURE", label="Structure", advanced=True,
    )
    use: ModeList = option(help="Mode numbers whose amplitudes are fitted, for example 7-13.", label="Modes")
    placed: bool = option(False, help="The reference lies in the map already: no rigid search, only the nearest optimum.", label="Reference is in place")
    resolution: float | None = option(
        None, help="Resolution of the map; by default estimated from how its power falls compared with that of the reference.", unit="Å", gt=0, label="Resolution", advanced=True
    )
    flip_hand: bool = option(False, help="Mirror the map first, for maps of the wrong hand.", label="Flip hand", advanced=True)
