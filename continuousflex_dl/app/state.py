"""What the requests of a server share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.space.links import Link
from ..core.space.scene import fair_order
from .dataset import Dataset
from .images import ParticlePictures
from .jobs import Jobs
from .workspace import Workspace


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
        self._links: dict[tuple[int, int], Link] = {}
        self._matching = threading.Lock()
        self._orders: dict[int, NDArray[np.int32]] = {}

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

    def order(self, number: int) -> NDArray[np.int32]:
        """A random order of the particles of a dataset."""
        if number not in self._orders:
            self._orders[number] = fair_order(self.dataset(number).count)
        return self._orders[number]

    def link(self, first: int, second: int) -> Link:
        """Which particles of two datasets are the same; found once.

        Raises
        ------
        InputError
            If one of them has no particle file.
        """
        with self._matching:
            if (first, second) not in self._links:
                images = [self.dataset(number).columns.images() for number in (first, second)]
                found = Link.between(*images)
                self._links |= {(first, second): found, (second, first): found.turned}
            return self._links[first, second]

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
