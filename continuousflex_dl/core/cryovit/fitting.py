"""Latents and poses of particles under a trained decoder, by fitting each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import NonFiniteError
from ..imaging.rotations import euler_from_rotation
from .images import ImageBatch, ParticleImages
from .latents import Latents, LatentTable
from .model import CryoVit

# (steps, times the finest resolution): from nothing known, and from what an encoder or a training has found
FROM_SCRATCH = ((15, 2.4), (15, 1.6), (30, 1.0))
POLISH = ((15, 1.0),)
_RATE = 0.004
_BETAS = (0.8, 0.98)  # short memory: the fit has a few dozen steps
_FALL = 0.1  # to which share the rate falls over the last half


@dataclass(frozen=True, eq=False)
class Fitted:
    """Of some particles.

    Attributes
    ----------
    latent
        (b, d).
    coordinates
        (b, N, 3) nodes in the frame of the structure file's centre, Å.
    euler_deg, shift_angst
        (b, 3), (b, 2) refined poses as a particle file holds them.
    score
        (b,) normalised correlation of image and projection.
    """

    latent: np.ndarray
    coordinates: np.ndarray
    euler_deg: np.ndarray
    shift_angst: np.ndarray
    score: np.ndarray


def fit(
    model: CryoVit,
    images: ParticleImages,
    rows: np.ndarray,
    schedule: Sequence[tuple[int, float]] = FROM_SCRATCH,
    *,
    encode: bool = True,
) -> Fitted:
    """Find the structures and poses of particles.

    Parameters
    ----------
    model
        Trained.
    images
        To be explained.
    rows
        Which of them, (b,).
    schedule
        Steps of refinement and their resolutions; none takes what the encoder says.
    encode
        Start from what the model says of these images; otherwise from the undeformed mean.

    Raises
    ------
    NonFiniteError
        If a particle gives no finite number.
    """
    model.eval()
    batch = images.batch(rows)
    if encode:
        with torch.no_grad():
            found = model.encode(batch)
            start = Latents(found.mean, found.turn, found.shift)
    else:
        device = batch.data.device
        start = Latents(
            *(torch.zeros(len(batch), size, device=device) for size in (model.settings.latent, 3, 2)),
        )
    latents = refine(model, images, batch, start, schedule)
    return _answer(model, images, batch, latents)


def refine(
    model: CryoVit, images: ParticleImages, batch: ImageBatch, start: Latents, schedule: Sequence[tuple[int, float]]
) -> Latents:
    """Fit latents and poses to images with the decoder held fast, from a start."""
    table = LatentTable(len(batch), model.settings.latent, poses=model.settings.refine_poses).to(batch.data.device)
    table.set(start)
    every = torch.arange(len(batch), device=batch.data.device)
    free = [parameter for parameter in table.parameters() if parameter.requires_grad]
    total = sum(steps for steps, _ in schedule)
    optimizer = torch.optim.Adam(free, lr=_RATE, betas=_BETAS)
    done = 0
    for steps, factor in schedule:
        seen = batch.inner(images.radius_at(factor * model.settings.resolution))
        for _ in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * _rate(done / total)
            cost = model.cost(seen, table.rows(every))["total"].sum()
            gradients = torch.autograd.grad(cost, free)  # the decoder is left alone
            for parameter, gradient in zip(free, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            done += 1
    with torch.no_grad():
        return table.rows(every)


def _rate(done: float) -> float:
    falling = max(0.0, 2 * done - 1)
    return _FALL + (1 - _FALL) * 0.5 * (1 + math.cos(math.pi * falling))


@torch.no_grad()
def _answer(model: CryoVit, images: ParticleImages, batch: ImageBatch, latents: Latents) -> Fitted:
    latent, turn = latents.sample()
    displacement, _ = model.decoder(latent)
    rotation, shift_px = model.posed(batch, latents, turn)
    image = model.image(batch, displacement, rotation, shift_px)
    score = correlation(image, batch.data)
    shift = -(shift_px * batch.pixel_size[:, None])
    values = {"latent": latent, "structure": displacement, "rotation": rotation, "shift": shift, "score": score}
    refuse_non_finite(images, batch, values)
    return Fitted(
        latent.cpu().numpy(),
        (model.terms.nodes + displacement).cpu().numpy(),
        euler_from_rotation(rotation),
        shift.double().cpu().numpy(),
        score.double().cpu().numpy(),
    )


def refuse_non_finite(images: ParticleImages, batch: ImageBatch, values: dict[str, Tensor]) -> None:
    """Raise NonFiniteError where a value (b, ...) of a particle is not finite."""
    for name, value in values.items():
        finite = torch.isfinite(value).reshape(len(value), -1).all(1)
        if not bool(finite.all()):
            row = int(batch.index[int((~finite).nonzero()[0])])
            raise NonFiniteError(
                f"{images.table.source}: particle {row + 1} ({images.table.image_name[row]}): its {name} is not "
                "finite; check the image, or train the network again"
            )


def correlation(model: Tensor, data: Tensor) -> Tensor:
    """Normalised correlation (b,) of coefficients (b, ...)."""
    model, data = model.flatten(1), data.flatten(1)
    return (model * data).sum(-1) / (model.norm(dim=-1) * data.norm(dim=-1)).clamp(min=1e-30)
