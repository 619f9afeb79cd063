"""Options of ``cflex pseudoatoms``."""

from __future__ import annotations

from .base import CommonOptions, option
from .shared import FLIP_HAND


class PseudoatomsOptions(CommonOptions):
    """A map as a set of Gaussians that can stand for a structure."""

    map: str = option(help="Map (MRC).", positional=True, metavar="MAP", label="Input map")
    radius_voxels: float = option(1.0, help="Width (standard deviation) of a pseudoatom; larger ones make a coarser model of fewer pseudoatoms.", unit="voxels", ge=0.5, le=20, label="Pseudoatom radius")
    target_error: float = option(
        5.0, help="Stop when the mean absolute difference between map and model, over the molecule, is this much of the range of its densities (1st to 99th percentile).",
        unit="%", gt=0, lt=100, label="Target error",
    )
    threshold: float | None = option(
        None, help="Density above which voxels are molecule; by default three standard deviations of the noise, measured at the faces of the box. Only the largest connected part counts.",
        unit="density", label="Threshold",
    )
    mask: str | None = option(None, help="Map of the same size; voxels above 0.5 are molecule where the density is positive (and above the threshold, if one is given).", metavar="MASK", label="Mask", advanced=True)
    flip_hand: bool = FLIP_HAND
