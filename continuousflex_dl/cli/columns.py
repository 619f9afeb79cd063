"""Columns of a particle table as conditions see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..core.io.particle_table import ParticleTable

_TEXT = {"rlnImageName", "rlnMicrographName", "rlnOpticsGroupName"}


class NumberColumns(Mapping[str, np.ndarray]):
    """Numbers (n,) of a table by column name, read when they are asked for."""

    def __init__(self, table: ParticleTable) -> None:
        self._table = table
        self._names = [name for name in (*table.particles.labels, *table.optics.labels) if name not in _TEXT]

    def __getitem__(self, name: str) -> np.ndarray:
        values = self._table.numbers(name)
        if values is None:
            raise KeyError(name)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
