"""Options of ``cflex hemnma``."""

from __future__ import annotations

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, ModeList, Precision, option
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


class HemnmaOptions(CommonOptions):
    """Elastic 3D-to-2D alignment: pose, shift and normal-mode amplitudes of every particle image."""

    particles: str = PARTICLES
    modes: str = MODES
    structure: str | None = STRUCTURE
    use: ModeList = option(
        help="Mode numbers whose amplitudes are estimated, for example 7,8,9 or 7-12.", label="Modes"
    )
    angular_step: float = ANGULAR_STEP
    max_shift_px: float | None = MAX_SHIFT_PX
    symmetry: str = SEARCH_SYMMETRY
    ctf: CtfChoice = CTF_OF_MODEL
    invert_contrast: bool = INVERT_CONTRAST
    initial_poses: bool = INITIAL_POSES
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
    max_resolution: float | None = MAX_RESOLUTION
    precision: Precision = option(
        "auto",
        help="Number format of the large matrix products in search, derivatives and samples: float32 (full) or bfloat16 (mixed); auto takes what the processor does best. Models and costs that decide the answer are float32; a faint particle's is the mean of its samples.",
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
