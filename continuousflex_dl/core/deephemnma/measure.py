"""How the images of a set look: noise, width of an atom, contrast; measured on particles whose pose is known."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..errors import InputError
from ..hemnma.reference import Reference
from ..imaging.fourier import image_to_disc
from ..imaging.noise import background_power, shell_average, without_plane
from .labels import Labels
from .rendering import ImageModel, Law, Renderer, clean_coefficients, disc_of, expected_power

_FLOOR = 1e-3  # of the mean power: images without noise
_SPECTRUM_IMAGES = 128


def measure(
    images: Tensor, transfer: Tensor | None, labels: Labels, reference: Reference, law: Law, pixel_size: float
) -> ImageModel:
    """Measure some images.

    The noise is that of the background. Width and contrast are those at which the model at the given poses explains the
    images best.

    Parameters
    ----------
    images
        (n, box, box) at the size of the network, white particles.
    transfer
        CTF (n, box, box // 2 + 1) that they passed through, or None.
    labels
        Their poses and amplitudes.
    reference
        Atoms.
    law
        Of the particles that the signal is the mean of.
    pixel_size
        Å.

    Raises
    ------
    InputError
        If the images are constant, or hold nothing that looks like the particle.
    """
    box = images.shape[-1]
    flat = without_plane(images, 0.45 * box)
    variance = float(flat.double().var(dim=(-2, -1)).mean())
    if variance <= 0:
        raise InputError("training: all images are constant; check the image files")
    radius = reference.radius / pixel_size + float(labels.shift_angst.abs().max()) / pixel_size
    noise = background_power(flat, radius).clamp(min=_FLOOR * variance * box**2)
    disc = disc_of(box, images.device)
    passed = torch.ones(len(images), box, box // 2 + 1, device=images.device) if transfer is None else transfer
    weight = noise.float()[disc.shell].rsqrt()
    data = image_to_disc(flat, disc) * weight
    bare = clean_coefficients(replace(reference, sigma=0.0), labels, disc, pixel_size)
    bare = bare * passed[:, disc.ky % box, disc.kx] * weight
    count = int(disc.shell.max()) + 1
    number = torch.bincount(disc.shell, minlength=count).double()
    cross = (shell_average((bare.conj() * data).real.double(), disc.shell, count) * number).sum(0)
    power = (shell_average((bare.real**2 + bare.imag**2).double(), disc.shell, count) * number).sum(0)
    s2 = (torch.arange(count, dtype=torch.float64, device=images.device) / (box * pixel_size)) ** 2

    def overlap(sigma: float) -> tuple[float, float]:
        form = torch.exp(-2 * math.pi**2 * sigma**2 * s2)
        return float(cross @ form), float(power @ form**2)

    def loss(sigma: float) -> float:
        gain, norm = overlap(sigma)
        return -(max(gain, 0.0) ** 2) / max(norm, 1e-30)

    bounds = (0.3 * reference.sigma, max(4.0 * reference.sigma, 2.0 * pixel_size))
    sigma = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x)
    gain, norm = overlap(sigma)
    if gain <= 0:
        raise InputError(
            "training: the images do not look like the reference at the given poses (negative correlation); give "
            "--invert-contrast for dark particles, and check that modes and particles belong together"
        )
    model = ImageModel(box, pixel_size, sigma, gain / norm, tuple(noise.tolist()), ())
    renderer = Renderer(reference, model)
    signal = expected_power(renderer, law, _SPECTRUM_IMAGES, torch.Generator().manual_seed(0))
    return replace(model, signal=tuple(signal.tolist()))
