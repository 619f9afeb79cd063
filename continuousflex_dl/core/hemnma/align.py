"""Alignment of a block of images: global search, then refinement of ever fewer hypotheses at ever finer resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from ..conventions import matrix_from_euler
from ..imaging.fourier import Disc
from ..imaging.rotations import (
    angle_between,
    asymmetric_unit,
    local_rotations,
    rotation_grid,
    turn,
)
from .observation import Observation
from .posterior import NEAR_DEG, Posterior, only, summarise
from .prior import AmplitudePrior
from .reference import Reference
from .refine import Hypotheses, Refiner
from .result import Result, angle_std_deg
from .sampling import sample_posterior
from .selection import best_distinct, within_margin, worth_refining
from .templates import Templates, search, shift_grid

# Laplace's approximation does not do for an orientation predicted to be off by more than this about an axis, nor for a
# particle that makes its image more probable by less than this factor (a logarithm; predicted errors of amplitudes are
# 1.5 times too small at 62, 1.2 times at 133, 1.1 times at 222)
FAINT_DEG, FAINT_GAIN = 4.0, 150.0
# an image whose poses that were refined leave this much doubt is searched again, with so many times as many hypotheses:
# where the reference follows a conformation badly, the right orientation may come late in the search
DOUBTFUL, _WIDER = 0.9, 4
WORKING_BYTES = 96 << 20  # of one refinement chunk on a CPU: with less, two threads wait for the interpreter


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
        Orientations kept from the global search at most; fewer of images that show theirs well.
    max_resolution
        Finest resolution in Å, or None for what box and atoms allow.
    symmetry
        Point group; the global search covers one asymmetric unit.
    local_range_deg, local_shift_px
        Half-width of the search about given poses.
    dtype
        Of the large matrix products, see `core.precision`.
    memory_bytes
        Working memory of the refinement in one thread; None for what suits the device.
    threads
        That compute the templates side by side.
    """

    angular_step: float = 15.0
    max_shift_px: float = 8.0
    hypotheses: int = 32
    max_resolution: float | None = None
    symmetry: str = "C1"
    local_range_deg: float = 10.0
    local_shift_px: float = 2.0
    dtype: torch.dtype = torch.float32
    memory_bytes: int | None = None
    threads: int = 1


