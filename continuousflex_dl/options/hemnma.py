"""Options of ``cflex hemnma``."""

from __future__ import annotations

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, ModeList, Precision, option


class HemnmaOptions(CommonOptions):
    """Elastic 3D-to-2D alignment: pose, shift and normal-mode amplitudes of every particle image."""

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
        help="Mode numbers whose amplitudes are estimated, for example 7,8,9 or 7-12.", label="Modes"
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
    local_range: float = option(
        10.0,
        help="With --initial-poses: half-width of the search in angles.",
        unit="degrees",
        ge=0,
        le=90,
        label="Local angular range",
        advanced=True,
    )
    local_shift: float = option(
        2.0,
        help="With --initial-poses: half-width of the search in shifts.",
        unit="px",
        ge=0,
        label="Local shift range",
        advanced=True,
    )
    search_rmsd: float = option(
        4.0,
        help="Structural spread expected along the softest mode, less along stiffer ones: the search also tries the reference deformed this far along each mode, and the amplitudes have a Gaussian prior of this width. 0: no prior, resting reference only.",
        unit="Å RMSD",
        ge=0,
        label="Expected deformation",
        advanced=True,
    )
    calibrate: bool = option(
        True,
        help="First align a few particles to measure the width of an atom as the images show it, and the model error, which then counts as noise.",
        label="Calibrate on the images",
        advanced=True,
    )
    calibration: str | None = option(
        None,
        help="Take what an earlier run has measured (calibration.json in its output directory) instead of measuring it on these images; for particles of the same data set that come in portions.",
        metavar="FILE",
        label="Calibration of an earlier run",
        advanced=True,
    )
    learn_prior: bool = option(
        True,
        help="Learn the distribution of the amplitudes from some of the particles, and use it for all (empirical Bayes). Without it each particle stands alone.",
        label="Learn the distribution",
        advanced=True,
    )
    hypotheses: int = option(
        32,
        help="Orientations kept from the global search for refinement; a well-seen particle soon drops most of them.",
        ge=1,
        le=4096,
        label="Hypotheses",
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
    precision: Precision = option(
        "auto",
        help="Number format of the large matrix products in search and derivatives: float32 (full) or bfloat16 (mixed); auto takes what the processor does best. The answer itself always comes from float32.",
        label="Precision",
        advanced=True,
    )
    memory_mb: int | None = option(
        None,
        help="Working memory of the refinement, for each thread or GPU; default: what suits the device.",
        unit="MiB",
        ge=8,
        label="Working memory",
        advanced=True,
    )
    batch_size: int = option(
        16,
        help="Particles per block: the unit of work that is saved, and redone after a kill.",
        ge=1,
        le=4096,
        label="Block size",
        advanced=True,
    )

    @model_validator(mode="after")
    def _check(self) -> HemnmaOptions:
        if not self.use:
            raise ValueError("--use names no mode")
        return self
