"""Refinement of a part of the parameters: amplitudes at given poses, or poses of given conformations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..hemnma.align import Aligner, best_distinct
from ..hemnma.observation import Observation
from ..hemnma.prior import AmplitudePrior
from ..hemnma.reference import Reference
from ..hemnma.refine import Hypotheses, Linearisation, Refiner
from ..hemnma.result import Result

POSES, AMPLITUDES = slice(0, 5), slice(5, -1)  # of the parameters of `core.hemnma.refine`


class HeldRefiner(Refiner):
    """A refiner that leaves some parameters where they are.

    Parameters
    ----------
    reference, observation, prior
        As in `Refiner`.
    held
        Parameters that stay.
    """

    def __init__(self, reference: Reference, observation: Observation, prior: AmplitudePrior, held: slice) -> None:
        super().__init__(reference, observation, prior)
        self.held = held

    def _linearised(self, h: Hypotheses, full: Tensor, scale: Tensor) -> Linearisation:
        """As if the held parameters had no effect, and a curvature that keeps them where they are."""
        here = super()._linearised(h, full, scale)
        gradient, curvature = here.gradient.clone(), here.curvature.clone()
        gradient[:, self.held] = 0.0
        curvature[:, self.held, :] = 0.0
        curvature[:, :, self.held] = 0.0
        torch.diagonal(curvature, dim1=-2, dim2=-1)[:, self.held] = 1.0
        return replace(here, gradient=gradient, curvature=curvature)


def refine_held(aligner: Aligner, observation: Observation, h: Hypotheses, held: slice) -> Result:
    """Refine hypotheses of each image in what is not held, first with blobs, then with atoms.

    Errors are those of the refined parameters where the held ones are right; errors of the held ones are zero.
    """
    images = len(observation)
    coarse = aligner.stages[0].reference
    for stage in aligner.stages[1:3]:
        seen = observation.inner(stage.radius)
        h = HeldRefiner(stage.reference, seen, aligner.prior, held).refine(h, stage.iterations, 0.1)
        h = best_distinct(h, images, 2, coarse, 1.0)
    refiner = HeldRefiner(aligner.reference, observation.inner(aligner.radius), aligner.prior, held)
    h = best_distinct(refiner.refine(h, 8), images, 1, coarse)
    covariance, score, variance = refiner.covariance(h)
    covariance[:, held if held == POSES else slice(5, None)] = 0.0
    covariance[:, :, held if held == POSES else slice(5, None)] = 0.0
    good = (torch.isfinite(variance) & refiner.settled(h, 0.5)).cpu().numpy()
    certain = np.ones(images)
    return Result.of(h, covariance, score, certain, certain, good, observation.pixel_size)
