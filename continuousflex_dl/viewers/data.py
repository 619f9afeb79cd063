"""Arrays behind the plots, read from Scipion sets. No plotting here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..convert import ConversionError, amplitudes_of, mode_numbers_of


@dataclass(frozen=True)
class ParticleValues:
    """Values per particle.

    Parameters
    ----------
    values
        (n, d) amplitudes in Å, or coordinates in a space.
    names
        Of the d columns.
    score
        (n,); NaN where not known.
    converged
        (n,); True where nothing is said.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    score: NDArray[np.float64]
    converged: NDArray[np.bool_]

    @property
    def has_score(self) -> bool:
        """Whether any score is known."""
        return bool(np.isfinite(self.score).any())


def amplitude_values(particles: Any) -> ParticleValues:
    """Amplitudes of a set of particles of any plugin."""
    first = particles.getFirstItem()
    if first is None or not amplitudes_of(first):
        raise ConversionError("The particles carry no amplitudes of normal modes")
    names = tuple(f"mode {number}" for number in mode_numbers_of(first))
    return _collect(particles, amplitudes_of, names)


def space_values(particles: Any, dimensions: int | None = None) -> ParticleValues:
    """Coordinates of flexible particles in their reduced space; trailing axes that are zero everywhere are left out."""
    found = _collect(particles, lambda item: list(item.getZRed()), ())
    values = found.values
    if dimensions is None:
        used = np.flatnonzero(np.abs(values).max(axis=0) > 0) if len(values) else np.array([], dtype=int)
        dimensions = max(1, int(used.max()) + 1 if len(used) else 1)
    names = tuple(f"axis {number + 1}" for number in range(dimensions))
    return ParticleValues(values[:, :dimensions], names, found.score, found.converged)


def _collect(particles: Any, reader: Any, names: tuple[str, ...]) -> ParticleValues:
    values, score, converged = [], [], []
    for item in particles.iterItems():
        values.append(reader(item))
        stored = getattr(item, "_cflexScore", None)
        score.append(np.nan if stored is None or stored.get() is None else float(stored.get()))
        flag = getattr(item, "_cflexConverged", None)
        converged.append(True if flag is None or flag.get() is None else bool(flag.get()))
    return ParticleValues(np.array(values, dtype=float), names, np.array(score), np.array(converged, dtype=bool))
