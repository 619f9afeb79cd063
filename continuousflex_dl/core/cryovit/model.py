"""The whole model: latents, decoder, pose, projection, and the cost of an image under it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from .decoders import Decoder, FreeDecoder, ModesDecoder, SmoothDecoder
from .elastic import elastic_basis, soft_motions
from .images import ImageBatch
from .latents import Encoder, Latents, LatentTable
from .losses import divergence, mean_square, misfit, pose_cost
from .projector import Projector
from .reference import FlexibleReference
from .settings import CryoVitSettings
from .structure_terms import StructureTerms


class CryoVit(nn.Module):
    """Structures from images.

    Parameters
    ----------
    reference
        What is deformed.
    settings
        Choices of the method.
    box
        Of the images, px.
    particles
        Number of particles that get a latent of their own, where there is no encoder.
    basis
        (K, N, 3) elastic motions of the decoder, where they are known already.
    labels
        (particles, N, 3) known displacements of the nodes, Å, that the structures are drawn to.
    """

    latents: LatentTable | Encoder
    decoder: Decoder
    labels: Tensor | None

    def __init__(
        self,
        reference: FlexibleReference,
        settings: CryoVitSettings,
        box: int,
        particles: int,
        *,
        basis: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.box = settings, box
        self.projector = Projector(reference, box, fit_mass=reference.following is None)
        clash_std = settings.clash_std if len(reference.chain) else 0.0  # pseudoatoms may overlap
        soft = settings.decoder != "free"
        self.terms = StructureTerms(reference.nodes, reference.chain, settings.bond_scale, clash_std, soft=soft)
        self.decoder = _decoder(reference, settings, basis)
        self.register_buffer("labels", labels, persistent=False)
        if settings.encoder == "vit":
            self.latents = Encoder(box, settings.latent, settings.vit, informed=settings.informed)
        else:
            self.latents = LatentTable(particles, settings.latent, poses=settings.refine_poses)
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=settings.likelihood == "mse")

    def encode(self, batch: ImageBatch) -> Latents:
        """Latents of the particles of a batch: looked up, or seen in the images."""
        if isinstance(self.latents, LatentTable):
            return self.latents(batch)
        expected = self.expected(batch) if self.latents.informed else None
        found: Latents = self.latents(batch, expected)
        return found

    @torch.no_grad()
    def expected(self, batch: ImageBatch) -> Tensor:
        """Coefficients of the undeformed reference in the given poses, CTF applied."""
        still = self.terms.nodes.new_zeros(len(batch), *self.terms.nodes.shape)
        return self.image(batch, still, batch.rotation, batch.shift_px)

    def image(self, batch: ImageBatch, displacement: Tensor, rotation: Tensor, shift_px: Tensor) -> Tensor:
        """Coefficients of displaced nodes (b, N, 3) as the microscope shows them, over the noise amplitude."""
        points = self.projector(displacement, rotation, shift_px, batch.pixel_size, batch.radius)
        passed: Tensor = points * (batch.transfer * self.projector.blur(batch.square_frequency))[:, None]
        return passed

    @torch.no_grad()
    def fit_scale(self, batch: ImageBatch) -> None:
        """Take the scale at which the undeformed reference explains some images best, to start from."""
        model = self.expected(batch)
        scale = (model * batch.data).sum() / (model**2).sum().clamp(min=1e-30)
        self.log_scale.copy_(torch.log(scale.clamp(min=1e-6)))

    def posed(self, batch: ImageBatch, latents: Latents, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Refined rotation (b, 3, 3) and shift (b, 2) px, where poses are refined at all."""
        if not self.settings.refine_poses:
            return batch.rotation, batch.shift_px
        return turn @ batch.rotation, batch.shift_px + latents.shift / batch.pixel_size[:, None]

    def cost(self, batch: ImageBatch, latents: Latents) -> dict[str, Tensor]:
        """Parts (b,) of the cost of every image in nats, and their sum ``total``."""
        settings = self.settings
        if settings.sampled and self.training:
            latent, turn = latents.sample()
        else:
            latent, turn = Latents(latents.mean, latents.turn, latents.shift).sample()
        displacement, motion = self.decoder(latent)
        labels = None if self.labels is None or not self.training else self.labels[batch.index]
        model = self.image(batch, displacement, *self.posed(batch, latents, turn))
        if settings.likelihood == "mse":
            image = mean_square(model, batch.data, torch.exp(self.log_scale))
        else:
            image = misfit(model, batch.data)
        bonds, clashes = self.terms(displacement)
        parts = {"image": image, "motion": motion, "bonds": bonds, "clashes": clashes}
        parts["latent"] = settings.beta * _latent_cost(latents, sampled=settings.sampled)
        if settings.refine_poses:
            parts["pose"] = pose_cost(latents.turn, latents.shift, settings.angle_std, settings.shift_std)
            if settings.sampled and latents.turn_log_std is not None:
                # entropy of the noise on the rotation, against the same prior
                std = torch.exp(latents.turn_log_std) / torch.pi * 180 / settings.angle_std
                parts["pose"] = parts["pose"] + divergence(torch.zeros_like(std), torch.log(std))
        if labels is not None:
            parts["label"] = 0.5 * ((displacement - labels) ** 2).sum((-2, -1)) / settings.label_std**2
        if settings.centre_weight:
            parts["centre"] = settings.centre_weight * displacement.mean(1).abs().sum(-1)
        return {**parts, "total": torch.stack(list(parts.values())).sum(0)}

    def forward(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Costs (b,) of the images of a batch, see `cost`."""
        latents = self.encode(batch)
        with torch.autocast(batch.data.device.type, enabled=False):  # phases and coordinates need all their digits
            return self.cost(batch, latents)


def _latent_cost(latents: Latents, *, sampled: bool) -> Tensor:
    if sampled and latents.log_std is not None:
        return divergence(latents.mean, latents.log_std)
    return 0.5 * (latents.mean**2).sum(-1)


def _decoder(reference: FlexibleReference, settings: CryoVitSettings, basis: Tensor | None) -> Decoder:
    make = soft_motions if settings.decoder == "free" else elastic_basis
    if basis is None:
        basis = torch.as_tensor(make(reference, settings.spread), dtype=torch.float32)
    shape = settings.latent, settings.width, settings.depth
    if settings.decoder == "free":
        return FreeDecoder(basis, reference, *shape, settings.keep_rigid)
    if settings.decoder == "modes" and settings.latent > len(basis):
        raise InputError(
            f"--latent-size {settings.latent}: decoder modes takes a normal mode for each number, but the reference of "
            f"{len(reference.nodes)} nodes has {len(basis)}; give at most so many, or another decoder"
        )
    kind = SmoothDecoder if settings.decoder == "smooth" else ModesDecoder
    return kind(basis, *shape)
