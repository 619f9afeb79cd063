"""Unsupervised training as a task for the training loop: images only, from coarse to fine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..distributed import ALONE, Place
from ..errors import InputError
from .images import ImageBatch, ParticleImages
from .model import CryoVit

# from which share of the training on, at how many times the finest resolution
STAGES = ((0.0, 2.4), (0.25, 1.6), (0.5, 1.0))
VALIDATION_IMAGES = 256
_CHUNK = 64


class Unsupervised:
    """Fits projections to images.

    Parameters
    ----------
    images
        What is learned from.
    resolution
        Finest, Å.
    coarse_to_fine
        Begin at coarser ones (`STAGES`).
    batch_size
        Images per step and process.
    steps
        In all; sets when the resolution rises.
    seed
        Of the order of the images.
    description
        For ``model.json``.
    train_rows, validation_rows
        Particles to learn from and to be judged by.
    place
        This process.
    max_minutes
        Wall time after which the training ends: the resolution then rises by the clock, where that is ahead.
    minutes_spent
        Wall time that earlier runs of a resumed training took.
    """

    def __init__(
        self,
        images: ParticleImages,
        *,
        resolution: float,
        coarse_to_fine: bool = True,
        batch_size: int,
        steps: int,
        seed: int,
        description: dict[str, Any],
        train_rows: np.ndarray,
        validation_rows: np.ndarray,
        place: Place = ALONE,
        max_minutes: float | None = None,
        minutes_spent: float = 0.0,
    ) -> None:
        self.images, self.resolution, self.steps = images, resolution, steps
        self._seconds, self._spent = 60.0 * (max_minutes or math.inf), 60.0 * minutes_spent
        self._begin: float | None = None
        self._done = 0.0
        self.description, self.validation_rows = description, validation_rows
        self.stages = STAGES if coarse_to_fine else STAGES[-1:]
        self.order = BatchOrder(train_rows, batch_size, seed, place)

    def batch(self, step: int) -> ImageBatch:
        """Images of a step, at the resolution of its stage."""
        if self._begin is None:
            self._begin = time.monotonic() - self._spent
        self._done = max(step / self.steps, (time.monotonic() - self._begin) / self._seconds)
        reached = [factor for start, factor in self.stages if self._done >= start]
        factor = reached[-1] if reached else self.stages[0][1]
        return self.images.batch(self.order.rows(step)).inner(self.images.radius_at(factor * self.resolution))

    def loss(self, model: nn.Module, batch: ImageBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cost of the images of the last batch, and its parts."""
        if len(self.stages) > 1:
            _inside(model).terms.go_on(self._done)
        parts: dict[str, Tensor] = model(batch)
        means = {name: value.mean() for name, value in parts.items()}
        total = means.pop("total")
        projector = _inside(model).projector
        return total + projector.mass_cost() / self.order.count, means

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean costs at full resolution."""
        network = _inside(model)
        sums: dict[str, float] = {}
        for rows in portions(self.validation_rows, _CHUNK):
            for name, value in network(self.images.batch(rows)).items():
                sums[name] = sums.get(name, 0.0) + float(value.double().sum())
        means = {name: value / len(self.validation_rows) for name, value in sums.items()}
        return {"loss": means.pop("total"), **means, "sigma": float(network.projector.sigma)}


class BatchOrder:
    """Which particles make up the batch of a step: every epoch in a new order, shared among processes.

    Parameters
    ----------
    rows
        Particles.
    batch_size
        Per process.
    seed
        Of the orders.
    place
        This process.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, place: Place = ALONE) -> None:
        self._rows, self._seed, self._place = rows, seed, place
        self._size = min(batch_size * place.size, len(rows))
        self.per_epoch = max(1, round(len(rows) / self._size))
        self._epoch, self._order = -1, rows

    @property
    def count(self) -> int:
        """Particles of an epoch."""
        return len(self._rows)

    def rows(self, step: int) -> np.ndarray:
        """Particles of a step: a function of the step alone."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._rows)
        share = np.array_split(self._order, self.per_epoch)[number]
        return np.array_split(share, self._place.size)[self._place.rank]


def division(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Particles to train on, and particles to be judged by.

    Parameters
    ----------
    count
        Particles.
    share
        Of them that are held out; 0 trains on all, and judges by some of these (each has a latent of its own, so that
        none can be held out).
    seed
        Of the choice.

    Raises
    ------
    InputError
        If one of the two would be empty.
    """
    if not share:
        judged = np.linspace(0, count - 1, min(count, VALIDATION_IMAGES)).round().astype(int)
        return np.arange(count), np.unique(judged)
    held = round(share * count)
    if not 0 < held < count:
        raise InputError(
            f"--validation {share:g}: of {count} particles {held} would be held out and {count - held} trained on, "
            "expected at least one of each; give more particles or another share"
        )
    order = np.random.default_rng([seed, 7]).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])[:VALIDATION_IMAGES]


def portions(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Pieces of at most `size`."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _inside(model: nn.Module) -> CryoVit:
    inner = getattr(model, "module", model)  # DistributedDataParallel wraps it
    assert isinstance(inner, CryoVit)
    return inner
