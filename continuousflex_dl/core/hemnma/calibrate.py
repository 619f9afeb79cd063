"""What is measured on a few aligned images before the whole set is aligned: width of an atom, and model error."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..imaging.gaussian import form_factor, project
from ..imaging.noise import shell_average
from .observation import Observation
from .reference import Reference


def fit_width(
    reference: Reference, observation: Observation, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor
) -> float:
    """Gaussian width in Å at which the aligned model explains a block of images best.

    The width of an atom in a file is a guess: interpolation, detector and processing blur the images further. At given
    poses the likelihood depends on the width through two numbers per resolution shell and image only.

    Parameters
    ----------
    reference
        Atoms.
    observation
        B images.
    rotation, shift_px, amplitudes
        (B, 3, 3), (B, 2), (B, M): the aligned pose of each image.
    """
    disc, pixel = observation.disc, observation.pixel_size
    shells = int(disc.shell.max()) + 1
    cross, power = [], []
    for index, points in _projections(reference, observation, rotation, shift_px, amplitudes):
        data = observation.data[index]
        cross.append(shell_average((points.conj() * data).real.double(), disc.shell, shells))
        power.append(shell_average((points.real**2 + points.imag**2).double(), disc.shell, shells))
    count = torch.bincount(disc.shell, minlength=shells).double()
    overlap, norm = torch.cat(cross) * count, torch.cat(power) * count
    s2 = (torch.arange(shells, dtype=torch.float64, device=count.device) / (disc.box * pixel)) ** 2

    def loss(width: float) -> float:
        form = torch.exp(-2 * math.pi**2 * width**2 * s2)
        return -float(((overlap @ form).clamp(min=0) ** 2 / (norm @ form**2).clamp(min=1e-30)).sum())

    low, high = 0.3 * reference.sigma, max(4.0 * reference.sigma, 2.0 * pixel)
    return float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x)


def residual_power(
    reference: Reference, observation: Observation, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor
) -> Tensor:
    """Power per shell that the aligned model leaves in the images, over the power of the noise: 1 is noise alone.

    What is above 1 is model error: the particle does not move along the modes only, and its atoms are not where the
    reference has them. Counted as noise, it stops fine detail that the model gets wrong from steering the alignment
    (the same re-estimation of the noise from residuals is part of maximum-likelihood refinement in 3D reconstruction).

    Parameters are those of `fit_width`; the reference has its fitted width.

    Returns
    -------
    (shells,) float64, averaged over neighbouring shells; shell 0 repeats shell 1.
    """
    disc = observation.disc
    shells = int(disc.shell.max()) + 1
    form = form_factor(disc, reference.sigma, observation.pixel_size)
    total = torch.zeros(shells, dtype=torch.float64, device=rotation.device)
    for index, points in _projections(reference, observation, rotation, shift_px, amplitudes):
        model, data = points * form, observation.data[index]
        norm = (model.real**2 + model.imag**2).sum(-1).clamp(min=1e-30)
        scale = ((model.conj() * data).real.sum(-1) / norm).clamp(min=0)
        residual = data - scale[:, None] * model
        total += shell_average((residual.real**2 + residual.imag**2).double(), disc.shell, shells).sum(0)
    ratio = total / (2 * len(observation))  # real and imaginary parts have unit variance
    ratio[0] = ratio[1]
    padded = torch.cat([ratio[:1], ratio, ratio[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _projections(
    reference: Reference, observation: Observation, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Point-atom projections through the transfer function: index of some images (k,), coefficients (k, F)."""
    for index in torch.arange(len(observation), device=rotation.device).split(8):
        rotated = reference.deformed(amplitudes[index]) @ rotation[index].transpose(-1, -2) / observation.pixel_size
        x, y = rotated[..., 0] + shift_px[index, 0, None], rotated[..., 1] + shift_px[index, 1, None]
        yield index, project(x, y, reference.weights, observation.disc) * observation.transfer[index]
