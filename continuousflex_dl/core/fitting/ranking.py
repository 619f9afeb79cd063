"""Which modes a fit owes its quality to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..dynamics.modes import NormalModes
from .flexible import Fit, stiffness
from .objective import climb

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each mode contributes to a fit.

    Attributes
    ----------
    gain
        (M,) correlation that is lost when the mode is held at rest and all others are fitted anew.
    share
        (M,) of the mean square displacement.
    order
        (M,) positions of the modes, the largest gain first.
    """

    gain: Floats
    share: Floats
    order: NDArray[np.int64]


def contributions(fit: Fit, modes: NormalModes) -> Contributions:
    """Leave every mode out in turn."""
    amplitudes = fit.placement.amplitudes
    gain = np.empty(len(modes))
    for mode in range(len(modes)):
        held = stiffness(modes)
        held[mode] = np.inf
        without = amplitudes.copy()
        without[mode] = 0.0
        left = climb(fit.target, fit.nodes, replace(fit.placement, amplitudes=without), fit.units, held)
        gain[mode] = fit.placement.correlation - left.correlation
    square = amplitudes**2
    share = square / square.sum() if square.any() else square
    return Contributions(gain, share, np.argsort(-gain, kind="stable"))
