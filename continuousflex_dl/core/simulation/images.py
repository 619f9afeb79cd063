"""From atoms to noisy images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..imaging.ctf import CtfBatch, ctf


def rasterise(points: Tensor, weights: Tensor, sigma_angst: float, box: int, pixel_size: float) -> Tensor:
    """Images of Gaussian atoms, integrated over square pixels.

    Parameters
    ----------
    points
        (n, N, 2) x, y in Å from the centre of the box.
    weights
        (N,) projected mass.
    sigma_angst
        Width of an atom.
    box, pixel_size
        px and Å.

    Returns
    -------
    (n, box, box); the sum of an image is that of the weights, as far as the atoms are in the box.
    """
    edges = (torch.arange(box + 1, device=points.device, dtype=points.dtype) - box // 2 - 0.5) * pixel_size
    below = torch.erf((edges - points[..., None]) / (math.sqrt(2.0) * sigma_angst))  # (n, N, 2, box + 1)
    inside = 0.5 * (below[..., 1:] - below[..., :-1])
    along_x, along_y = inside[:, :, 0], inside[:, :, 1]
    return along_y.transpose(1, 2) @ (weights[:, None] * along_x)


def project_atoms(
    coordinates: Tensor,
    weights: Tensor,
    rotation: Tensor,
    shift_px: Tensor,
    sigma_angst: float,
    box: int,
    pixel_size: float,
) -> Tensor:
    """Noise-free images (n, box, box) of structures.

    Parameters
    ----------
    coordinates
        (n, N, 3) Å, the origin projecting to pixel box // 2 where the shift is zero.
    weights
        (N,).
    rotation
        (n, 3, 3), x_image = R x_reference.
    shift_px
        (n, 2) by which the particle is off the centre (minus the RELION origin).
    sigma_angst, box, pixel_size
        See `rasterise`.
    """
    rotated = coordinates @ rotation.transpose(-1, -2)
    return rasterise(rotated[..., :2] + shift_px[:, None] * pixel_size, weights, sigma_angst, box, pixel_size)


def ctf_on_grid(parameters: CtfBatch, box: int, pixel_size: float) -> Tensor:
    """CTF (n, box, box // 2 + 1) on the half grid of `torch.fft.rfft2`."""
    device = parameters.voltage_kv.device
    fy = torch.fft.fftfreq(box, d=pixel_size, device=device, dtype=torch.float64)
    fx = torch.fft.rfftfreq(box, d=pixel_size, device=device, dtype=torch.float64)
    frequency = torch.stack(torch.broadcast_tensors(fx[None, :], fy[:, None]), -1).reshape(-1, 2)
    return ctf(parameters, frequency).unflatten(-1, (box, box // 2 + 1))


def filter_images(images: Tensor, transfer: Tensor) -> Tensor:
    """Multiply the transforms of images (n, box, box) by real factors (n, box, box // 2 + 1)."""
    return torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])


def add_noise(images: Tensor, transfer: Tensor | None, snr: float, generator: torch.Generator) -> Tensor:
    """Apply the CTF and add white noise, half of its power before the CTF and half after.

    The signal-to-noise ratio is the variance of the noise-free, CTF-multiplied image over the whole box, over the
    variance of all noise in the final image, for every image by itself.

    Parameters
    ----------
    images
        (n, box, box), no CTF yet.
    transfer
        (n, box, box // 2 + 1) CTF, or None.
    snr
        Signal-to-noise ratio.
    generator
        Source of the noise.
    """
    signal = images if transfer is None else filter_images(images, transfer)
    noise_variance = signal.var(dim=(-2, -1), keepdim=True) / snr
    before, after = (
        torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device) for _ in range(2)
    )
    half = torch.sqrt(noise_variance / 2)
    if transfer is None:
        return signal + half * (before + after)
    passed = filter_images(before, transfer)
    passed = passed / passed.std(dim=(-2, -1), keepdim=True)
    return signal + half * (passed + after)
