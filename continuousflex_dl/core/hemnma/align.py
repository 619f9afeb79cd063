"""Alignment of a block of images: global search, then refinement of ever fewer hypotheses at ever finer resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..conventions import matrix_from_euler
from ..imaging.fourier import Disc
from ..imaging.rotations import (
    angle_between,
    asymmetric_unit,
    euler_from_rotation,
    local_rotations,
    rotation_grid,
    turn,
)
from .observation import Observation
from .prior import AmplitudePrior
from .reference import Reference
from .refine import Hypotheses, Refiner
from .templates import Templates, search, shift_grid

WORKING_BYTES = 48 << 20  # of one refinement chunk: what stays near a core's cache on a CPU


@dataclass(frozen=True)
class Settings:
    """How thoroughly to search.

    Attributes
    ----------
    angular_step
        Step of the orientation grid, degrees.
    max_shift_px
        Largest shift along each axis, px.
    hypotheses
        Orientations kept from the global search.
    max_resolution
        Finest resolution in Å, or None for what box and atoms allow.
    symmetry
        Point group; the global search covers one asymmetric unit.
    local_range_deg, local_shift_px
        Half-width of the search about given poses.
    """

    angular_step: float = 15.0
    max_shift_px: float = 8.0
    hypotheses: int = 64
    max_resolution: float | None = None
    symmetry: str = "C1"
    local_range_deg: float = 10.0
    local_shift_px: float = 2.0


@dataclass(frozen=True)
class Stage:
    """One level of refinement: reference, radius of the disc, iterations, hypotheses kept afterwards."""

    reference: Reference
    radius: int
    iterations: int
    keep: int


@dataclass(frozen=True)
class Result:
    """What is known of each image of a block; arrays over images.

    euler_deg (n, 3), shift_angst (n, 2) as rlnOrigin, amplitudes and amplitude_std (n, M), score (n,) normalised
    correlation, angle_std_deg (n,) and shift_std_angst (n,) per axis, converged (n,) bool, amplitude_covariance
    (n, M, M) of the errors.
    """

    euler_deg: np.ndarray
    shift_angst: np.ndarray
    amplitudes: np.ndarray
    amplitude_std: np.ndarray
    score: np.ndarray
    angle_std_deg: np.ndarray
    shift_std_angst: np.ndarray
    converged: np.ndarray
    amplitude_covariance: np.ndarray


class Aligner:
    """Everything about a reference that does not depend on the images: templates and coarser references.

    Parameters
    ----------
    reference
        Atoms with the modes to be used.
    prior
        Distribution of the amplitudes; the templates are deformed accordingly.
    box, pixel_size
        Of the images, px and Å.
    settings
        How thoroughly to search.
    """

    def __init__(
        self, reference: Reference, prior: AmplitudePrior, box: int, pixel_size: float, settings: Settings
    ) -> None:
        self.reference, self.settings, self.box, self.pixel_size = reference, settings, box, pixel_size
        length = box * pixel_size
        nyquist = (box - 1) // 2
        # beyond this the form factor of an atom is below 5%: nothing to see but noise
        visible = 0.39 * length / reference.sigma
        limit = visible if settings.max_resolution is None else length / settings.max_resolution
        self.radius = max(4, min(nyquist, int(limit)))
        # templates one step apart must still overlap: features of about the distance that the rim travels in a step
        travel = max(reference.radius, 10.0) * math.radians(settings.angular_step)
        self.search_radius = max(4, min(self.radius, int(length / (1.5 * travel))))
        self.stages = self._stages()
        self.prior = prior
        self.shifts = shift_grid(settings.max_shift_px, max(1.0, box / (5.0 * self.search_radius)))
        self.templates: Templates | None = None

    def _stages(self) -> list[Stage]:
        keep = self.settings.hypotheses
        middle = min(self.radius, int(1.7 * self.search_radius))
        coarse = self.reference.coarsened(6.0)
        return [
            Stage(coarse, self.search_radius, 5, max(1, keep // 2)),
            Stage(coarse, middle, 6, max(1, keep // 8)),
            Stage(self.reference.coarsened(3.0), self.radius, 6, max(1, keep // 32)),
            Stage(self.reference, self.radius, 12, 1),
        ]

    def conformations(self) -> Tensor:
        """Amplitudes (K, M) of the templates."""
        return torch.as_tensor(self.prior.conformations()).to(self.reference.coordinates)

    def prepare(self) -> Templates:
        """Compute the templates once."""
        if self.templates is None:
            disc = Disc.make(self.box, self.search_radius, self.reference.coordinates.device)
            rotations = asymmetric_unit(rotation_grid(self.settings.angular_step), self.settings.symmetry)
            self.templates = Templates.make(
                self.stages[0].reference, rotations, self.conformations(), disc, self.pixel_size
            )
        return self.templates

    def align(self, observation: Observation) -> Result:
        """Search globally and refine a block of images on the disc of radius `self.radius`."""
        found = search(self.prepare(), observation.inner(self.search_radius), self.shifts, self.settings.hypotheses)
        images, kept = found.gain.shape
        index = torch.arange(images, device=found.gain.device).repeat_interleave(kept)
        h = Hypotheses.start(
            index, found.rotation.flatten(0, 1), found.shift_px.flatten(0, 1), found.amplitudes.flatten(0, 1)
        )
        result = self.refine(observation, h)
        inside = (np.abs(result.shift_angst) <= (1.5 * self.settings.max_shift_px + 1) * self.pixel_size).all(axis=1)
        return replace(result, converged=result.converged & inside)

    def align_locally(
        self,
        observation: Observation,
        euler_deg: np.ndarray,
        shift_angst: np.ndarray,
        amplitudes: np.ndarray | None = None,
    ) -> Result:
        """Refine from given poses within the local range.

        Parameters
        ----------
        observation
            B images.
        euler_deg, shift_angst
            (B, 3) and (B, 2), as in a particle file.
        amplitudes
            (B, M) to start from; without them, all conformations of the templates are tried.
        """
        settings, images = self.settings, len(observation)
        like = self.reference.coordinates
        given = torch.as_tensor(matrix_from_euler(euler_deg)).to(like)
        shift = torch.as_tensor(-np.asarray(shift_angst) / self.pixel_size).to(like)
        turns = local_rotations(
            settings.local_range_deg, max(settings.angular_step / 2, settings.local_range_deg / 2)
        ).to(like)
        starts = (
            self.conformations()[None].expand(images, -1, -1)
            if amplitudes is None
            else torch.as_tensor(amplitudes).to(like)[:, None]
        )
        count = len(turns) * starts.shape[1]
        h = Hypotheses.start(
            torch.arange(images, device=like.device).repeat_interleave(count),
            turn(given[:, None], turns[None]).repeat_interleave(starts.shape[1], 1).flatten(0, 1),
            shift.repeat_interleave(count, 0),
            starts.repeat(1, len(turns), 1).flatten(0, 1),
        )
        first = Refiner(self.stages[0].reference, observation.inner(self.stages[0].radius), self.prior)
        h = best_distinct(_in_chunks(first, h, 0), images, settings.hypotheses, within_deg=-1.0)
        result = self.refine(observation, h)
        turned = torch.rad2deg(
            angle_between(
                torch.as_tensor(matrix_from_euler(result.euler_deg)), torch.as_tensor(matrix_from_euler(euler_deg))
            )
        ).numpy()
        moved = np.abs(result.shift_angst - shift_angst).max(axis=1) / self.pixel_size
        inside = (turned <= settings.local_range_deg * 1.5 + 1e-6) & (moved <= settings.local_shift_px * 1.5 + 1e-6)
        return replace(result, converged=result.converged & inside)

    def refine(self, observation: Observation, h: Hypotheses) -> Result:
        """Refine hypotheses through all stages and summarise the best of each image."""
        refiner = None
        for stage in self.stages:
            refiner = Refiner(stage.reference, observation.inner(stage.radius), self.prior)
            h = _in_chunks(refiner, h, stage.iterations)
            h = best_distinct(h, len(observation), stage.keep)
        if refiner is None:
            raise RuntimeError("no refinement stage")
        return self._summarise(refiner, h)

    def _summarise(self, refiner: Refiner, h: Hypotheses) -> Result:
        order = torch.argsort(h.image)
        h = h.take(order)
        parts = [
            refiner.covariance(h.take(index))
            for index in torch.arange(len(h), device=h.image.device).split(_chunk(refiner))
        ]
        covariance, score, variance = (torch.cat([part[number] for part in parts]) for number in range(3))
        std = torch.sqrt(torch.diagonal(covariance, dim1=-2, dim2=-1).clamp(min=0)).cpu().numpy()
        euler = euler_from_rotation(h.rotation)
        converged = (h.change < 0.5) & torch.isfinite(variance)
        return Result(
            euler,
            -h.shift_px.cpu().double().numpy() * self.pixel_size,
            h.amplitudes.cpu().double().numpy(),
            std[:, 5:],
            score.cpu().double().numpy(),
            np.rad2deg(np.sqrt((std[:, :3] ** 2).mean(-1))),
            np.sqrt((std[:, 3:5] ** 2).mean(-1)) * self.pixel_size,
            converged.cpu().numpy(),
            covariance[:, 5:, 5:].cpu().double().numpy(),
        )


def _chunk(refiner: Refiner) -> int:
    budget = WORKING_BYTES if refiner.filter.device.type == "cpu" else 2 << 30
    return max(1, budget // refiner.bytes_per_hypothesis)


def _in_chunks(refiner: Refiner, h: Hypotheses, iterations: int) -> Hypotheses:
    index = torch.arange(len(h), device=h.image.device)
    return Hypotheses.join([refiner.refine(h.take(part), iterations) for part in index.split(_chunk(refiner))])


def best_distinct(h: Hypotheses, images: int, keep: int, within_deg: float = 3.0) -> Hypotheses:
    """The best hypotheses of each image, those that ended in the same orientation counted once."""
    chosen = []
    for image in range(images):
        member = torch.nonzero(h.image == image).flatten()
        member = member[torch.argsort(h.cost[member], stable=True)]
        kept: list[int] = []
        for candidate in member.tolist():
            if len(kept) == keep:
                break
            if not kept or float(
                angle_between(h.rotation[kept], h.rotation[candidate].expand(len(kept), 3, 3)).min()
            ) > math.radians(within_deg):
                kept.append(candidate)
        chosen.extend(kept)
    return h.take(torch.tensor(chosen, device=h.image.device))
