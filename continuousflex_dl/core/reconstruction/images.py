"""Image coefficients ready for back-projection, block after block, and their sums over two half sets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..imaging.ctf import CtfBatch, ctf
from ..imaging.fourier import Disc, image_to_disc, shift_phase
from ..imaging.rotations import rotation_from_euler, symmetry_rotations
from ..io.particle_table import ParticleTable
from ..particles.preprocess import background_mask
from ..particles.stack import ImageStack
from ..progress import Progress, silent
from .sums import FourierSums, Spread, images_per_block

SUBSET = "rlnRandomSubset"
Checkpoint = Callable[[int, tuple[FourierSums, FourierSums]], None]


def ctf_use(table: ParticleTable, choice: str) -> str:
    """How the CTF of a table enters: ``none``, ``signed``, ``flipped`` (all images) or ``mixed``.

    Raises
    ------
    InputError
        If a CTF is asked for and the table has none.
    """
    if choice == "none" or (choice == "auto" and table.ctf is None):
        return "none"
    if table.ctf is None:
        raise InputError(
            f"{table.source}: has no CTF columns, and --ctf {choice} needs them; add rlnDefocusU and the others, or "
            "give --ctf none"
        )
    if choice == "flipped" or (choice == "auto" and table.phase_flipped.all()):
        return "flipped"
    return "mixed" if choice == "auto" and table.phase_flipped.any() else "signed"


def half_sets(table: ParticleTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of two halves: rlnRandomSubset where the file has both 1 and 2, else every other particle.

    Raises
    ------
    InputError
        If there are fewer than two particles.
    """
    if len(table) < 2:
        raise InputError(f"{table.source}: found {len(table)} particle, expected at least 2 for two half maps")
    subset = table.numbers(SUBSET)
    if subset is not None and set(np.unique(subset)) == {1.0, 2.0}:
        return np.flatnonzero(subset == 1), np.flatnonzero(subset == 2)
    everything = np.arange(len(table))
    return everything[0::2], everything[1::2]


@dataclass(frozen=True, eq=False)
class BackProjector:
    """Turns images of a table into `Spread` coefficients.

    Attributes
    ----------
    table, stack
        Particles with poses, and their images.
    disc
        Frequencies that are used; its radius is the finest resolution.
    pixel_size
        Of the map, Å; images of other optics groups may have another one.
    ctf_use
        See `ctf_use`.
    symmetry
        Point group.
    device
        Where it is computed.
    """

    table: ParticleTable
    stack: ImageStack
    disc: Disc
    pixel_size: float
    ctf_use: str
    symmetry: str = "C1"
    device: torch.device | str = "cpu"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def make(
        cls,
        table: ParticleTable,
        stack: ImageStack,
        *,
        ctf_choice: str = "auto",
        symmetry: str = "C1",
        max_resolution: float | None = None,
        device: torch.device | str = "cpu",
    ) -> BackProjector:
        """Check the table and choose the frequencies.

        Raises
        ------
        InputError
            If the particles have no poses, or a CTF is asked for and absent.
        """
        if table.euler_deg is None:
            raise InputError(
                f"{table.source}: found no _rlnAngleRot, expected the pose of every particle; align them first, for "
                "example with cflex hemnma"
            )
        pixel_size = float(np.median(table.pixel_size))
        radius = (stack.box - 1) // 2
        if max_resolution is not None:
            radius = max(1, min(radius, int(np.ceil(stack.box * pixel_size / max_resolution))))
        disc = Disc.make(stack.box, radius, device)
        return cls(table, stack, disc, pixel_size, ctf_use(table, ctf_choice), symmetry, device)

    def prepare(self, rows: NDArray[np.int64], sums: FourierSums) -> Spread:
        """Coefficients of some images on the grid of `sums`."""
        with self._lock:  # the stack keeps a list of open files
            pixels = self.stack.read(rows)
        images = torch.as_tensor(pixels, device=self.device)
        box, disc = self.stack.box, self.disc
        background = background_mask(box, box / 2).to(images.device)
        images = images - images[:, background].mean(-1)[:, None, None]
        own_pixel = torch.as_tensor(self.table.pixel_size[rows], dtype=torch.float32, device=images.device)
        coefficients = image_to_disc(images, disc)
        if self.table.shift_angst is not None:
            shift = torch.as_tensor(self.table.shift_angst[rows], dtype=torch.float32, device=images.device)
            coefficients = coefficients * shift_phase(disc, shift / own_pixel[:, None])
        # the mean is its own mirror image, all others stand for two
        half = 0.5**0.5
        zero = images.sum((-2, -1), dtype=torch.float32)[:, None].to(coefficients.dtype) * half
        coefficients = torch.cat([zero, coefficients], dim=1)
        factor = self._factor(rows, own_pixel, coefficients)
        factor[:, 0] *= half
        origin = torch.zeros(1, device=images.device)
        kx, ky = (torch.cat([origin, k.to(torch.float32)]) for k in (disc.kx, disc.ky))
        scale = (self.pixel_size / own_pixel)[:, None]
        same = bool(torch.allclose(scale, torch.ones_like(scale), atol=1e-4))
        kx, ky = (kx, ky) if same else (kx * scale, ky * scale)
        if not same:  # what lies beyond the grid after scaling
            inside = kx**2 + ky**2 <= sums.radius**2
            factor, kx, ky = factor * inside, kx * inside, ky * inside
        rotation = rotation_from_euler(self.table.euler_deg[rows]).float().to(images.device)  # type: ignore[index]
        spreads = [
            sums.spread(rotation @ operation.float().to(images.device), kx, ky, coefficients, factor)
            for operation in symmetry_rotations(self.symmetry)
        ]
        if len(spreads) == 1:
            return spreads[0]
        return Spread(
            *(torch.cat([getattr(spread, name) for spread in spreads]) for name in Spread.__dataclass_fields__)
        )

    def _factor(self, rows: NDArray[np.int64], pixel_size: Tensor, coefficients: Tensor) -> Tensor:
        """CTF (n, 1 + F) at the zero frequency and on the disc."""
        if self.ctf_use == "none" or self.table.ctf is None:
            return torch.ones_like(coefficients.real)
        frequency = self.disc.frequency(pixel_size)  # (n, F, 2)
        frequency = torch.cat([torch.zeros_like(frequency[:, :1]), frequency], dim=1)
        values = ctf(CtfBatch.from_arrays(self.table.ctf.take(rows), self.device), frequency)
        if self.ctf_use == "flipped":
            return values.abs()
        if self.ctf_use == "mixed":
            flipped = torch.as_tensor(self.table.phase_flipped[rows], device=values.device)[:, None]
            return torch.where(flipped, values.abs(), values)
        return values


