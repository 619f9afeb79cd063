"""How far images are from their projections, and what latents and poses cost; all in nats per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def misfit(model: Tensor, data: Tensor) -> Tensor:
    """Negative logarithm of the likelihood, at the best scale of the model, less that of no particle.

    For whitened data and a scale that is not known this is half the squared correlation with the normalised model, so
    grey values of any scale and offset will do (the mean of an image is not among its coefficients). Where model and
    image are of opposite contrast it counts as a loss.

    Parameters
    ----------
    model, data
        (b, ...) coefficients; the data with noise of unit variance.

    Returns
    -------
    (b,); minus the number of nats that the particle explains.
    """
    model, data = model.flatten(1), data.flatten(1)
    overlap = (model * data).sum(-1)
    power = (model**2).sum(-1).clamp(min=1e-30)
    return -0.5 * overlap * overlap.abs() / power


def mean_square(model: Tensor, data: Tensor, scale: Tensor) -> Tensor:
    """Half the squared difference (b,) of image and model at one scale for all images (thesis, Eq. 27)."""
    return 0.5 * ((scale * model - data) ** 2).flatten(1).sum(-1)


def divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    """Kullback-Leibler divergence (b,) of a Gaussian with these parameters (b, d) from the standard one."""
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 2 * log_std - 1).sum(-1)


def pose_cost(vector: Tensor, shift_angst: Tensor, angle_std: float, shift_std: float) -> Tensor:
    """Cost (b,) of turning and shifting a given pose.

    Parameters
    ----------
    vector
        (b, 3) rotation vector, rad.
    shift_angst
        (b, 2).
    angle_std, shift_std
        Standard deviation expected about each axis (degrees) and along each (Å).
    """
    turned = (vector / math.radians(angle_std)) ** 2
    return 0.5 * turned.sum(-1) + 0.5 * ((shift_angst / shift_std) ** 2).sum(-1)
