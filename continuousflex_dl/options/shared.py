"""Options that several commands have, word for word: each is declared here once."""

from __future__ import annotations

from .base import option

POINT_GROUP = r"^([CcDd][1-9]\d*|[TtOoIi])$"

PARTICLES = option(
    help="Particle images (RELION STAR, cryoSPARC .cs or Xmipp .xmd).",
    positional=True,
    metavar="PARTICLES.star",
    label="Input particles",
)
POSED_PARTICLES = option(
    help="Particle images with poses (RELION STAR, cryoSPARC .cs or Xmipp .xmd).",
    positional=True,
    metavar="PARTICLES.star",
    label="Input particles",
)
MODES = option(
    help="Normal modes of the reference: modes.npz, .nmd, or a ContinuousFlex modes.xmd.",
    metavar="MODES.npz",
    label="Normal modes",
)
STRUCTURE = option(
    None,
    help="Structure that the modes belong to; needed where the modes file holds no coordinates (modes.xmd), checked where it does.",
    metavar="STRUCTURE",
    label="Structure",
    advanced=True,
)
STRUCTURE_BESIDE = option(
    None,
    help="Structure that the modes or coordinates belong to, where it is not found beside them.",
    metavar="STRUCTURE",
    label="Structure",
    advanced=True,
)
ANGULAR_STEP = option(
    15.0,
    help="Step of the grid of orientations of the global search.",
    unit="degrees",
    ge=3,
    le=60,
    label="Angular step",
)
MAX_SHIFT_PX = option(
    None,
    help="Largest in-plane shift searched, along each axis; default: an eighth of the box.",
    unit="px",
    ge=0,
    label="Largest shift",
)
SEARCH_SYMMETRY = option(
    "C1",
    help="Point group of the reference (Cn, Dn, T, O, I): restricts the search to one asymmetric unit.",
    pattern=POINT_GROUP,
    label="Symmetry",
    advanced=True,
)
CTF_OF_MODEL = option(
    "auto",
    help="How the CTF enters: in the model, as |CTF| for phase-flipped images, or not at all; auto follows the particle file.",
    label="CTF",
)
CTF_AS_TRAINED = option(
    "trained",
    help="How the CTF entered the images, see cflex hemnma; trained: as in training.",
    label="CTF",
    advanced=True,
)
INVERT_CONTRAST = option(
    False,
    help="The particles are darker than their surroundings: take the negative of the images.",
    label="Invert the contrast",
    advanced=True,
)
INITIAL_POSES = option(
    False,
    help="Start from the poses in the particle file instead of a global search.",
    label="Start from given poses",
)
MAX_RESOLUTION = option(
    None,
    help="Finest resolution compared with the images; default: what the images hold.",
    unit="Å",
    gt=0,
    label="Finest resolution",
    advanced=True,
)
FLIP_HAND = option(False, help="Mirror the map first, for maps of the wrong hand.", label="Flip hand", advanced=True)
MAX_MINUTES = option(
    None,
    help="Wall time after which training ends, its schedule with it.",
    unit="minutes",
    gt=0,
    label="Longest time",
)
