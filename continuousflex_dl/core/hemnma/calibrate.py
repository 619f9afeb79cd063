"""What is measured on a few aligned images before the whole set is aligned: width of an atom, and model error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import chi2
from torch import Tensor

from ..imaging.gaussian import form_factor, project
from ..imaging.noise import shell_average
from .observation import Observation
from .prior import AmplitudePrior
from .reference import Reference
from .refine import Hypotheses, Refiner

LARGEST_INFLATION = 5.0
_WIDTH_ROUNDS = 5  # what is in excess depends a little on the width itself
_PROBE_SPACING = 3.0  # Å, of the blobs that stand for atoms where only the size of errors is wanted
# share of the model error in the variance of chosen modes over that of stiff ones: 2.4 and 2.9 on two trajectories
# (DIMS and TMD of adenylate kinase, six modes)
_SOFTER = 2.5
_OUTLIER = 2.5  # standard deviations; what is beyond counts as this: a wrong pose says nothing of the model


def fit_width(
    reference: Reference,
    observation: Observation,
    rotation: Tensor,
    shift_px: Tensor,
    amplitudes: Tensor,
    *,
    prior: AmplitudePrior | None = None,
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
    prior
        That the images were aligned with; without one, the poses are those of the truth. An aligned model has followed
        the noise a little and correlates with it, most where there is least signal, so that the atoms would come out
        too sharp (1.90 instead of 2.19 Å at SNR 0.1) and every predicted error too small. What the parameters follow
        of the noise is in excess, less half as much of the signal, which their errors lose.
    """
    disc, pixel = observation.disc, observation.pixel_size
    shells = int(disc.shell.max()) + 1
    form, excess = _excess(reference, observation, rotation, shift_px, amplitudes, prior)
    cross, power = [], []
    for index, points in _projections(reference, observation, rotation, shift_px, amplitudes):
        data = observation.data[index]
        cross.append(shell_average((points.conj() * data).real.double(), disc.shell, shells))
        power.append(shell_average((points.real**2 + points.imag**2).double(), disc.shell, shells))
    count = torch.bincount(disc.shell, minlength=shells).double()
    overlap, norm = torch.cat(cross) * count, torch.cat(power) * count
    s2 = (torch.arange(shells, dtype=torch.float64, device=count.device) / (disc.box * pixel)) ** 2

    def shape(width: float) -> Tensor:
        return torch.exp(-2 * math.pi**2 * width**2 * s2)

    low, high = 0.3 * reference.sigma, max(4.0 * reference.sigma, 2.0 * pixel)
    width = reference.sigma
    for _ in range(1 if prior is None else _WIDTH_ROUNDS):
        now = shape(width)
        scale = (overlap @ now).clamp(min=0) / (norm @ now**2).clamp(min=1e-30)
        fair = overlap - excess * (1.0 - 0.5 * (scale[:, None] * now / form).clamp(max=1.0))

        def loss(value: float, fair: Tensor = fair) -> float:
            form = shape(value)
            return -float(((fair @ form).clamp(min=0) ** 2 / (norm @ form**2).clamp(min=1e-30)).sum())

        width = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x)
    return width


def _excess(
    reference: Reference,
    observation: Observation,
    rotation: Tensor,
    shift_px: Tensor,
    amplitudes: Tensor,
    prior: AmplitudePrior | None,
) -> tuple[Tensor, Tensor]:
    """What being fitted to the noise does to the overlap of image and point atoms.

    Returns
    -------
    (B, shells) scale times form factor that the images were aligned with, and (B, shells) overlap with the noise.
    """
    disc = observation.disc
    shells = int(disc.shell.max()) + 1
    if prior is None:
        nothing = torch.zeros(len(observation), shells, dtype=torch.float64, device=rotation.device)
        return nothing + 1.0, nothing
    refiner = Refiner(reference, observation, prior)
    form = shell_average(form_factor(disc, reference.sigma, observation.pixel_size)[None].double(), disc.shell, shells)
    forms, excess = [], []
    for index in torch.arange(len(rotation), device=rotation.device).split(4):
        h = Hypotheses.start(index, rotation[index], shift_px[index], amplitudes[index])
        followed, scale = refiner.leverage(h)
        forms.append(scale[:, None].double() * form.clamp(min=1e-6))
        excess.append(followed / forms[-1])
    return torch.cat(forms), torch.cat(excess)


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


