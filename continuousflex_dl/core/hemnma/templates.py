"""Global search: every orientation, shift and a few conformations, scored as matrix products.

All shifts of an image against all orientations is the expensive part, so it is done for one conformation only, the
middle one; the other conformations are tried at the better orientations, with the shift found there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from ..imaging.fourier import Disc, shift_phase
from ..imaging.gaussian import form_factor, project
from .observation import Observation, as_real
from .reference import Reference

_TRIED = 4  # one in so many orientations is tried in all conformations


@dataclass(frozen=True)
class Templates:
    """Projections of deformed references on a grid of orientations.

    Attributes
    ----------
    rotations
        (T, 3, 3).
    conformations
        (K, M) amplitudes; the first is the middle of the others.
    coefficients
        (K, T, 2 F) real and imaginary parts, form factor included, no CTF.
    power
        (K, T, F) squared modulus.
    disc
        Frequencies.
    quick
        (T, 2 F) the first conformation in the number format of the large matrix product.
    """

    rotations: Tensor
    conformations: Tensor
    coefficients: Tensor
    power: Tensor
    disc: Disc
    quick: Tensor

    @classmethod
    def make(
        cls,
        reference: Reference,
        rotations: Tensor,
        conformations: Tensor,
        disc: Disc,
        pixel_size: float,
        dtype: torch.dtype = torch.float32,
        threads: int = 1,
    ) -> Templates:
        """Project `reference` in every conformation and orientation; `dtype` is that of the large product."""
        form = form_factor(disc, reference.sigma, pixel_size)
        rotations = rotations.to(reference.coordinates)
        shapes = reference.deformed(conformations) / pixel_size
        parts = [(points, chunk) for points in shapes for chunk in rotations.split(512)]

        def rows(part: tuple[Tensor, Tensor]) -> Tensor:
            points, chunk = part
            x, y = (torch.einsum("nc,tc->tn", points, chunk[:, axis]) for axis in (0, 1))
            return as_real(project(x, y, reference.weights, disc) * form)

        with ThreadPoolExecutor(max_workers=threads) as pool:
            coefficients = list(pool.map(rows, parts))
        stacked = torch.cat(coefficients).unflatten(0, (len(conformations), -1))
        real, imaginary = stacked.chunk(2, dim=-1)
        return cls(rotations, conformations, stacked, real**2 + imaginary**2, disc, stacked[0].to(dtype))


@dataclass(frozen=True)
class Candidates:
    """Best templates of each image, best first.

    Attributes
    ----------
    rotation
        (B, H, 3, 3).
    shift_px
        (B, H, 2).
    amplitudes
        (B, H, M).
    gain
        (B, H) log-likelihood gained over no particle at all, at the best scale.
    """

    rotation: Tensor
    shift_px: Tensor
    amplitudes: Tensor
    gain: Tensor


def shift_grid(max_shift_px: float, step_px: float) -> Tensor:
    """Square grid (S, 2) of shifts from -max to max in px, the centre included."""
    count = int(max_shift_px // step_px)
    axis = torch.arange(-count, count + 1) * (max_shift_px / count if count else 0.0)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def search(templates: Templates, observation: Observation, shifts_px: Tensor, keep: int) -> Candidates:
    """Score all templates at all shifts and keep the best.

    The score is the likelihood at the best non-negative scale, max(0, <image, model>)^2 / (2 |model|^2): one matrix
    product for the numerator over images x shifts and templates, one for the norm, in which only the CTF matters.

    Parameters
    ----------
    templates
        On the disc of `observation`.
    observation
        B images.
    shifts_px
        (S, 2).
    keep
        Orientations kept per image, each in its best conformation.
    """
    images, count = len(observation), len(templates.rotations)
    moved = _moved(observation, shifts_px)
    weight = observation.transfer**2
    correlation, shift = _correlation(templates, moved).max(dim=1)
    _, tried = _gain(correlation.float(), weight @ templates.power[0].T).topk(
        max(min(keep, count), count // _TRIED), dim=1
    )
    shift = shift.gather(1, tried)  # (B, Q)
    gains = torch.empty(images, len(templates.conformations), tried.shape[1], device=weight.device)
    for image in range(images):  # one at a time: the templates gathered for one image fill the cache
        rows = moved[image, shift[image]]
        for number in range(len(templates.conformations)):
            at = tried[image]
            overlap = (rows * templates.coefficients[number, at]).sum(-1)
            gains[image, number] = _gain(overlap, templates.power[number, at] @ weight[image])
    gain, conformation = gains.max(dim=1)
    gain, best = gain.topk(min(keep, count), dim=1)
    chosen = tried.gather(1, best)
    return Candidates(
        templates.rotations[chosen],
        shifts_px.to(weight)[shift.gather(1, best)],
        templates.conformations[conformation.gather(1, best)],
        gain,
    )


def best_gains(templates: Templates, observation: Observation, shifts_px: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihood (B,) gained by the best template, first conformation only: for images, for their negatives."""
    correlation = _correlation(templates, _moved(observation, shifts_px))
    norm = observation.transfer**2 @ templates.power[0].T
    positive, negative = correlation.amax(dim=1).float(), -correlation.amin(dim=1).float()
    return _gain(positive, norm).amax(dim=1), _gain(negative, norm).amax(dim=1)


def _moved(observation: Observation, shifts_px: Tensor) -> Tensor:
    """Images (B, S, 2 F) times the CTF, moved back by every shift."""
    matched = observation.data * observation.transfer  # (B, F)
    return as_real(matched[:, None] * shift_phase(observation.disc, -shifts_px.to(matched.real)))


def _correlation(templates: Templates, moved: Tensor) -> Tensor:
    """Overlap (B, S, T) of every moved image with every template in its first conformation."""
    product = moved.flatten(0, 1).to(templates.quick.dtype) @ templates.quick.T
    return product.unflatten(0, moved.shape[:2])


def _gain(overlap: Tensor, norm: Tensor) -> Tensor:
    return overlap.clamp(min=0) ** 2 / (2 * norm).clamp(min=1e-30)