@dataclass(frozen=True)
class Stage:
    """One level of refinement.

    Attributes
    ----------
    reference, slopes
        What is compared with the images, and what the derivatives are taken from.
    radius
        Of the disc.
    iterations
        At most.
    keep
        Hypotheses kept afterwards, of each image.
    within_angst
        Hypotheses whose atoms are nearer to each other than this are one.
    margin
        Hypotheses worse than the best by more than this share of its log-likelihood are dropped.
    """

    reference: Reference
    slopes: Reference
    radius: int
    iterations: int
    keep: int
    within_angst: float = 1.0
    margin: float = math.inf


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
        # between these, and between atoms, the logarithm of a faint posterior differs alike to a few tenths
        self.blobs = reference.coarsened(0.5 * length / self.radius)
        self.prior = prior
        self.memory_bytes = settings.memory_bytes or _working_bytes(reference.coordinates.device)
        self.shifts = shift_grid(settings.max_shift_px, max(1.0, box / (3.3 * self.search_radius)))
        self.templates: Templates | None = None
        self._lock = Lock()

    def _stages(self) -> list[Stage]:
        keep, atoms = self.settings.hypotheses, self.reference
        length = self.box * self.pixel_size
        middle, fine = (min(self.radius, int(factor * self.search_radius)) for factor in (1.7, 3.0))
        # blobs of this share of the resolution are as good as atoms, or good enough for derivatives
        coarse = atoms.coarsened(0.5 * length / self.search_radius)
        return [
            Stage(coarse, coarse, self.search_radius, 8, max(1, keep // 2), 1.0, 0.4),
            Stage(coarse, coarse, middle, 8, max(1, keep * 3 // 8), 1.0, 0.2),
            Stage(atoms.coarsened(0.65 * length / fine), coarse, fine, 6, max(1, keep // 4), 0.7, 0.1),
            Stage(atoms, atoms.coarsened(1.1 * length / self.radius), self.radius, 6, max(1, keep // 4), 0.5, 0.05),
            Stage(atoms, atoms, self.radius, 20, 1),  # well-seen particles need three, some faint ones over ten
        ]

    def conformations(self) -> Tensor:
        """Amplitudes (K, M) of the templates."""
        return torch.as_tensor(self.prior.conformations()).to(self.reference.coordinates)

    def prepare(self) -> Templates:
        """Compute the templates, once, when they are first needed."""
        with self._lock:
            return self._prepared()

    def take_templates(self, other: Aligner) -> None:
        """Search with those of another aligner of the same images, where they are of the same resolution."""
        if other.search_radius == self.search_radius:
            self.templates = other.templates

    def _prepared(self) -> Templates:
        if self.templates is None:
            disc = Disc.make(self.box, self.search_radius, self.reference.coordinates.device)
            rotations = asymmetric_unit(rotation_grid(self.settings.angular_step), self.settings.symmetry)
            # the search only has to find the neighbourhood: half as many blobs as refinement at this resolution
            blobs = self.reference.coarsened(0.7 * self.box * self.pixel_size / self.search_radius)
            self.templates = Templates.make(
                blobs,
                rotations,
                self.conformations(),
                disc,
                self.pixel_size,
                self.settings.dtype,
                self.settings.threads,
            )
        return self.templates

    def align(self, observation: Observation, *, sample: bool = True) -> Result:
        """Search globally and refine a block of images on the disc of radius `self.radius`; `sample`: see `refine`."""
        posterior = self._searched(observation)
        doubtful = torch.nonzero(posterior.share < DOUBTFUL).flatten()
        if len(doubtful):
            posterior = posterior.revised(doubtful, self._searched(observation.take(doubtful), _WIDER))
        result = self._finish(observation, posterior, sample)
        inside = (np.abs(result.shift_angst) <= (1.5 * self.settings.max_shift_px + 1) * self.pixel_size).all(axis=1)
        return replace(result, converged=result.converged & inside)

    def _searched(self, observation: Observation, wider: int = 1) -> Posterior:
        """Of a global search that keeps `wider` times as many hypotheses."""
        keep = wider * self.settings.hypotheses
        found = search(self.prepare(), observation.inner(self.search_radius), self.shifts, keep)
        index, chosen = torch.nonzero(worth_refining(found.gain), as_tuple=True)
        h = Hypotheses.start(
            index, found.rotation[index, chosen], found.shift_px[index, chosen], found.amplitudes[index, chosen]
        )
        return self._narrowed(observation, h, wider)

    def align_locally(
        self,
        observation: Observation,
        euler_deg: np.ndarray,
        shift_angst: np.ndarray,
        amplitudes: np.ndarray | None = None,
        *,
        sample: bool = True,
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
        sample
            See `refine`.
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
        h = best_distinct(self._in_chunks(first, h, 0), images, settings.hypotheses, self.reference)
        result = self.refine(observation, h, sample=sample)
        turned = torch.rad2deg(
            angle_between(
                torch.as_tensor(matrix_from_euler(result.euler_deg)), torch.as_tensor(matrix_from_euler(euler_deg))
            )
        ).numpy()
        moved = np.abs(result.shift_angst - shift_angst).max(axis=1) / self.pixel_size
        inside = (turned <= settings.local_range_deg * 1.5 + 1e-6) & (moved <= settings.local_shift_px * 1.5 + 1e-6)
        return replace(result, converged=result.converged & inside)

    def polish(
        self,
        observation: Observation,
        euler_deg: np.ndarray,
        shift_angst: np.ndarray,
        amplitudes: np.ndarray,
        confidence: np.ndarray,
        *,
        sample: bool = True,
    ) -> Result:
        """Refine each image from one given pose and amplitudes, at full resolution only.

        Parameters
        ----------
        observation
            B images.
        euler_deg, shift_angst, amplitudes
            (B, 3), (B, 2), (B, M).
        confidence
            (B,) of the search that found them.
        sample
            See `refine`.
        """
        like = self.reference.coordinates
        h = Hypotheses.start(
            torch.arange(len(observation), device=like.device),
            torch.as_tensor(matrix_from_euler(euler_deg)).to(like),
            torch.as_tensor(-np.asarray(shift_angst) / self.pixel_size).to(like),
            torch.as_tensor(np.asarray(amplitudes)).to(like),
        )
        result = self._finish(observation, only(h), sample)
        return replace(result, confidence=np.minimum(result.confidence, confidence))

    def refine(self, observation: Observation, h: Hypotheses, *, sample: bool = True) -> Result:
        """Refine hypotheses through all stages and summarise the best of each image.

        Parameters
        ----------
        observation
            B images.
        h
            At least one of each image.
        sample
            Explore the posterior of faint particles, see `core.hemnma.sampling`; without it their predicted errors and
            confidence are too good.
        """
        return self._finish(observation, self._narrowed(observation, h), sample)

    def _narrowed(self, observation: Observation, h: Hypotheses, wider: int = 1) -> Posterior:
        """Refine hypotheses through all stages but the last, and weigh what is left."""
        images = len(observation)
        rivals = entered = h
        for stage in self.stages[:-1]:
            seen = observation.inner(stage.radius)
            refiner = Refiner(stage.reference, seen, self.prior, stage.slopes, self.settings.dtype)
            h = within_margin(self._in_chunks(refiner, h, stage.iterations), refiner.power, images, stage.margin)
            if stage is self.stages[-3]:
                rivals = best_distinct(h, images, len(h), self.reference, stage.within_angst)
            h = best_distinct(h, images, wider * stage.keep, self.reference, stage.within_angst)
            if stage is self.stages[-3]:
                entered = h
        return summarise(h, rivals, entered, images)

    def _finish(self, observation: Observation, posterior: Posterior, sample: bool) -> Result:
        last = self.stages[-1]
        seen = observation.inner(last.radius)
        refiner = Refiner(last.reference, seen, self.prior)
        ends, parts = [], []
        for index in self._chunks(refiner.bytes_per_hypothesis, posterior.best):
            end, here = refiner.refine_to(posterior.best.take(index), last.iterations)
            ends.append(end)
            parts.append(refiner.covariance(end, here))
        best = Hypotheses.join(ends)
        covariance, score, variance = (torch.cat([part[number] for part in parts]) for number in range(3))
        covariance = covariance + posterior.spread
        answer = replace(posterior, best=best).mean()
        angle_std = angle_std_deg(covariance)
        near = torch.as_tensor(chi2.cdf((NEAR_DEG / angle_std.clip(min=1e-3)) ** 2, 3)).to(covariance)
        gain = refiner.gain(best, variance).cpu().numpy()
        faint = torch.as_tensor(np.flatnonzero((angle_std > FAINT_DEG) | (gain < FAINT_GAIN))).to(best.image)
        if sample and len(faint):
            blobs = Refiner(self.blobs, seen, self.prior, dtype=self.settings.dtype)
            found = sample_posterior(
                blobs,
                answer.take(faint),
                covariance[faint],
                variance[faint],
                math.radians(NEAR_DEG),
                partial(self._chunks, blobs.bytes_per_sample),
            )
            answer = answer.moved(torch.zeros_like(posterior.offset).index_copy(0, faint, found.offset))
            covariance = covariance.index_copy(0, faint, found.covariance)
            near = near.index_copy(0, faint, found.near)
        confidence = (posterior.share * near).cpu().numpy()
        converged = (refiner.settled(best, 0.5) & torch.isfinite(variance)).cpu().numpy() & (confidence > 0.5)
        alone = posterior.alone.cpu().numpy()
        return Result.of(answer, covariance, score, confidence, alone, converged, self.pixel_size)

    def _chunks(self, bytes_each: int, h: Hypotheses) -> tuple[Tensor, ...]:
        size = max(1, self.memory_bytes // bytes_each)
        return torch.arange(len(h), device=h.image.device).split(size)

    def _in_chunks(self, refiner: Refiner, h: Hypotheses, iterations: int) -> Hypotheses:
        # on the way a tenth of a unit of log-likelihood decides nothing; the last stage goes on to a hundredth
        parts = self._chunks(refiner.bytes_per_hypothesis, h)
        return Hypotheses.join([refiner.refine(h.take(part), iterations, 0.1) for part in parts])


def _working_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return WORKING_BYTES
    return min(4 << 30, int(torch.cuda.mem_get_info(device)[0]) // 4)
