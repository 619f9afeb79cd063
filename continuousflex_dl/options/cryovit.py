"""Options of ``cflex cryovit train`` and ``cflex cryovit infer``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, Precision, option
from .shared import CTF_AS_TRAINED, CTF_OF_MODEL, INVERT_CONTRAST, MAX_MINUTES, POSED_PARTICLES


class CryovitTrainOptions(CommonOptions):
    """Learn how a structure moves from particle images with known poses: one structure per image."""

    particles: str = POSED_PARTICLES
    reference: str = option(
        help="Structure that is deformed: PDB or mmCIF. One node per residue moves (CA, P); where all atoms are given they follow and make the image.", metavar="STRUCTURE", label="Reference structure"
    )
    supervised: str | None = option(
        None,
        help="Known structures of the same particles to learn from (HDF5, dataset coordinates (n, N, 3) in Å, of the nodes or of all heavy atoms): from simulation, fitting by molecular dynamics, an earlier run. A modes file instead: its reference displaced by the mode amplitudes of the particles (HEMNMA, DeepHEMNMA).",
        metavar="CONFORMATIONS.h5",
        label="Known structures",
    )
    preset: Literal["default", "thesis"] = option(
        "default", help="default: a latent of its own for every particle, elastic motions, images of any scale; thesis: Cryo-ViT as in Hamitouche's thesis (ViT of depth 6, free displacements, mean square error; with --supervised: from the image to turned and shifted coordinates).", label="Preset"
    )
    decoder: Literal["preset", "smooth", "modes", "free"] = option(
        "preset", help="What the latent is turned into: smooth, learned combinations of the elastic motions of the reference; modes, one normal mode each and a small free residue; free, displacements of every node; preset: smooth (thesis free).", label="Decoder"
    )
    encoder: Literal["preset", "none", "vit"] = option(
        "preset", help="Where latents come from: none, every particle is fitted; vit, a vision transformer sees them in the image (for ten thousand images and more); preset: none (thesis vit).", label="Encoder"
    )
    latent_size: int | None = option(None, help="Numbers per particle; default: that of the preset (8; thesis 32).", ge=1, le=256, label="Size of the latent")
    refine_poses: bool = option(True, help="Refine the given poses together with the structures.", label="Refine poses")
    angle_std: float = option(5.0, help="Expected error of the given poses about each axis: the width of the prior on corrections.", unit="degrees", gt=0, le=30, label="Expected angular error")
    shift_std: float = option(3.0, help="Expected error of the given shifts along each axis: the width of the prior on corrections.", unit="Å", gt=0, label="Expected shift error")
    max_resolution: float = option(5.0, help="Finest detail compared; training begins at 2.4 times as coarse.", unit="Å", gt=0, label="Finest resolution")
    epochs: int | None = option(None, help="How often every image is seen; default: that of the preset (20; thesis 60).", ge=1, label="Epochs")
    max_minutes: float | None = MAX_MINUTES
    batch_size: int | None = option(None, help="Images per step and process; default: a twentieth of the images, between 8 and 64.", ge=1, le=65536, label="Batch size", advanced=True)
    learning_rate: float | None = option(None, help="Highest learning rate; default: that of the preset (0.003; thesis 0.001).", gt=0, label="Learning rate", advanced=True)
    search_rmsd: float = option(4.0, help="Structural spread expected along the softest motion.", unit="Å RMSD", gt=0, label="Expected deformation", advanced=True)
    bond_scale: float = option(0.5, help="By how much more than 0.2 Å a distance along the chain may fall short of its length in the reference at a cost of one nat; what is too long costs less, the less the longer it is; 0 for no restraint.", unit="Å", ge=0, label="Give of the backbone", advanced=True)
    clash_std: float = option(0.1, help="By how much nodes may come nearer than 4 Å to each other; 0 for no restraint.", unit="Å", ge=0, label="Give of clashes", advanced=True)
    patch: int | None = option(None, help="Edge of the patches of the vision transformer; default 16.", unit="px", ge=2, le=256, label="Patch size", advanced=True)
    vit_width: int | None = option(None, help="Width of the vision transformer, a multiple of its heads (4; thesis 16); default 128.", ge=4, le=4096, label="Width of the transformer", advanced=True)
    beta: float | None = option(None, help="Weight of the prior on latents; default: that of the preset (1; thesis 0.1).", ge=0, label="Beta", advanced=True)
    validation: float = option(0.1, help="Share of the particles that the best network is chosen on, where there is an encoder; without one every particle is trained on.", gt=0, lt=1, label="Validation share", advanced=True)
    ctf: CtfChoice = CTF_OF_MODEL
    invert_contrast: bool = INVERT_CONTRAST
    precision: Precision = option("auto", help="Number format of the encoder: float32 (full) or bfloat16 (mixed); auto takes what the processor does best. Projections are always in float32.", label="Precision", advanced=True)

    @model_validator(mode="after")
    def _check(self) -> CryovitTrainOptions:
        heads = 16 if self.preset == "thesis" else 4
        if self.vit_width is not None and self.vit_width % heads:
            raise ValueError(f"--vit-width {self.vit_width} cannot be shared among {heads} heads; give a multiple of {heads}")
        chosen = [f"--{name} {value}" for name, value in (("decoder", self.decoder), ("encoder", self.encoder)) if value != "preset"]
        if self.preset == "thesis" and self.supervised is not None and chosen:
            raise ValueError(f"{' '.join(chosen)}: the supervised network of the thesis has its own encoder and decoder; leave it out, or leave out --preset thesis")
        return self


class CryovitInferOptions(CommonOptions):
    """Structures and refined poses of particles by a trained Cryo-ViT."""

    model: str = option(help="Output directory of cflex cryovit train.", positional=True, metavar="MODEL_DIR", label="Trained network")
    particles: str = POSED_PARTICLES
    refine: bool = option(True, help="Fit latents and poses to each image; --no-refine takes what the encoder says, and needs one.", label="Fit every image")
    ctf: Literal["trained", "auto", "model", "flipped", "none"] = CTF_AS_TRAINED
    batch_size: int = option(64, help="Particles per block: the unit of work that is saved, and redone after a kill.", ge=1, le=65536, label="Block size", advanced=True)
