"""What a Cryo-ViT is: the choices that are saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..nets.vit import VitShape
from .decoders import DecoderKind


@dataclass(frozen=True, kw_only=True)
class CryoVitSettings:
    """Choices of the method; the defaults are those that did best in the experiments of docs/cryovit.md.

    Attributes
    ----------
    latent
        Numbers per particle.
    encoder
        ``none``: every particle has a latent and a pose of its own, fitted directly. ``vit``: a vision transformer
        makes them from the image, so that they cost one pass for new particles.
    decoder
        See `decoders`.
    width, depth
        Hidden layers of the decoder.
    vit
        Size of the encoder.
    informed
        The encoder is shown the projection of the reference in the given pose and that pose beside the image;
        otherwise the image alone.
    resolution
        Finest detail compared, Å.
    coarse_to_fine
        Training begins at coarser ones.
    refine_poses
        Refine the given poses together with the structures.
    angle_std, shift_std
        Expected errors of the given poses, about each axis (degrees) and along each (Å).
    sampled
        Latents are drawn from what the encoder says of their distribution (a variational autoencoder).
    likelihood
        ``correlation``: scale and offset of every image are free. ``mse``: one scale for all.
    beta
        Weight of the divergence of the latents from a standard Gaussian; 1 is that of the evidence.
    spread
        Expected RMSD along the softest motion, Å.
    bond_scale, clash_std
        See `structure_terms.StructureTerms`; 0 for no such cost.
    label_std
        By how much structures may differ from known ones, Å along each axis.
    centre_weight
        Of the distance between the centres of mass of structure and reference (thesis, Eq. 27); 0 for none.
    direct
        Supervised only: from the image to coordinates that are turned and shifted like the particle (`direct`).
    keep_rigid
        See `decoders.FreeDecoder`.
    """

    latent: int = 8
    encoder: Literal["none", "vit"] = "none"
    decoder: DecoderKind = "smooth"
    width: int = 128
    depth: int = 2
    vit: VitShape = field(default_factory=VitShape)
    informed: bool = True
    resolution: float = 5.0
    coarse_to_fine: bool = True
    refine_poses: bool = True
    angle_std: float = 5.0
    shift_std: float = 3.0
    sampled: bool = False
    likelihood: Literal["correlation", "mse"] = "correlation"
    beta: float = 1.0
    spread: float = 4.0
    bond_scale: float = 0.5
    clash_std: float = 0.1
    label_std: float = 1.0
    centre_weight: float = 0.0
    direct: bool = False
    keep_rigid: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CryoVitSettings:
        """Rebuild from `to_dict`."""
        return cls(**{**values, "vit": VitShape(**values["vit"])})