def probe_inflation(
    reference: Reference,
    probes: Reference,
    observation: Observation,
    prior: AmplitudePrior,
    rotation: Tensor,
    shift_px: Tensor,
    amplitudes: Tensor,
    *,
    threads: int = 1,
) -> float:
    """How much larger the errors of amplitudes are than the noise alone explains: a factor on standard deviations.

    A real particle also moves in ways that the chosen modes cannot follow, and the fit makes up for it with the modes
    that it has. Stiff modes show how much: they hardly move in truth, so what the fit would make of them is error. The
    chosen modes are softer and take up more of it, `_SOFTER` times the variance. One step of the fit tells: more steps
    follow the noise of faint particles along a flat likelihood (1.23 at SNR 0.03 where nothing is wrong but noise).

    Parameters
    ----------
    reference
        With the chosen modes.
    probes
        The same atoms with stiff modes only.
    observation
        B images.
    prior
        Of the chosen modes.
    rotation, shift_px, amplitudes
        The aligned pose of each image.
    threads
        That work side by side.

    Returns
    -------
    Between 1 and `LARGEST_INFLATION`, whatever the noise of the observation counts already.
    """
    disc = observation.disc
    # blobs too coarse for the images would be a model error themselves
    spacing = min(_PROBE_SPACING, 0.67 * disc.box * observation.pixel_size / disc.radius)
    both = replace(reference, vectors=torch.cat([reference.vectors, probes.vectors])).coarsened(spacing)
    m, p = reference.n_modes, probes.n_modes
    free = np.zeros((m + p, m + p))
    free[m:, m:] = np.eye(p) * (10.0 * reference.amplitude_unit) ** 2  # the probes are as good as free
    free[:m, :m] = np.eye(m) * 1e12 if prior.covariance is None else prior.covariance
    refiner = Refiner(both, observation, AmplitudePrior(np.concatenate([prior.mean, np.zeros(p)]), free))

    def ratios(index: Tensor) -> Tensor:
        start = torch.cat([amplitudes[index], torch.zeros(len(index), p).to(amplitudes)], 1)
        return refiner.pull(Hypotheses.start(index, rotation[index], shift_px[index], start), p)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        found = list(pool.map(ratios, torch.arange(len(observation), device=rotation.device).split(4)))
    total = observation.inflation * _robust_std(torch.cat(found).cpu().numpy())
    factor = math.sqrt(1.0 + _SOFTER * max(total**2 - 1.0, 0.0))
    return min(factor, LARGEST_INFLATION)


def _robust_std(values: np.ndarray) -> float:
    """Standard deviation of numbers of mean zero, a few of which are from elsewhere (Huber's proposal 2)."""
    limit = _OUTLIER**2
    # of a standard normal number: the mean of the square, cut off at the limit
    expected = chi2.cdf(limit, 3) + limit * chi2.sf(limit, 1)
    variance = max(float(np.median(values**2) / chi2.median(1)), 1e-12)
    for _ in range(20):
        variance *= max(float(np.minimum(values**2 / variance, limit).mean() / expected), 1e-3)
    return math.sqrt(variance)


def _projections(
    reference: Reference, observation: Observation, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Point-atom projections through the transfer function: index of some images (k,), coefficients (k, F)."""
    for index in torch.arange(len(observation), device=rotation.device).split(8):
        rotated = reference.deformed(amplitudes[index]) @ rotation[index].transpose(-1, -2) / observation.pixel_size
        x, y = rotated[..., 0] + shift_px[index, 0, None], rotated[..., 1] + shift_px[index, 1, None]
        yield index, project(x, y, reference.weights, observation.disc) * observation.transfer[index]
