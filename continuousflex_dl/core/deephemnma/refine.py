"""Predictions polished by HEMNMA's local refinement; the error that the network expects decides how much work it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..conventions import matrix_from_euler
from ..hemnma.align import Aligner, Result
from ..hemnma.observation import Observation
from ..hemnma.pipeline import Hemnma
from ..hemnma.refine import Hypotheses
from ..imaging.rotations import turn
from .held import AMPLITUDES, POSES, refine_held

Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Effort:
    """What is done at which expected error of the orientation (one sigma about each axis).

    Attributes
    ----------
    skip_deg
        Below this nothing is done.
    polish_deg
        Up to this one hypothesis is refined, at full resolution only.
    search_deg
        Above this the network is lost, and all orientations are searched.
    """

    skip_deg: float = 0.0
    polish_deg: float = 2.5
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
        Arrays as in `core.hemnma.align.Result`, and ``refined`` (n,): 0 as predicted, 1 polished, 2 refined from
        several hypotheses, 3 searched.
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
        if self.estimate == "all" and what == 1:
            return aligner.polish(observation, *pose, np.ones(len(observation)))
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
        if self.estimate == "all":
            return aligner.refine(observation, h)
        return refine_held(aligner, observation, h, POSES if self.estimate == "amplitudes" else AMPLITUDES)


def kind_of_work(angle_std_deg: NDArray[np.float64], effort: Effort) -> NDArray[np.int8]:
    """0 nothing, 1 polish, 2 several hypotheses, 3 search; a particle whose error is not known gets hypotheses."""
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
