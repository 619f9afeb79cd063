"""Batches of particles to learn from: labelled ones, rendered ones, or both."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..distributed import ALONE, Place
from .labels import Labels
from .particles import Particles, TransferRows
from .preparation import Preparation
from .rendering import Law, Renderer

Batch = tuple[Tensor, Labels]
_GAIN_SPREAD = 0.05  # of the contrast of rendered images


class Source(Protocol):
    """Where batches come from."""

    def batch(self, step: int, count: int) -> Batch:
        """Prepared images (count, 1, box, box) and their labels, a function of the step alone."""
        ...


def generator_of(*numbers: int) -> torch.Generator:
    """A generator that differs wherever one of these numbers does."""
    words = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


class Labelled:
    """Particles with labels, every one once in an epoch, turned and shifted at random with their labels.

    Parameters
    ----------
    particles
        All of the table.
    labels
        Of all of the table.
    rows
        Particles to take.
    max_shift_angst
        Images are moved by at most this along each axis; None for images as they are, neither moved nor turned.
    seed
        Of order and movement.
    place
        Every process takes particles of its own.
    """

    def __init__(
        self,
        particles: Particles,
        labels: Labels,
        rows: np.ndarray,
        max_shift_angst: float | None,
        seed: int,
        place: Place = ALONE,
    ) -> None:
        self.particles, self.rows, self.max_shift_angst = particles, rows, max_shift_angst
        self.labels, self.seed, self.place = labels.to(particles.device), seed, place
        self._order: tuple[int, np.ndarray] = (-1, rows)

    def batch(self, step: int, count: int) -> Batch:
        """See `Source`."""
        first = (step * self.place.size + self.place.rank) * count
        rows = np.array([self._row(first + number) for number in range(count)])
        images, labels = self.particles.filtered(rows), self.labels.take(torch.as_tensor(rows))
        preparation = self.particles.preparation
        if self.max_shift_angst is None:
            return preparation.scaled(images), labels
        draws = torch.rand(count, 3, generator=generator_of(self.seed, step, self.place.rank)).to(images)
        angle, shift = 2 * torch.pi * draws[:, 0], (2 * draws[:, 1:] - 1) * self.max_shift_angst
        # masked after they are moved, as others are: an edge that moves along would give the movement away
        images = moved(images[:, None], angle, shift / preparation.network_pixel_size)[:, 0]
        return preparation.scaled(images), labels.moved(angle, shift)

    def _row(self, number: int) -> int:
        epoch, place = divmod(number, len(self.rows))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return int(self._order[1][place])


class Rendered:
    """Fresh particles, each seen once.

    Parameters
    ----------
    renderer
        Makes images.
    law
        Of what.
    preparation
        Prepares them.
    transfer
        CTF of real particles, of which every image takes one.
    rows
        Particles whose CTF may be taken.
    seed
        Of everything that is drawn.
    place
        Every process draws particles of its own.
    """

    def __init__(
        self,
        renderer: Renderer,
        law: Law,
        preparation: Preparation,
        transfer: TransferRows,
        rows: np.ndarray,
        seed: int,
        place: Place = ALONE,
    ) -> None:
        self.renderer, self.law, self.preparation, self.transfer = renderer, law, preparation, transfer
        self.rows, self.seed, self.place = rows, seed, place

    def batch(self, step: int, count: int) -> Batch:
        """See `Source`."""
        generator = generator_of(self.seed, step, self.place.rank)
        device = self.renderer.device
        labels = self.law.draw(count, generator).to(device)
        rows = self.rows[torch.randint(len(self.rows), (count,), generator=generator).numpy()]
        gain = torch.exp(_GAIN_SPREAD * torch.randn(count, generator=generator)).to(device)
        noise = torch.Generator(device).manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        transfer = self.transfer(rows)
        return self.preparation.finished(self.renderer.images(labels, transfer, noise, gain), transfer), labels


class Mixed:
    """Some particles of each batch from one source and the others from another one; a single one from each in turn."""

    def __init__(self, first: Source, second: Source, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def batch(self, step: int, count: int) -> Batch:
        """See `Source`; `share` of them from the first source."""
        if count == 1:
            return (self.second if step % 2 else self.first).batch(step, 1)
        some = min(max(round(count * self.share), 1), count - 1)
        (images, labels), (others, other_labels) = self.first.batch(step, some), self.second.batch(step, count - some)
        return torch.cat([images, others]), Labels.join([labels, other_labels])


def moved(images: Tensor, angle: Tensor, shift_px: Tensor) -> Tensor:
    """Turn images (n, 1, box, box) about pixel box // 2 by (n,) radians from x towards y, then shift by (n, 2) px."""
    box = images.shape[-1]
    axis = torch.arange(box, device=images.device, dtype=images.dtype) - box // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    x, y = x - shift_px[:, 0, None, None], y - shift_px[:, 1, None, None]
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    where = torch.stack([cosine * x + sine * y, cosine * y - sine * x], -1) + box // 2  # where the pixels come from
    where = where * (2.0 / (box - 1)) - 1.0
    return torch.nn.functional.grid_sample(images, where, mode="bicubic", padding_mode="zeros", align_corners=True)
