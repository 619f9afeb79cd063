"""Predictions polished by HEMNMA's local refinement; the error that the network expects decides how much work it is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from ..conventions import matrix_from_euler
from ..hemnma.align import Aligner, Stage, best_distinct, within_margin
from ..hemnma.observation import Observation
from ..hemnma.pipeline import Hemnma
from ..hemnma.posterior import NEAR_DEG, summarise
from ..hemnma.refine import Hypotheses, Refiner
from ..hemnma.result import Result, angle_std_deg
from ..imaging.rotations import turn
from ..progress import Progress, silent
from .held import AMPLITUDES, POSES, refine_held

Arrays = dict[str, NDArray]
_KEPT = 4  # hypotheses of an image that go on to full resolution
_LAST_STEPS = 3
_PORTION = 16  # particles that a thread refines at a time while the model error is measured


@dataclass(frozen=True)
class Effort:
    """What is done at which expected error of the orientation (one sigma about each axis).

    Attributes
    ----------
    skip_deg
        Below this nothing is done.
    polish_deg
        Up to this one hypothesis is refined, from middle resolution on.
    several_deg
        Up to this one hypothesis is refined, from low resolution on; above it several.
    search_deg
        Above this the network is lost, and all orientations are searched.
    """

    skip_deg: float = 0.0
    polish_deg: float = 6.0
    several_deg: float = 8.0
    search_deg: float = 25.0


class Refinement:
    """Refines what a network has predicted.

    Parameters
    ----------
    hemnma
        The particles; calibrated here from their background.
    sigma
        Width of an atom, Å.
    mean, covariance
        Distribution of the amplitudes, (M,) and (M, M).
    effort
        How much.
    estimate
        ``all``; ``amplitudes`` at the poses of the particle table, which stay; or ``poses`` of its amplitudes.
    """

    def __init__(
        self,
        hemnma: Hemnma,
        sigma: float,
        mean: Sequence[float],
        covariance: Sequence[Sequence[float]],
        effort: Effort,
        estimate: str = "all",
    ) -> None:
        self.hemnma, self.effort, self.estimate = hemnma, effort, estimate
        measured = hemnma.calibrate(measure=False)
        spread = np.asarray(covariance) + 1e-6 * np.eye(len(mean)) * max(float(np.trace(np.asarray(covariance))), 1.0)
        hemnma.use(replace(measured, sigma=sigma, mean=list(mean), covariance=spread.tolist()))

    def measure_error(
        self, rows: NDArray[np.int64], found: Arrays, *, threads: int = 1, progress: Progress = silent
    ) -> float:
        """Measure the model error on some particles and count it as noise from now on; not where something is held.

        Parameters
        ----------
        rows, found
            See `__call__`; to be spread evenly over the table.
        threads
            That work side by side.
        progress
            Told of refined particles.

        Returns
        -------
        How much larger errors are than noise alone would make them.
        """
        portions = np.array_split(np.arange(len(rows)), max(1, len(rows) // _PORTION))
        parts: list[Arrays] = []
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for part in pool.map(lambda at: self(rows[at], {name: v[at] for name, v in found.items()}), portions):
                parts.append(part)
                progress(sum(len(done["refined"]) for done in parts), len(rows))
        refined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        ok = refined["converged"] & (refined["refined"] > 0)
        return self.hemnma.correct(rows[ok], {name: values[ok] for name, values in refined.items()}, threads)

    def __call__(self, rows: NDArray[np.int64], found: Arrays) -> Arrays:
        """Refined results of some particles.

        Parameters
        ----------
        rows
            Of the table.
        found
            Predictions, see `core.deephemnma.predict.as_arrays`.

        Returns
        -------
        Arrays as in `core.hemnma.result.Result`, and ``refined`` (n,): 0 as predicted, 1 polished, 2 refined from low
        resolution on, 3 searched.
        """
        found = self._with_given(rows, found)
        kind = kind_of_work(found["angle_std_deg"], self.effort)
        group = self.hemnma.group[rows]
        arrays = _unrefined(found)
        for number in np.unique(group):
            for what in (1, 2, 3):
                at = np.flatnonzero((kind == what) & (group == number))
                if len(at):
                    observation = self.hemnma.observe(rows[at], int(number))
                    some = {name: values[at] for name, values in found.items()}
                    result = self._refined(self.hemnma.aligner(int(number)), observation, some, what)
                    for name in Result.__dataclass_fields__:
                        arrays[name][at] = getattr(result, name)
        return {**arrays, "refined": kind}

    def _with_given(self, rows: NDArray[np.int64], found: Arrays) -> Arrays:
        """What the particle table has in the place of what is predicted and not to be estimated."""
        table = self.hemnma.table
        if self.estimate == "amplitudes" and table.euler_deg is not None and table.shift_angst is not None:
            return {**found, "euler_deg": table.euler_deg[rows], "shift_angst": table.shift_angst[rows]}
        if self.estimate == "poses":
            modes = [int(mode) for mode in self.hemnma.modes.indices]
            return {**found, "amplitudes": np.stack([table.amplitudes[mode][rows] for mode in modes], axis=1)}
        return found

    def _refined(self, aligner: Aligner, observation: Observation, found: Arrays, what: int) -> Result:
        pose = found["euler_deg"], found["shift_angst"], found["amplitudes"]
        if self.estimate == "all" and what == 3:
            return aligner.align(observation)
        like = aligner.reference.coordinates
        rotation, shift, amplitudes = (
            torch.as_tensor(values).to(like)
            for values in (matrix_from_euler(pose[0]), -pose[1] / observation.pixel_size, pose[2])
        )
        turns = hypotheses_about(torch.as_tensor(found["angle_std_deg"]).to(like))  # (n, k, 3)
        if self.estimate == "amplitudes":
            turns = turns[:, :1]
        count = turns.shape[1]
        h = Hypotheses.start(
            torch.arange(len(observation), device=like.device).repeat_interleave(count),
            turn(rotation[:, None], turns).flatten(0, 1),
            shift.repeat_interleave(count, 0),
            amplitudes.repeat_interleave(count, 0),
        )
        unsure = torch.as_tensor(~(found["angle_std_deg"] <= self.effort.several_deg)).to(like.device)
        first = torch.arange(len(h), device=like.device) % count == 0
        h = h.take(torch.nonzero(first | unsure.repeat_interleave(count)).flatten())
        if self.estimate == "all":
            return quickly(aligner, observation, h, aligner.stages[1:2] if what == 1 else aligner.stages[:2])
        return refine_held(aligner, observation, h, POSES if self.estimate == "amplitudes" else AMPLITUDES)


def quickly(aligner: Aligner, observation: Observation, h: Hypotheses, stages: Sequence[Stage]) -> Result:
    """Refine hypotheses that are near the truth: some stages of the alignment, then a few steps at full resolution.

    Slopes are those of blobs to the end and the last digits are not waited for, which is what an alignment spends most
    of its time on; it costs about a tenth of the accuracy.

    Parameters
    ----------
    aligner, observation
        Of the images.
    h
        At least one hypothesis of each image.
    stages
        To go through before.
    """
    images, last = len(observation), aligner.stages[-2]
    for stage in stages:
        refiner = Refiner(
            stage.reference, observation.inner(stage.radius), aligner.prior, stage.slopes, aligner.settings.dtype
        )
        h = within_margin(_in_chunks(aligner, refiner, h, stage.iterations, 0.1), refiner.power, images, stage.margin)
        h = best_distinct(h, images, _KEPT, aligner.reference, stage.within_angst)
    refiner = Refiner(
        aligner.reference, observation.inner(last.radius), aligner.prior, last.slopes, aligner.settings.dtype
    )
    every, ends, parts = len(h) == images, [], []
    for index in _chunks(aligner, refiner, h):
        end, here = refiner.refine_to(h.take(index), _LAST_STEPS, 0.3)
        ends.append(end)
        if every:  # one hypothesis of each image, in their order: it is the answer
            parts.append(refiner.covariance(end, here))
    h = best_distinct(Hypotheses.join(ends), images, _KEPT, aligner.reference, 0.5)
    posterior = summarise(h, h, h, images)
    best = posterior.best
    if not every:
        parts = [refiner.covariance(best.take(index)) for index in _chunks(aligner, refiner, best)]
    covariance, score, variance = (torch.cat([part[number] for part in parts]) for number in range(3))
    covariance = covariance + posterior.spread
    angle_std = angle_std_deg(covariance)
    confidence = posterior.share.cpu().numpy() * chi2.cdf((NEAR_DEG / angle_std.clip(min=1e-3)) ** 2, 3)
    converged = torch.isfinite(variance).cpu().numpy() & (confidence > 0.5)
    alone = posterior.alone.cpu().numpy()
    return Result.of(best, covariance, score, confidence, alone, converged, observation.pixel_size)


def _chunks(aligner: Aligner, refiner: Refiner, h: Hypotheses) -> tuple[Tensor, ...]:
    size = max(1, aligner.memory_bytes // refiner.bytes_per_hypothesis)
    return torch.arange(len(h), device=h.image.device).split(size)


def _in_chunks(aligner: Aligner, refiner: Refiner, h: Hypotheses, iterations: int, enough: float) -> Hypotheses:
    return Hypotheses.join([refiner.refine(h.take(p), iterations, enough) for p in _chunks(aligner, refiner, h)])


def kind_of_work(angle_std_deg: NDArray[np.float64], effort: Effort) -> NDArray[np.int8]:
    """0 nothing, 1 polish, 2 from low resolution on, 3 search; a particle whose error is not known is refined."""
    error = np.where(np.isfinite(angle_std_deg), angle_std_deg, 0.5 * (effort.polish_deg + effort.search_deg))
    kind = np.full(len(error), 2, dtype=np.int8)
    kind[error > effort.search_deg] = 3
    kind[error <= effort.polish_deg] = 1
    kind[error < effort.skip_deg] = 0
    return kind


def hypotheses_about(angle_std_deg: Tensor) -> Tensor:
    """Rotation vectors (n, 7, 3) in radians: none, and both ways about each axis, as far as the error lets expect."""
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).to(angle_std_deg)
    return axes * (1.5 * torch.deg2rad(angle_std_deg))[:, None, None]


def _unrefined(found: Arrays) -> Arrays:
    """Predictions in the form of results: no score, errors independent of each other."""
    count, modes = found["amplitudes"].shape
    covariance = np.zeros((count, 5 + modes, 5 + modes), dtype=np.float32)
    diagonal = np.arange(5 + modes)
    std = np.concatenate(
        [
            np.repeat(np.deg2rad(found["angle_std_deg"])[:, None], 3, axis=1),
            np.repeat(found["shift_std_angst"][:, None], 2, axis=1),
            found["amplitude_std"],
        ],
        axis=1,
    )
    covariance[:, diagonal, diagonal] = std**2
    alike = {name: np.array(values) for name, values in found.items()}
    return {**alike, "score": np.full(count, np.nan), "alone": np.ones(count), "covariance": covariance}
