"""Options of ``cflex rank``."""

from __future__ import annotations

from .base import CommonOptions, CtfChoice, ModeList, option
from .shared import (
    ANGULAR_STEP,
    CTF_OF_MODEL,
    INITIAL_POSES,
    INVERT_CONTRAST,
    MAX_RESOLUTION,
    MAX_SHIFT_PX,
    MODES,
    PARTICLES,
    SEARCH_SYMMETRY,
    STRUCTURE,
)

RANKED_BY_DEFAULT = tuple(range(7, 17))


class RankOptions(CommonOptions):
    """Ranking of normal modes by what the particle images say of them, to choose those that `hemnma` is to use."""

    particles: str = PARTICLES
    modes: str = MODES
    structure: str | None = STRUCTURE
    use: ModeList = option(
        RANKED_BY_DEFAULT,
        help="Modes to rank; of the default, those that the file has. Other modes in the file show how large the model error is.",
        label="Modes",
    )
    n_images: int = option(
        200,
        help="Images to align, spread evenly over the set.",
        unit="images",
        ge=30,
        label="Number of images",
    )
    target: str | None = option(
        None,
        help="Another conformation, as a structure or as a map: the table also says how much each mode contributes to the way there.",
        metavar="STRUCTURE|MAP",
        label="Target",
    )
    angular_step: float = ANGULAR_STEP
    max_shift_px: float | None = MAX_SHIFT_PX
    symmetry: str = SEARCH_SYMMETRY
    ctf: CtfChoice = CTF_OF_MODEL
    invert_contrast: bool = INVERT_CONTRAST
    initial_poses: bool = INITIAL_POSES
    search_rmsd: float = option(
        4.0,
        help="Structural spread expected along the softest mode, less along stiffer ones.",
        unit="Å RMSD",
        gt=0,
        label="Expected deformation",
        advanced=True,
    )
    max_resolution: float | None = MAX_RESOLUTION
