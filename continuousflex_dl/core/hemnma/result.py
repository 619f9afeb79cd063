"""What an alignment says of the images of a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..imaging.rotations import euler_from_rotation
from .refine import Hypotheses


@dataclass(frozen=True)
class Result:
    """What is known of each image of a block; arrays over images.

    Attributes
    ----------
    euler_deg, shift_angst
        (n, 3), and (n, 2) as rlnOrigin.
    amplitudes, amplitude_std
        (n, M) Å of unit-norm modes.
    score
        (n,) normalised correlation.
    angle_std_deg, shift_std_angst
        (n,) predicted errors, per axis.
    confidence
        (n,) probability that the pose is within `posterior.NEAR_DEG` of the true one.
    alone
        (n,) weight of the best hypothesis among those about it.
    converged
        (n,) bool.
    covariance
        (n, 5 + M, 5 + M) float32 of the errors of rotation vector (rad, in the frame of the image), shift (px) and
        amplitudes.
    """

    euler_deg: np.ndarray
    shift_angst: np.ndarray
    amplitudes: np.ndarray
    amplitude_std: np.ndarray
    score: np.ndarray
    angle_std_deg: np.ndarray
    shift_std_angst: np.ndarray
    confidence: np.ndarray
    alone: np.ndarray
    converged: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(
        cls,
        answer: Hypotheses,
        covariance: Tensor,
        score: Tensor,
        confidence: np.ndarray,
        alone: np.ndarray,
        converged: np.ndarray,
        pixel_size: float,
    ) -> Result:
        """From one hypothesis of each image, in the order of the images, and the covariance (n, P, P) of its errors.

        Parameters other than these two are attributes; `pixel_size` is in Å.
        """
        std = torch.sqrt(torch.diagonal(covariance, dim1=-2, dim2=-1).clamp(min=0)).cpu().numpy()
        return cls(
            euler_deg=euler_from_rotation(answer.rotation),
            shift_angst=-answer.shift_px.cpu().double().numpy() * pixel_size,
            amplitudes=answer.amplitudes.cpu().double().numpy(),
            amplitude_std=std[:, 5:],
            score=score.cpu().double().numpy(),
            angle_std_deg=angle_std_deg(covariance),
            shift_std_angst=np.sqrt((std[:, 3:5] ** 2).mean(-1)) * pixel_size,
            confidence=confidence,
            alone=alone,
            converged=converged,
            covariance=covariance.cpu().float().numpy(),
        )


def angle_std_deg(covariance: Tensor) -> np.ndarray:
    """Predicted error (n,) of the orientation about an axis, degrees, the mean over the axes."""
    variance = torch.diagonal(covariance, dim1=-2, dim2=-1)[:, :3].clamp(min=0)
    return np.rad2deg(variance.mean(-1).sqrt().cpu().numpy())
