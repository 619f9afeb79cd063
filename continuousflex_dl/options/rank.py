"""Options of ``cflex rank``."""

from __future__ import annotations

from .base import CommonOptions, CtfChoice, ModeList, option

RANKED_BY_DEFAULT = tuple(range(7, 17))


class RankOptions(CommonOptions):
    """Ranking of normal modes by what the particle images say of them, to choose those that `hemnma` is to use."""

    particles: str = option(
        help="Particle images (RELION STAR, cryoSPARC .cs or Xmipp .xmd).",
        positional=True,
        metavar="PARTICLES.star",
        label="Input particles",
    )
    modes: str = option(
        help="Normal modes of the reference: modes.npz, .nmd, or a ContinuousFlex modes.xmd.",
        metavar="MODES.npz",
        label="Normal modes",
    )
    structure: str | None = option(
        None,
        help="Structure that the modes belong to; needed where the modes file holds no coordinates (modes.xmd), checked where it does.",
        metavar="STRUCTURE",
        label="Structure",
        advanced=True,
    )
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
    angular_step: float = option(
        15.0,
        help="Step of the grid of orientations of the global search.",
        unit="degrees",
        ge=3,
        le=60,
        label="Angular step",
    )
    max_shift_px: float | None = option(
        None,
        help="Largest in-plane shift searched, along each axis; default: an eighth of the box.",
        unit="px",
        ge=0,
        label="Largest shift",
    )
    symmetry: str = option(
        "C1",
        help="Point group of the reference (Cn, Dn, T, O, I): restricts the search to one asymmetric unit.",
        pattern=r"^([CcDd][1-9]\d*|[TtOoIi])$",
        label="Symmetry",
        advanced=True,
    )
    ctf: CtfChoice = option(
        "auto",
        help="How the CTF enters: in the model, as |CTF| for phase-flipped images, or not at all; auto follows the particle file.",
        label="CTF",
    )
    invert_contrast: bool = option(
        False,
        help="The particles are darker than their surroundings: take the negative of the images.",
        label="Invert the contrast",
        advanced=True,
    )
    initial_poses: bool = option(
        False,
        help="Start from the poses in the particle file instead of a global search.",
        label="Start from given poses",
    )
    search_rmsd: float = option(
        4.0,
        help="Structural spread expected along the softest mode, less along stiffer ones.",
        unit="Å RMSD",
        gt=0,
        label="Expected deformation",
        advanced=True,
    )
    max_resolution: float | None = option(
        None,
        help="Finest resolution compared with the images; default: what the images hold.",
        unit="Å",
        gt=0,
        label="Finest resolution",
        advanced=True,
    )
