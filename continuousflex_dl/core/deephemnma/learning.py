"""One training of DeepHEMNMA: what is measured, what is held out, what batches are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..distributed import ALONE, Place
from ..dynamics.modes import NormalModes
from ..errors import InputError
from ..hemnma.align import Settings
from ..hemnma.pipeline import Hemnma
from ..hemnma.prior import AmplitudePrior
from ..hemnma.reference import Reference
from ..io.particle_table import ParticleTable
from ..particles.stack import ImageStack
from ..progress import Progress, silent
from .labels import Labels, Scaling, has_labels, split, typical
from .measure import measure
from .objective import Objective, held_out
from .particles import Particles, pixel_size_of
from .preparation import Preparation
from .presets import Preset
from .rendering import ImageModel, Law, Renderer
from .sources import Batch, Labelled, Mixed, Rendered, Source

METHOD = "deephemnma"
MEASURED_IMAGES = 128  # that contrast, noise and the statistics of prepared images are measured on
ALIGNED_IMAGES = 32  # that are aligned for it where there are no labels
RENDERED_EPOCH = 10_000  # images of an epoch where there are no labelled ones
_HELD_RENDERED = 512  # rendered particles to validate on, where there are no labelled ones
_DEFORMED_ANGST = 5.0  # that a deformed particle may reach beyond the resting one
_PORTION = 64  # particles at a time in validation


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks of a training, beyond the preset.

    Attributes
    ----------
    modes
        Mode numbers whose amplitudes are learned.
    source
        ``labelled``, ``rendered`` or ``both``.
    validation, test
        Shares of the labelled particles that are held out.
    ctf, invert, symmetry
        As in HEMNMA.
    max_shift_px
        Of rendered particles where there are no labels.
    search_rmsd
        Structural spread of rendered particles along the softest mode where there are no labels, Å RMSD.
    seed
        Of everything.
    """

    modes: tuple[int, ...]
    source: str
    validation: float = 0.1
    test: float = 0.1
    ctf: str = "auto"
    invert: bool = False
    symmetry: str = "C1"
    max_shift_px: float = 8.0
    search_rmsd: float = 4.0
    seed: int = 0


@dataclass(frozen=True)
class Division:
    """Rows of the table that are trained on, validated on, and tested on at the very end: no two share a particle."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Learning:
    """A `core.training.loop.Task`.

    Parameters
    ----------
    source
        Of batches.
    batch_size
        Of each process.
    objective
        What is learned.
    held
        Batches to validate on, made anew whenever they are asked for.
    description
        See `core.training.loop.Task`.
    dtype
        Of matrix products in validation.
    """

    def __init__(
        self, source: Source, batch_size: int, objective: Objective, held: Held, description: dict[str, Any],
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.source, self.batch_size, self.objective, self.held = source, batch_size, objective, held
        self.description, self.dtype = description, dtype

    def batch(self, step: int) -> Batch:
        """Images and labels of a step."""
        return self.source.batch(step, self.batch_size)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts."""
        return self.objective.loss(model, batch)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Errors on held-out particles."""
        return held_out(model, self.objective, self.held.batches(), self.dtype)


class Held:
    """Held-out particles: labelled ones, or always the same rendered ones."""

    def __init__(
        self, particles: Particles, labels: Labels | None, rows: np.ndarray, rendered: Rendered | None
    ) -> None:
        self._particles, self._labels, self._rows, self._rendered = particles, labels, rows, rendered
        self.device = particles.device

    def batches(self, rows: np.ndarray | None = None) -> Iterator[Batch]:
        """Prepared images with their labels; of other rows where they are given."""
        if self._rendered is not None and rows is None:
            for step in range(_HELD_RENDERED // _PORTION):
                yield self._rendered.batch(2**40 + step, _PORTION)  # no training comes this far
            return
        assert self._labels is not None
        chosen = self._rows if rows is None else rows
        for portion in np.array_split(chosen, max(1, -(-len(chosen) // _PORTION))):
            yield self._particles.prepared(portion), self._labels.take(torch.as_tensor(portion)).to(self.device)


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, and the labelled particles of it."""

    learning: Learning
    objective: Objective
    division: Division | None
    epoch_images: int
    left_out: int  # labelled particles that are not typical, or did not converge


