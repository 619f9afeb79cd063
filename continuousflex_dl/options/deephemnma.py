"""Options of ``cflex deephemnma train`` and ``cflex deephemnma infer``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, Precision, option, parse_mode_list
from .shared import CTF_AS_TRAINED, INVERT_CONTRAST, MAX_MINUTES, MODES, PARTICLES, POINT_GROUP, STRUCTURE


class DeephemnmaTrainOptions(CommonOptions):
    """Train a network that reads pose, shift and normal-mode amplitudes off a particle image."""

    particles: str = option(
        help="Particle images with poses and mode amplitudes to learn from, for example those that cflex hemnma writes; without them, for particles rendered like these.",
        positional=True,
        metavar="LABELLED.star",
        label="Labelled particles",
    )
    modes: str = MODES
    structure: str | None = STRUCTURE
    use: str = option("", help="Mode numbers whose amplitudes are learned, for example 7-9; default: those that the particles have.", metavar="MODES", label="Modes")
    preset: Literal["default", "paper"] = option(
        "default", help="default: one network for all, learned errors, labelled and rendered particles; paper: DeepHEMNMA as published (three ResNet-34, quaternions, batches of 2).", label="Preset"
    )
    source: Literal["auto", "labelled", "rendered", "both"] = option(
        "auto",
        help="What is learned from: labelled particles, fresh particles rendered from the modes with CTF and noise of these images, or both; auto: both where there are labels (labelled only for the preset paper), rendered where there are none.",
        label="Learn from",
    )
    epochs: int | None = option(None, help="Epochs (as many images as there are labelled particles to train on; 10,000 where there are none); default: that of the preset.", ge=1, label="Epochs")
    max_minutes: float | None = MAX_MINUTES
    start_from: str | None = option(None, help="Fine-tune a trained network of the same modes, box and pixel size.", flags=("--from",), metavar="MODEL_DIR", label="Start from")
    batch_size: int | None = option(None, help="Images per step, of all processes together; default: that of the preset.", ge=2, le=65536, label="Batch size", advanced=True)
    learning_rate: float | None = option(None, help="Highest learning rate; default: that of the preset, a third of it with --from.", gt=0, label="Learning rate", advanced=True)
    patience: int | None = option(None, help="Epochs without improvement on the validation particles after which training stops, 0 for never; default: that of the preset.", ge=0, label="Patience", advanced=True)
    validation: float = option(0.1, help="Share of the labelled particles that the best network is chosen on.", gt=0, lt=1, label="Validation share", advanced=True)
    test: float = option(0.1, help="Share of the labelled particles that are tested at the very end, and used for nothing before.", ge=0, lt=1, label="Test share", advanced=True)
    network_box: int | None = option(None, help="The images are scaled down to this for the network; default: that of the preset, at most their own box.", unit="px", ge=16, le=1024, label="Box of the network", advanced=True)
    symmetry: str = option("C1", help="Point group of the reference (Cn, Dn, T, O, I): equivalent orientations count as the same.", pattern=POINT_GROUP, label="Symmetry", advanced=True)
    ctf: CtfChoice = option("auto", help="How the CTF entered the images: as it is, as |CTF| for phase-flipped images, or not at all; auto follows the particle file.", label="CTF", advanced=True)
    invert_contrast: bool = INVERT_CONTRAST
    max_shift_px: float | None = option(None, help="Largest in-plane shift of rendered particles, along each axis, where there are no labels; default: an eighth of the box.", unit="px", ge=0, label="Largest shift", advanced=True)
    search_rmsd: float = option(4.0, help="Structural spread of rendered particles along the softest mode, less along stiffer ones, where there are no labels.", unit="Å RMSD", gt=0, label="Expected deformation", advanced=True)
    precision: Precision = option("auto", help="Number format of matrix products: float32 (full) or bfloat16 (mixed); auto takes what the processor does best (float32 for the preset paper).", label="Precision", advanced=True)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Mode numbers of `use`; empty for those that the particles have."""
        return parse_mode_list(self.use) if self.use.strip() else ()

    @model_validator(mode="after")
    def _check(self) -> DeephemnmaTrainOptions:
        try:
            _ = self.numbers
        except ValueError as error:
            raise ValueError(f"--use: {error}") from None
        if self.validation + self.test >= 1:
            raise ValueError(f"--validation {self.validation:g} and --test {self.test:g} leave nothing to train on")
        return self


class DeephemnmaInferOptions(CommonOptions):
    """Pose, shift and mode amplitudes of particles by a trained network, refined on request."""

    model: str = option(help="Output directory of cflex deephemnma train.", positional=True, metavar="MODEL_DIR", label="Trained network")
    particles: str = PARTICLES
    refine: bool = option(False, help="Polish the predictions by HEMNMA's local refinement; more work where the network is unsure.", label="Refine")
    modes: str | None = option(None, help="Normal modes that the network was trained with, for --refine; default: the file that the training has recorded.", metavar="MODES.npz", label="Normal modes", advanced=True)
    structure: str | None = option(None, help="Structure that the modes belong to, where the modes file holds no coordinates.", metavar="STRUCTURE", label="Structure", advanced=True)
    estimate: Literal["all", "amplitudes", "poses"] = option(
        "all", help="What is taken over: all; amplitudes alone, with the poses of the particle file kept; or poses alone, with the amplitudes of the particle file kept.", label="Estimate"
    )
    ctf: Literal["trained", "auto", "model", "flipped", "none"] = CTF_AS_TRAINED
    refine_above: float | None = option(None, help="With --refine: leave particles alone whose orientation the network expects to be nearer than this; default: refine all.", unit="degrees", ge=0, label="Refine above", advanced=True)
    search_above: float = option(25.0, help="With --refine: search all orientations for particles whose expected error is larger than this.", unit="degrees", ge=0, label="Search above", advanced=True)
    precision: Precision = option("auto", help="Number format of matrix products: float32 (full) or bfloat16 (mixed); auto takes what the processor does best.", label="Precision", advanced=True)
    batch_size: int | None = option(None, help="Particles per block: the unit of work that is saved, and redone after a kill; default: 1024, 32 with --refine.", ge=1, le=65536, label="Block size", advanced=True)
