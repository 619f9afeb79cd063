"""Where the latent and the pose correction of a particle come from: a table of them, or an encoder of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from ..nets.vit import VisionTransformer, VitShape
from .images import ImageBatch
from .views import about_the_beam, filtered_images, turned, upright_angle

# a number of the table counts so much: one learning rate then suits latents, angles (rad), shifts (Å) and weights
_GAIN = 30.0
_TURN_UNIT, _SHIFT_UNIT = 0.05, 2.5
_START_LOG_STD = -2.0
_WOBBLE_DEG = 10.0  # by which images are turned at most in training, so that they are not learned by heart
_HEAD_STD = 0.02  # latents begin as large as their noise: nothing is to be learned from what is drowned in it


@dataclass(frozen=True, eq=False)
class Latents:
    """Of some particles.

    Attributes
    ----------
    mean
        (b, d) latent.
    turn
        (b, 3) rotation vector (rad) by which the given pose is turned, in the frame of the image.
    shift
        (b, 2) Å added to the given shift.
    log_std, turn_log_std
        (b, d), (b, 3) logarithms of standard deviations, where the latents are distributions.
    """

    mean: Tensor
    turn: Tensor
    shift: Tensor
    log_std: Tensor | None = None
    turn_log_std: Tensor | None = None

    def sample(self) -> tuple[Tensor, Tensor]:
        """Latent and rotation drawn from their distributions, both reparametrised: (b, d) and (b, 3, 3).

        The rotation is the exponential map of the mean after that of Gaussian noise (Falorsi et al. 2019).
        """
        rotation = roma.rotvec_to_rotmat(self.turn)
        if self.log_std is None or self.turn_log_std is None:
            return self.mean, rotation
        latent = self.mean + torch.exp(self.log_std) * torch.randn_like(self.mean)
        noise = torch.exp(self.turn_log_std) * torch.randn_like(self.turn)
        return latent, rotation @ roma.rotvec_to_rotmat(noise)


class LatentTable(nn.Module):
    """A latent and a pose correction for every particle; the index of a batch says which.

    Parameters
    ----------
    count
        Particles.
    latent
        Numbers per particle.
    poses
        Learn pose corrections as well; otherwise they stay zero (a parameter that nothing uses could not be shared
        among processes).
    """

    def __init__(self, count: int, latent: int, *, poses: bool = True) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(count, latent))
        self.turn = nn.Parameter(torch.zeros(count, 3), requires_grad=poses)
        self.shift = nn.Parameter(torch.zeros(count, 2), requires_grad=poses)

    def forward(self, batch: ImageBatch) -> Latents:
        """Latents of the particles of a batch."""
        return self.rows(batch.index)

    def rows(self, index: Tensor) -> Latents:
        """Latents of particles (b,)."""
        return Latents(
            _GAIN * self.latent[index],
            _GAIN * _TURN_UNIT * self.turn[index],
            _GAIN * _SHIFT_UNIT * self.shift[index],
        )

    @torch.no_grad()
    def set(self, latents: Latents) -> None:
        """Start from known latents of all particles."""
        self.latent.copy_(latents.mean / _GAIN)
        self.turn.copy_(latents.turn / (_GAIN * _TURN_UNIT))
        self.shift.copy_(latents.shift / (_GAIN * _SHIFT_UNIT))


class Encoder(nn.Module):
    """Vision transformer from an image to its latent and pose correction.

    Parameters
    ----------
    box
        px.
    latent
        Numbers per particle.
    shape
        Size of the transformer.
    informed
        See `settings.CryoVitSettings`.
    """

    def __init__(self, box: int, latent: int, shape: VitShape, *, informed: bool) -> None:
        super().__init__()
        self.box, self.latent, self.informed = box, latent, informed
        self.transformer = VisionTransformer(box, 1 + informed, shape, known=9 if informed else 0)
        self.head = nn.Linear(shape.width, 2 * latent + 8)
        nn.init.normal_(self.head.weight, std=_HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: ImageBatch, expected: Tensor | None) -> Latents:
        """Latents of images.

        Parameters
        ----------
        batch
            Images.
        expected
            Coefficients of the undeformed reference in the given poses, CTF applied, where the encoder is informed.
        """
        images, rotation, back = self._views(batch, expected)
        numbers = self.head(self.transformer(images, rotation.flatten(1) if self.informed else None)).float()
        mean, log_std, turn, turn_log_std, shift = numbers.split([self.latent, self.latent, 3, 3, 2], -1)
        turn, shift = _applied(back, turn), _applied(back[:, :2, :2], shift)  # in the frame of the image as it was
        return Latents(
            mean,
            _TURN_UNIT * turn,
            _SHIFT_UNIT * shift,
            _START_LOG_STD + log_std,
            _START_LOG_STD + math.log(_TURN_UNIT) + turn_log_std,
        )

    def _views(self, batch: ImageBatch, expected: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Images (b, c, box, box) to look at, their poses, and the rotations that undo how they were turned.

        What the given pose says of an image need not be learned: it is centred, and turned in its plane so that all
        images of one viewing direction look alike. In training it is turned a little more, differently each time.
        """
        views = [filtered_images(batch, batch.data, self.box)]
        if self.informed and expected is not None:
            views.append(filtered_images(batch, expected, self.box))
        angle = upright_angle(batch.rotation)
        if self.training:
            angle = angle + math.radians(_WOBBLE_DEG) * (2.0 * torch.rand_like(angle) - 1.0)
        plane = about_the_beam(angle)
        with torch.autocast(angle.device.type, enabled=False):
            images = turned(torch.stack(views, 1), angle)
            return images, plane @ batch.rotation, plane.transpose(-1, -2)


def _applied(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix * vector[:, None]).sum(-1)  # no matrix product, which mixed precision would round
