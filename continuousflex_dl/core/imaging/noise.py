"""Noise of particle images: power per resolution shell, measured where there is no particle."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_disc(box: int, radius_px: float, edge_px: float, device: torch.device | str = "cpu") -> Tensor:
    """Mask (box, box): 1 inside a radius, 0 beyond radius + edge, a cosine between; centre at box // 2."""
    axis = torch.arange(box, device=device) - box // 2
    distance = torch.sqrt((axis[:, None] ** 2 + axis**2).float())
    return 0.5 + 0.5 * torch.cos(torch.pi * ((distance - radius_px) / max(edge_px, 1e-6)).clamp(0, 1))


def without_plane(images: Tensor, radius_px: float) -> Tensor:
    """Images (n, box, box) less a plane through their background: ice of uneven thickness.

    Parameters
    ----------
    images
        (n, box, box).
    radius_px
        Radius of the circle that holds the particles; at most the half box counts, because the corners are always left.
    """
    box = images.shape[-1]
    axis = (torch.arange(box, device=images.device) - box // 2).to(images) / box
    outside = (1 - soft_disc(box, min(radius_px, 0.5 * box - 2.0), 0.0, images.device)).to(images)
    basis = torch.stack([torch.ones(box, box).to(images), axis.expand(box, box), axis[:, None].expand(box, box)])
    basis = basis.flatten(1).double()  # (3, box box)
    weighted = basis * outside.flatten().double()
    plane = torch.linalg.solve(weighted @ basis.T, weighted @ images.flatten(1).double().T)  # (3, n)
    return images - (plane.T @ basis).reshape(images.shape).to(images)


def shell_average(values: Tensor, shell: Tensor, count: int) -> Tensor:
    """Mean of values (..., F) over shells of frequencies: (..., count), with shell (F,) the index of each."""
    total = torch.zeros(*values.shape[:-1], count, dtype=values.dtype, device=values.device).index_add_(
        -1, shell, values
    )
    number = torch.zeros(count, dtype=values.dtype, device=values.device).index_add_(
        0, shell, torch.ones_like(shell, dtype=values.dtype)
    )
    return total / number.clamp(min=1)


def background_power(images: Tensor, radius_px: float) -> Tensor:
    """Noise power per shell, from the part of the images outside the particle.

    Parameters
    ----------
    images
        (n, box, box).
    radius_px
        Radius of the circle that holds the particles, shifts included; at most the half box counts, because the
        corners are always left.

    Returns
    -------
    (box // 2 + 1,) float64: mean over images of |coefficient|^2, scaled to the whole box. Shell 0 repeats shell 1.
    """
    box = images.shape[-1]
    edge = max(2.0, 0.05 * box)
    outside = 1 - soft_disc(box, min(radius_px, 0.5 * box - edge), edge, images.device)
    mean = (images * outside).sum((-2, -1), keepdim=True) / outside.sum()
    transform = torch.fft.rfft2(((images - mean) * outside).double())
    ky = torch.fft.fftfreq(box, device=images.device) * box
    kx = torch.fft.rfftfreq(box, device=images.device) * box
    shell = torch.sqrt(ky[:, None] ** 2 + kx**2).round().long()
    inside = shell <= box // 2
    power = (transform.abs() ** 2).mean(0) * box**2 / (outside.double() ** 2).sum()
    spectrum = shell_average(power[inside], shell[inside], box // 2 + 1)
    spectrum[0] = spectrum[1]
    return spectrum
