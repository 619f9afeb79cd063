"""Is the reference of the hand, and are the images of the contrast, that the alignment takes them to be?"""

from __future__ import annotations

import numpy as np

from .align import Aligner
from .observation import Observation
from .result import Result
from .templates import best_gains

SUSPECT = 0.75  # share of images that the opposite explains better, from which on it is to be said


def inverted_share(aligner: Aligner, observation: Observation) -> float:
    """Share of the images whose negative the templates explain better: near 1 where particles are dark.

    Parameters
    ----------
    aligner
        Its templates are compared with the images as they are, and with their negative.
    observation
        B images.
    """
    right, wrong = best_gains(aligner.prepare(), observation.inner(aligner.search_radius), aligner.shifts)
    return float((wrong > right).float().mean())


def mirrored_share(
    aligner: Aligner, observation: Observation, euler_deg: np.ndarray, shift_angst: np.ndarray, found: Result
) -> float:
    """Share of the images that the mirror image of the reference explains better about the given poses.

    Every projection of an object is also one of its mirror image, so only poses that belong together tell the hand.

    Parameters
    ----------
    aligner
        Of the reference as it is.
    observation
        B images.
    euler_deg, shift_angst
        (B, 3) and (B, 2) poses of another program.
    found
        What the local search about them gave.
    """
    opposite = Aligner(
        aligner.reference.mirrored(), aligner.prior, aligner.box, aligner.pixel_size, aligner.settings
    ).align_locally(observation, euler_deg, shift_angst)
    return float((opposite.score > found.score).mean())