def prepare(
    table: ParticleTable,
    stack: ImageStack,
    modes: NormalModes,
    preset: Preset,
    request: Request,
    *,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device,
    place: Place = ALONE,
    threads: int = 1,
    progress: Progress = silent,
) -> Prepared:
    """Measure the images, divide the particles, and set up what is learned.

    Parameters
    ----------
    table, stack
        Particles, with poses and amplitudes for any source but ``rendered``.
    modes
        Those that are learned, in the order of `request.modes`.
    preset, request
        How.
    batch_size
        Of all processes together.
    dtype
        Of matrix products.
    device, place, threads, progress
        Where, and who is told of particles that are aligned where there are no labels.
    """
    pixel = pixel_size_of(table)
    network_box = min(preset.network_box or stack.box, stack.box)
    preparation = Preparation(stack.box, pixel, network_box, "flip", request.invert)
    particles = Particles(table, stack, preparation, request.ctf, device)
    reference = Reference.from_arrays(modes.coordinates, modes.vectors, modes.weights, modes.sigma, device)
    labels = division = None
    left_out = 0
    if request.source != "rendered" or has_labels(table, request.modes):
        labels = Labels.of(table, request.modes)
        kept = _kept(table, labels, preset.mahalanobis)
        left_out = len(table) - len(kept)
        division = _divide(kept, request, str(table.source))
        own = labels.take(torch.as_tensor(division.training))
        law = Law.about(own)
        rows = _spread(division.training, MEASURED_IMAGES)
        known = labels.take(torch.as_tensor(rows))
    else:
        rows, known = _align_some(table, stack, modes, request, device, threads, progress)
        prior = AmplitudePrior.wide(modes.eigenvalues, request.search_rmsd * float(np.sqrt(modes.n_atoms)))
        if prior.covariance is None:
            raise InputError("training: --search-rmsd 0 leaves nothing to learn without labels; give a larger one")
        law = Law.broad(torch.as_tensor(prior.covariance), request.max_shift_px * pixel)
        own = law.draw(RENDERED_EPOCH, torch.Generator().manual_seed(request.seed))
    images, transfer = particles.reduced(rows), particles.transfer(rows)
    look = measure(images, transfer, known.to(device), reference, law, preparation.network_pixel_size)
    preparation = _with_statistics(preparation, preset, look, images, transfer)
    particles = Particles(table, stack, preparation, request.ctf, device)
    scaling = (Scaling.standard if preset.scaling == "standard" else Scaling.unit_range)(own)
    objective = Objective(scaling, request.symmetry)
    renderer = Renderer(reference, look)
    every = division.training if division is not None else np.arange(len(table))
    seeds = request.seed * 4
    rendered = Rendered(renderer, law, preparation, particles.transfer, every, seeds, place)
    source: Source = rendered
    if labels is not None and division is not None and request.source != "rendered":
        movement = law.max_shift_angst if preset.augment else None
        source = Labelled(particles, labels, division.training, movement, seeds + 1, place)
        source = Mixed(source, rendered, 0.5) if request.source == "both" else source
    held = (
        Held(particles, labels, division.validation, None)
        if division is not None
        else Held(particles, None, every, Rendered(renderer, law, preparation, particles.transfer, every, seeds + 2))
    )
    reach = float(reference.coordinates.norm(dim=-1).quantile(0.98)) + _DEFORMED_ANGST + law.max_shift_angst
    epoch = len(division.training) if division is not None else RENDERED_EPOCH
    description = {
        "method": METHOD,
        "preset": preset.to_dict(),
        "modes": list(request.modes),
        "n_atoms": modes.n_atoms,
        "symmetry": request.symmetry,
        "ctf": request.ctf,
        "source": request.source,
        "preparation": preparation.to_dict(),
        "radius_px": round(min(0.48 * network_box, reach / preparation.network_pixel_size + 2.0), 3),
        "scaling": scaling.to_dict(),
        "images": look.to_dict(),
        "amplitude_mean": own.amplitudes.double().mean(0).tolist(),
        "amplitude_covariance": np.cov(own.amplitudes.double().numpy().T).reshape(len(modes), -1).tolist(),
    }
    learning = Learning(source, max(1, batch_size // place.size), objective, held, description, dtype)
    return Prepared(learning, objective, division, epoch, left_out)


def _kept(table: ParticleTable, labels: Labels, mahalanobis: float) -> np.ndarray:
    """Rows whose labels are to be trusted."""
    good = np.ones(len(table), dtype=bool) if table.converged is None else np.asarray(table.converged)
    if mahalanobis and good.sum() > 2 * labels.amplitudes.shape[1]:
        good[good] = typical(labels.amplitudes.double().numpy()[good], mahalanobis)
    if not good.any():
        raise InputError(
            f"{table.source}: _cflexConverged is 0 for all particles, expected 1 for those to learn from; align them "
            "again, or remove the column"
        )
    return np.flatnonzero(good)


def _divide(kept: np.ndarray, request: Request, source: str) -> Division:
    training, validation = split(len(kept), request.validation, request.seed, source)
    test = np.arange(0)
    if request.test:
        share = request.test / (1.0 - request.validation)
        order = np.random.default_rng([request.seed, 1]).permutation(training)
        count = min(round(len(training) * share), len(training) - 1)
        training, test = np.sort(order[count:]), np.sort(order[:count])
    return Division(kept[training], kept[validation], kept[test])


def _with_statistics(
    preparation: Preparation, preset: Preset, look: ImageModel, images: Tensor, transfer: Tensor | None
) -> Preparation:
    """The preparation with spectra, and with mean and deviation of what it makes of some images."""
    preparation = replace(preparation, filtering=preset.filtering, noise=look.noise, signal=look.signal)
    prepared = preparation.finished(images, transfer).double()
    return replace(preparation, mean=float(prepared.mean()), std=max(float(prepared.std()), 1e-12))


def _align_some(
    table: ParticleTable, stack: ImageStack, modes: NormalModes, request: Request, device: torch.device, threads: int,
    progress: Progress,
) -> tuple[np.ndarray, Labels]:  # fmt: skip
    """Align a few particles by HEMNMA: their poses tell how the images look."""
    rows = _spread(np.arange(len(table)), ALIGNED_IMAGES)
    some = table.take(rows)
    hemnma = Hemnma(
        some, ImageStack(some), modes, Settings(max_shift_px=request.max_shift_px, symmetry=request.symmetry),
        search_rmsd=request.search_rmsd, ctf_choice=request.ctf, invert_contrast=request.invert, device=device,
    )  # fmt: skip
    aligned = hemnma.calibrate(learn=False, threads=threads, progress=progress).aligned
    found = np.array([aligned[name] for name in some.image_name])
    sure = found[:, 0] > 0.5
    if sure.sum() < 4:
        raise InputError(
            f"{table.source}: only {int(sure.sum())} of {len(rows)} particles could be aligned, expected most; see "
            "whether 'cflex hemnma' aligns them, and give what it writes as labels"
        )
    found, rows = found[sure], rows[sure]
    posed = some.take(np.flatnonzero(sure)).with_poses(found[:, 2:5], found[:, 5:7])
    amplitudes = {mode: found[:, 7 + column] for column, mode in enumerate(request.modes)}
    return rows, Labels.of(posed.with_amplitudes(amplitudes), request.modes)


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, spread evenly."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
