"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.metrics import ParticleErrors
from ...core.space.landscape import Landscape
from ...core.space.result import Space


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything that the report shows; n particles, M modes.

    Attributes
    ----------
    title
        Heading, for example the name of the particle set.
    source
        Input file as the user gave it.
    space
        The conformational space.
    amplitudes
        (n, M) in Å, in the order of ``space.modes``; None where something else was reduced.
    amplitude_std
        Mode number -> (n,) predicted one-sigma in Å, NaN where unknown.
    score
        (n,) or None.
    angle_std_deg, shift_std_angst
        (n,) predicted one-sigma errors, or None.
    n_atoms
        Atoms of the modes, for RMSD scales; None without modes.
    motion
        What `trace.motion` gives, or None without modes.
    path
        (F, d) coordinates of the frames of `motion` in the space.
    landscape
        Free energy, or None where there are too few particles.
    labels
        (n,) group of each particle from 1, 0 for none; None without groups.
    errors, figures
        Comparison with the truth and its figures, or None.
    notes
        Sentences on how the space was made.
    files
        Names of the files written beside the report, with what they hold.
    """

    title: str
    source: str
    space: Space
    amplitudes: np.ndarray | None
    amplitude_std: dict[int, np.ndarray] = field(default_factory=dict)
    score: np.ndarray | None = None
    angle_std_deg: np.ndarray | None = None
    shift_std_angst: np.ndarray | None = None
    n_atoms: int | None = None
    motion: dict[str, Any] | None = None
    path: np.ndarray | None = None
    landscape: Landscape | None = None
    labels: np.ndarray | None = None
    errors: ParticleErrors | None = None
    figures: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
