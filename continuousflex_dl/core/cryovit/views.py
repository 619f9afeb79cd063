"""Real-space images for a network to look at, from whitened coefficients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .images import ImageBatch


def filtered_images(batch: ImageBatch, coefficients: Tensor, box: int, *, corrected: bool = True) -> Tensor:
    """Images (b, box, box) of mean 0 and standard deviation 1.

    Parameters
    ----------
    batch
        The particles: CTF, noise, shifts.
    coefficients
        (b, 2, 2, K + 1, K + 1) in the layout of `Quadrants`.
    box
        px.
    corrected
        Multiply by the transfer function (the matched filter: what is strong is then signal) and move the particle to
        the centre by its given shift.
    """
    if corrected:
        coefficients = coefficients * batch.transfer[:, None]
    full = half_plane(coefficients, box)
    if corrected:
        full = full * _shift(batch, box)
    images = torch.fft.fftshift(torch.fft.irfft2(full, s=(box, box)), dim=(-2, -1))
    return images / images.flatten(1).std(-1).clamp(min=1e-12)[:, None, None]


def turned(images: Tensor, angle: Tensor) -> Tensor:
    """Images (b, c, box, box) turned in their plane about pixel ``box // 2``, as particles of other poses.

    Parameters
    ----------
    images
        To be turned.
    angle
        (b,) rad; the pose of a particle is turned with its image by `about_the_beam`.
    """
    box = images.shape[-1]
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    axis = torch.arange(box, device=images.device, dtype=images.dtype) - box // 2
    y, x = axis[:, None], axis
    source = torch.stack([cos * x + sin * y, cos * y - sin * x], -1)  # (b, box, box, 2), turned back
    grid = (2 * (source + box // 2) + 1) / box - 1  # as `grid_sample` counts
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def about_the_beam(angle: Tensor) -> Tensor:
    """Rotations (b, 3, 3) about z by angles (b,) in rad."""
    cos, sin, none = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    rows = [cos, -sin, none, sin, cos, none, none, none, none + 1]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def upright_angle(rotation: Tensor) -> Tensor:
    """Angle (b,) in rad by which images of poses (b, 3, 3) are turned so that z of the structure points along x.

    The image then shows the viewing direction alone.
    """
    return -torch.atan2(rotation[:, 1, 2], rotation[:, 0, 2])


def any_angle(count: int, device: torch.device) -> Tensor:
    """Random angles (count,) in rad, drawn like dropout from torch's own generator, which the loop seeds."""
    return 2 * math.pi * torch.rand(count, device=device)


def half_plane(coefficients: Tensor, box: int) -> Tensor:
    """Complex (b, box, box // 2 + 1), laid out as by `torch.fft.rfft2`, of coefficients laid out as `Quadrants`."""
    values = torch.complex(coefficients[:, 0], coefficients[:, 1])  # (b, 2, K + 1, K + 1)
    radius = values.shape[-1] - 1
    full = values.new_zeros(len(values), box, box // 2 + 1)
    full[:, : radius + 1, : radius + 1] = values[:, 0]
    full[:, box - radius :, 1 : radius + 1] = values[:, 1, 1:, 1:].flip(1)
    # on the axis kx = 0 only ky > 0 is stored; the rest is its mirror image
    full[:, box - radius :, 0] = values[:, 0, 1:, 0].conj().flip(1)
    return full


def _shift(batch: ImageBatch, box: int) -> Tensor:
    ky = torch.fft.fftfreq(box, device=batch.data.device)
    kx = torch.fft.rfftfreq(box, device=batch.data.device)
    x, y = batch.shift_px[:, 0, None, None], batch.shift_px[:, 1, None, None]
    angle = 2 * math.pi * (kx * x + ky[:, None] * y)
    return torch.polar(torch.ones_like(angle), angle)
