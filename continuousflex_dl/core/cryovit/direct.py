"""Supervised Cryo-ViT of the thesis (ch. 4.4): from an image to rotated, shifted and displaced coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..distributed import ALONE, Place
from ..imaging.rotations import euler_from_rotation
from ..nets.vit import VisionTransformer
from .decoders import mlp
from .fitting import Fitted, correlation, refuse_non_finite
from .images import ImageBatch, ParticleImages
from .learning import BatchOrder, portions
from .projector import Projector
from .reference import FlexibleReference
from .settings import CryoVitSettings
from .structure_terms import StructureTerms
from .views import about_the_beam, any_angle, filtered_images, turned

_UNIT = 10.0  # Å per output of the network
_CHUNK = 64


class DirectVit(nn.Module):
    """Vision transformer to a latent, and a network from there to the coordinates of every node.

    The network has to find out the orientation by itself; the given poses are only used to make the labels.

    Parameters are those of `model.CryoVit`; the labels are displacements of the nodes in the frame of the reference.
    """

    def __init__(self, reference: FlexibleReference, settings: CryoVitSettings, box: int) -> None:
        super().__init__()
        self.settings, self.box = settings, box
        self.projector = Projector(reference, box, fit_mass=False)
        self.terms = StructureTerms(reference.nodes, reference.chain, 0.0, 0.0)
        for parameter in self.projector.parameters():  # only used to say how well images fit
            parameter.requires_grad_(False)
        self.transformer = VisionTransformer(box, 1, settings.vit)
        self.to_latent = nn.Linear(settings.vit.width, settings.latent)
        self.decoder = mlp(settings.latent, settings.width, settings.depth, reference.nodes.size, nn.LeakyReLU)

    def encode(self, batch: ImageBatch, angle: Tensor | None = None) -> Tensor:
        """Latents (b, d) of images, turned in their plane by angles (b,) in rad first where these are given."""
        seen = filtered_images(batch, batch.data, self.box, corrected=False)[:, None]
        latent: Tensor = self.to_latent(self.transformer(seen if angle is None else turned(seen, angle)))
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """Coordinates (b, N, 3) of latents (b, d)."""
        places: Tensor = _UNIT * self.decoder(latent).float().unflatten(-1, (-1, 3))
        return places

    def forward(self, batch: ImageBatch, angle: Tensor | None = None) -> Tensor:
        """Coordinates (b, N, 3) in the frame of the (turned) image, Å from the centre of the box."""
        return self.decode(self.encode(batch, angle))


class Supervised:
    """Learns known coordinates, as a task for the training loop.

    Parameters
    ----------
    images
        What is learned from; their poses turn the labels into the frame of the image.
    structures
        (n, N, 3) known coordinates of all particles about the centre of the reference, Å.
    batch_size, seed, description, train_rows, validation_rows, place
        See `learning.Unsupervised`.
    """

    def __init__(
        self,
        images: ParticleImages,
        structures: Tensor,
        *,
        batch_size: int,
        seed: int,
        description: dict[str, Any],
        train_rows: np.ndarray,
        validation_rows: np.ndarray,
        place: Place = ALONE,
    ) -> None:
        self.images, self.structures = images, structures
        self.description, self.validation_rows = description, validation_rows
        self.order = BatchOrder(train_rows, batch_size, seed, place)

    def batch(self, step: int) -> ImageBatch:
        """Images of a step."""
        return self.images.batch(self.order.rows(step))

    def loss(self, model: nn.Module, batch: ImageBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean square distance of predicted and known coordinates, Å^2."""
        angle = any_angle(len(batch), batch.data.device)  # turned images are other images with known coordinates
        square = ((model(batch, angle) - self._labels(batch, angle)) ** 2).sum(-1).mean()
        return square, {"rmsd": torch.sqrt(square)}

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean RMSD in the frame of the image, and after superposition, Å; the first is the loss."""
        sums = np.zeros(2)
        for rows in portions(self.validation_rows, _CHUNK):
            batch = self.images.batch(rows)
            found, known = model(batch), self._labels(batch)
            plain = (found - known).square().sum(-1).mean(-1).sqrt()
            rotation, shift = superposition(found, known)
            placed = found @ rotation.transpose(-1, -2) + shift[:, None]
            sums += [float(plain.sum()), float((placed - known).square().sum(-1).mean(-1).sqrt().sum())]
        plain_mean, superposed = (sums / len(self.validation_rows)).tolist()
        return {"loss": plain_mean, "superposed": superposed}

    def _labels(self, batch: ImageBatch, angle: Tensor | None = None) -> Tensor:
        with torch.autocast(batch.data.device.type, enabled=False):  # coordinates need all their digits
            posed = self.structures[batch.index].to(batch.rotation) @ batch.rotation.transpose(-1, -2)
            posed = posed + nn.functional.pad(batch.shift_px * batch.pixel_size[:, None], (0, 1))[:, None]
            return posed if angle is None else posed @ about_the_beam(angle).transpose(-1, -2)


def superposition(mobile: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (b, 3, 3) and shifts (b, 3) that bring points (b, N, 3) onto others in the least-squares sense."""
    mobile_centre, target_centre = mobile.mean(1), target.mean(1)
    product = (mobile - mobile_centre[:, None]).transpose(-1, -2) @ (target - target_centre[:, None])
    left, _, right = torch.linalg.svd(product.double())
    sign = torch.sign(torch.linalg.det(left @ right))
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
    rotation = ((left * flip[:, None]) @ right).transpose(-1, -2).to(mobile)
    return rotation, target_centre - (rotation @ mobile_centre[..., None])[..., 0]


@torch.no_grad()
def predict(model: DirectVit, images: ParticleImages, rows: np.ndarray) -> Fitted:
    """Coordinates of particles, superposed on the reference; what that takes is their pose.

    Raises
    ------
    NonFiniteError
        If a particle gives no finite number.
    """
    batch = images.batch(rows)
    latent = model.encode(batch)
    places = model.decode(latent)
    nodes = model.terms.nodes.expand(len(places), -1, -1)
    rotation, shift = superposition(places, nodes)
    aligned = places @ rotation.transpose(-1, -2) + shift[:, None]
    back = rotation.transpose(-1, -2)  # from the reference to the image
    moved = -(back @ shift[..., None])[..., :2, 0]  # Å in the image
    points = model.projector(aligned - nodes, back, moved / batch.pixel_size[:, None], batch.pixel_size, batch.radius)
    image = points * (batch.transfer * model.projector.blur(batch.square_frequency))[:, None]
    score = correlation(image, batch.data)
    refuse_non_finite(images, batch, {"latent": latent, "structure": aligned, "score": score})
    return Fitted(
        latent.float().cpu().numpy(),
        aligned.cpu().numpy(),
        euler_from_rotation(back),
        (-moved).double().cpu().numpy(),
        score.double().cpu().numpy(),
    )
