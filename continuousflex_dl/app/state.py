"""What the requests of a server share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from .dataset import Dataset
from .images import ParticlePictures
from .jobs import Jobs
from .workspace import Workspace

_SEED = 0


@dataclass(eq=False)
class State:
    """Datasets, their workspaces and pictures, and the jobs.

    Attributes
    ----------
    datasets
        What is shown.
    points
        Particles that are drawn as points, at most.
    """

    datasets: tuple[Dataset, ...]
    points: int

    def __post_init__(self) -> None:
        self.heavy = threading.Lock()  # structures and maps are made one at a time, or they slow each other down
        self._last = time.monotonic()
        self._orders: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs; their logs lie in the workspace of the first dataset."""
        return Jobs(self.datasets[0].workspace)

    @cached_property
    def workspaces(self) -> tuple[Workspace, ...]:
        """Workspace of each dataset."""
        return tuple(Workspace(data.workspace) for data in self.datasets)

    @cached_property
    def pictures(self) -> tuple[ParticlePictures, ...]:
        """Pictures of each dataset."""
        return tuple(ParticlePictures(data) for data in self.datasets)

    def dataset(self, number: int) -> Dataset:
        """One dataset; raises InputError if there is none of this number, from 0."""
        if not 0 <= number < len(self.datasets):
            raise InputError(f"there is no dataset {number}")
        return self.datasets[number]

    def order(self, number: int) -> NDArray[np.int64]:
        """A random order of the particles, the same every time; its begin is a fair sample of them."""
        if number not in self._orders:
            count = self.dataset(number).count
            self._orders[number] = np.random.default_rng(_SEED).permutation(count).astype(np.int32)
        return self._orders[number]

    def touch(self) -> None:
        """Note that somebody is there."""
        self._last = time.monotonic()

    def idle_for(self, seconds: float) -> bool:
        """Whether nobody has asked for anything in this time, and no job runs."""
        busy = "jobs" in self.__dict__ and any(job.state in ("waiting", "running") for job in self.jobs.all())
        return not busy and time.monotonic() - self._last > seconds

    def close(self) -> None:
        """End the jobs."""
        if "jobs" in self.__dict__:
            self.jobs.close()
