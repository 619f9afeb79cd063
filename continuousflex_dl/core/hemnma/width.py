"""Width of an atom as the images show it, by maximum likelihood."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..imaging.gaussian import project
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
    for index in torch.arange(len(observation), device=rotation.device).split(8):
        x, y, _ = (reference.deformed(amplitudes[index]) @ rotation[index].transpose(-1, -2) / pixel).unbind(-1)
        points = (
            project(x + shift_px[index, 0, None], y + shift_px[index, 1, None], reference.weights, disc)
            * observation.transfer[index]
        )
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
