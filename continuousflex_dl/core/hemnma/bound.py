"""The smallest error that images allow: the Cramer-Rao bound of pose and amplitudes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..conventions import matrix_from_euler
from ..errors import InputError
from ..io.particle_table import ParticleTable
from .calibrate import fit_width
from .pipeline import Hemnma
from .prior import AmplitudePrior
from .refine import Hypotheses, Refiner


@dataclass(frozen=True)
class Bound:
    """Least standard deviations of an unbiased estimate, for each of n images.

    amplitudes (n, M) Å; angle_deg (n,) and shift_angst (n,) per axis (root mean square over axes).
    """

    amplitudes: np.ndarray
    angle_deg: np.ndarray
    shift_angst: np.ndarray


def cramer_rao(hemnma: Hemnma, truth: ParticleTable) -> Bound:
    """Bound from the Fisher information at the truth, the scale of each image unknown.

    The noise is that of the background of the images, and the width of an atom the one that fits the images best at
    the true poses; nothing is known of amplitudes and poses beforehand.

    Parameters
    ----------
    hemnma
        Particles and modes; it is calibrated anew here.
    truth
        True poses and amplitudes of the same particles in the same order.

    Raises
    ------
    InputError
        If the truth lacks poses or the amplitudes of the modes.
    """
    numbers = [int(number) for number in hemnma.modes.indices]
    if truth.euler_deg is None or truth.shift_angst is None or not all(n in truth.amplitudes for n in numbers):
        raise InputError(
            f"{truth.source}: found no poses or not the amplitudes of modes {numbers}; give the truth.star of a "
            "simulation along these modes"
        )
    amplitudes = np.stack([truth.amplitudes[number] for number in numbers], axis=1)
    hemnma.use(replace(hemnma.calibrate(measure=False), covariance=None))
    flat = AmplitudePrior(np.zeros(len(numbers)), None)
    covariances = []
    for portion in np.array_split(np.arange(len(truth)), max(1, len(truth) // 8)):
        group = int(hemnma.group[portion[0]])
        portion = portion[hemnma.group[portion] == group]
        observation = hemnma.observe(portion, group)
        columns = (
            matrix_from_euler(truth.euler_deg[portion]),
            -truth.shift_angst[portion] / hemnma.pixel_sizes[group],
            amplitudes[portion],
        )
        pose = [torch.as_tensor(values, dtype=torch.float32, device=hemnma.device) for values in columns]
        reference = hemnma.reference(float(hemnma.modes.sigma))
        reference = replace(reference, sigma=fit_width(reference, observation, *pose))
        refiner = Refiner(reference, observation, flat)
        index = torch.arange(len(portion), device=hemnma.device)
        covariance, _, variance = refiner.covariance(Hypotheses.start(index, *pose))
        covariance = covariance / variance.double()[:, None, None]
        covariance[:, 3:5] *= hemnma.pixel_sizes[group]
        covariance[:, :, 3:5] *= hemnma.pixel_sizes[group]
        covariances.append(torch.diagonal(covariance, dim1=-2, dim2=-1).cpu().numpy())
    variances = np.concatenate(covariances)
    return Bound(
        np.sqrt(variances[:, 5:]),
        np.rad2deg(np.sqrt(variances[:, :3].mean(-1))),
        np.sqrt(variances[:, 3:5].mean(-1)),
    )