def sum_halves(
    projector: BackProjector,
    halves: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    threads: int = 1,
    progress: Progress = silent,
    begin: tuple[int, tuple[FourierSums, FourierSums]] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[FourierSums, FourierSums]:
    """Back-project two half sets.

    Images are read and prepared block after block on several threads, and added in their order by one thread per
    half: memory does not grow with the number of particles, and the sums do not depend on the number of threads.

    Parameters
    ----------
    projector
        Makes coefficients of images.
    halves
        Particle indices of the two halves.
    threads
        That prepare images; 1 does everything in turn.
    progress
        Reporter of particles.
    begin
        Number of blocks that are done and their sums, from an earlier `checkpoint`.
    checkpoint
        Called now and then between blocks with the number of blocks done and the sums.
    """
    radius = projector.disc.radius
    operations = len(symmetry_rotations(projector.symmetry))
    size = max(1, images_per_block(radius) // operations)
    blocks = list(_blocks(halves, size))
    done, sums = begin or (0, tuple(FourierSums(projector.stack.box, radius, projector.device) for _ in range(2)))
    first, second = sums
    total = sum(len(rows) for _, rows in blocks)
    finished = sum(len(rows) for _, rows in blocks[:done])
    progress(finished, total)
    adders = [ThreadPoolExecutor(max_workers=1) for _ in range(2)]
    pool = ThreadPoolExecutor(max_workers=max(1, threads))
    waiting: deque[tuple[int, Future[Spread], int]] = deque()
    adding: list[deque[Future[None]]] = [deque(), deque()]
    ahead = max(2, threads + 1)
    upcoming = iter(blocks[done:])
    try:
        for _ in range(ahead):
            _submit(pool, projector, (first, second), upcoming, waiting)
        while waiting:
            half, future, count = waiting.popleft()
            spread = future.result()
            while len(adding[half]) > 1:  # keeps prepared blocks from piling up
                adding[half].popleft().result()
            adding[half].append(adders[half].submit((first, second)[half].add, spread))
            del spread, future
            _submit(pool, projector, (first, second), upcoming, waiting)
            done, finished = done + 1, finished + count
            progress(finished, total)
            if checkpoint is not None:
                for queue in adding:
                    while queue:
                        queue.popleft().result()
                checkpoint(done, (first, second))
        for queue in adding:
            while queue:
                queue.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for adder in adders:
            adder.shutdown(wait=True, cancel_futures=True)
    return first, second


def _blocks(halves: tuple[NDArray[np.int64], NDArray[np.int64]], size: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Blocks of the two halves in turn, so that both threads that add have work."""
    longest = max(map(len, halves))
    for start in range(0, longest, size):
        for half in (0, 1):
            rows = halves[half][start : start + size]
            if len(rows):
                yield half, rows


def _submit(
    pool: ThreadPoolExecutor,
    projector: BackProjector,
    sums: tuple[FourierSums, FourierSums],
    upcoming: Iterator[tuple[int, NDArray[np.int64]]],
    waiting: deque[tuple[int, Future[Spread], int]],
) -> None:
    for half, rows in upcoming:
        waiting.append((half, pool.submit(projector.prepare, rows, sums[half]), len(rows)))
        return
