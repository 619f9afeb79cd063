"""How amplitudes are distributed over the particles of a simulation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def draw_amplitudes(
    law: str, count: int, modes: int, amplitude: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Amplitudes (count, modes) in Å.

    With A the amplitude and r uniform in [0, 1]: ``helix`` -A r, A sin(pi r), A cos(pi r) on three modes (DeepHEMNMA,
    Eq. 1); ``line`` A (2 r - 1) on all modes; ``circle`` A cos(2 pi r), A sin(2 pi r) on two modes; ``clusters`` three
    groups of standard deviation A / 20 about (-A, 0, ..), (0, A, ..) and (A, 0, ..); ``grid`` a regular grid over
    [-A, A] on every mode, visited in turn; ``uniform`` independent in [-A, A].

    Raises
    ------
    ValueError
        For an unknown law, or a number of modes that the law does not fit.
    """
    r = generator.uniform(size=count)
    if law == "helix":
        _expect(law, modes, 3)
        return amplitude * np.stack([-r, np.sin(np.pi * r), np.cos(np.pi * r)], axis=1)
    if law == "circle":
        _expect(law, modes, 2)
        return amplitude * np.stack([np.cos(2 * np.pi * r), np.sin(2 * np.pi * r)], axis=1)
    if law == "line":
        return amplitude * np.repeat((2 * r - 1)[:, None], modes, axis=1)
    if law == "uniform":
        return amplitude * generator.uniform(-1, 1, size=(count, modes))
    if law == "clusters":
        centres = np.zeros((3, modes))
        centres[0, 0], centres[2, 0] = -amplitude, amplitude
        centres[1, min(1, modes - 1)] = amplitude if modes > 1 else 0.0
        member = np.minimum((3 * r).astype(int), 2)
        return centres[member] + generator.normal(scale=amplitude / 20, size=(count, modes))
    if law == "grid":
        side = max(2, math.ceil(count ** (1 / modes) - 1e-9))
        cell = np.stack(np.unravel_index(np.arange(count) % side**modes, (side,) * modes), axis=1)
        return amplitude * (2 * cell / (side - 1) - 1.0)
    raise ValueError(f"unknown law {law!r}")


def _expect(law: str, modes: int, needed: int) -> None:
    if modes != needed:
        raise ValueError(f"the law {law!r} is for {needed} modes, found {modes}")
