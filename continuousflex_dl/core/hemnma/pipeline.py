"""HEMNMA on a particle set: reads images, measures noise and atom width, aligns blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from scipy.special import logit
from torch import Tensor

from ..conventions import matrix_from_euler
from ..dynamics.modes import NormalModes
from ..errors import InputError, NonFiniteError
from ..imaging.fourier import Disc, image_to_disc
from ..imaging.noise import background_power, without_plane
from ..io.particle_table import ParticleTable
from ..io.particles import refuse_unsupported
from ..particles.stack import ImageStack
from ..particles.transfer import transfer_function
from ..progress import Progress, silent
from .align import Aligner, Settings
from .calibrate import fit_width, probe_inflation, residual_power
from .checks import inverted_share, mirrored_share
from .observation import Observation
from .prior import LEAST_PARTICLES, AmplitudePrior, learn_prior
from .probes import cubic_fields
from .reference import Reference
from .result import Result

NOISE_IMAGES = 256  # images that the noise is measured on, spread evenly over the set
CONTRAST_IMAGES = 16  # of these, images whose negative is tried too
WIDTH_CHANGE = 0.2  # of the width of an atom, as a share
FIRST_IMAGES = 32  # images that are aligned to measure atom width and model error
# images that the model error is measured on in the end: of these a factor of 2 is known to 5%, one of 1 to 10%, which
# decides how sure a faint particle is, so that a factor below the second number is measured on all that were aligned
ERROR_IMAGES, PLAIN_ERROR = 128, 1.5
PRIOR_IMAGES = 480  # images that are aligned to learn how the amplitudes are distributed
_SURE = 0.9  # confidence in a pose found while calibrating from which on it is only refined again, not searched again
_PORTION = 16  # images that a thread aligns at a time while calibrating: with fewer, it waits for the interpreter
PROBES = 4  # stiff modes that show how large the model error is
_NOISE_FLOOR = 1e-3  # of the mean power: images without noise still have model errors


@dataclass(frozen=True)
class Calibration:
    """What is measured on some of the particles before all are aligned.

    Attributes
    ----------
    sigma
        Gaussian width of an atom, Å.
    noise
        For every group of equal pixel size: power per shell of the noise, model error included.
    inflation
        Error of amplitudes over what noise alone explains (already in `noise`).
    mean, covariance
        Distribution of the amplitudes: (M,) and (M, M), or None for no prior.
    inverted, mirrored
        Share of the images that were better explained by their negative, and by the mirror image of the reference (None
        where no poses were given).
    aligned
        Answers for the particles that were aligned to measure all this, by image name: confidence, share of the best
        hypothesis, Euler angles, origin, amplitudes. They are refined again with what was learned, not searched again.
    """

    sigma: float
    noise: list[list[float]]
    inflation: float
    mean: list[float]
    covariance: list[list[float]] | None
    inverted: float = 0.0
    mirrored: float | None = None
    aligned: dict[str, list[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file; the inverse of ``Calibration(**d)``."""
        return asdict(self)

    @property
    def prior(self) -> AmplitudePrior:
        """The distribution of the amplitudes."""
        return AmplitudePrior(np.array(self.mean), None if self.covariance is None else np.array(self.covariance))


_KNOWN = ("confidence", "alone", "euler_deg", "shift_angst", "amplitudes")  # what is kept of particles aligned early


class Hemnma:
    """HEMNMA of one particle set.

    Parameters
    ----------
    table, stack
        Particles and their images.
    modes
        The modes to use, and only those.
    settings
        How thoroughly to search.
    probes
        Other modes of the same structure, the stiffer the better; they tell the size of the model error. Without them
        it shows in `cubic_fields`.
    search_rmsd
        Structural spread expected along the softest mode, Å RMSD; zero for no prior on the amplitudes.
    ctf_choice
        See `transfer_function`.
    initial_poses
        Search about the poses in the table instead of everywhere.
    invert_contrast
        The particles are darker than their surroundings.
    device
        Where to compute.
    """

    def __init__(
        self,
        table: ParticleTable,
        stack: ImageStack,
        modes: NormalModes,
        settings: Settings,
        *,
        probes: NormalModes | None = None,
        search_rmsd: float = 4.0,
        ctf_choice: str = "auto",
        initial_poses: bool = False,
        invert_contrast: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        refuse_unsupported(table)
        self.table, self.stack, self.modes, self.settings, self.probes = table, stack, modes, settings, probes
        self.ctf_choice, self.initial_poses, self.device = ctf_choice, initial_poses, torch.device(device)
        self.invert_contrast = invert_contrast
        if initial_poses and table.euler_deg is None:
            raise InputError(
                f"{table.source}: --initial-poses needs rlnAngleRot, rlnAngleTilt, rlnAnglePsi, found none; "
                "leave it out for a global search"
            )
        self.pixel_sizes, self.group = np.unique(np.round(np.asarray(table.pixel_size), 4), return_inverse=True)
        self._wide = AmplitudePrior.wide(modes.eigenvalues, search_rmsd * float(np.sqrt(modes.n_atoms)))
        transfer_function(table, ctf_choice, np.arange(1), Disc.make(stack.box, 1), 1.0)  # a missing CTF is said now
        self.calibration: Calibration | None = None
        self._aligners: list[Aligner] = []

    def reference(self, sigma: float, vectors: np.ndarray | None = None) -> Reference:
        """The deformable reference with atoms of a width in Å, along the modes in use or other (M, N, 3) vectors."""
        vectors = self.modes.vectors if vectors is None else vectors
        return Reference.from_arrays(self.modes.coordinates, vectors, self.modes.weights, sigma, self.device)

    @cached_property
    def _probes(self) -> np.ndarray:
        """Vectors (P, N, 3) that show how large the model error is; none where there are too few atoms."""
        if self.probes is not None:
            return self.probes.vectors
        return cubic_fields(self.modes.coordinates, self.modes.vectors, PROBES)

    def use(self, calibration: Calibration, *, keep_templates: bool = False) -> None:
        """Set what was measured.

        Parameters
        ----------
        calibration
            Of this particle set.
        keep_templates
            Search with the templates that are there, while calibrating: they only have to find the neighbourhood. The
            answer for a particle must depend on the calibration alone, so not afterwards.
        """
        self.calibration = calibration
        reference = self.reference(calibration.sigma)
        before = self._aligners
        self._aligners = [
            Aligner(reference, calibration.prior, self.stack.box, float(pixel), self.settings)
            for pixel in self.pixel_sizes
        ]
        if keep_templates:
            for aligner, old in zip(self._aligners, before, strict=True):
                aligner.take_templates(old)

    def calibrate(
        self, *, measure: bool = True, learn: bool = True, threads: int = 1, progress: Progress = silent
    ) -> Calibration:
        """Measure what the alignment needs to know of the particle set, and `use` it.

        Parameters
        ----------
        measure
            Align a few images to fit the width of an atom and the size of the model error.
        learn
            Align more of them to learn how the amplitudes are distributed (needs `measure`).
        threads
            That align side by side.
        progress
            Told of aligned images.
        """
        covariance = None if self._wide.covariance is None else self._wide.covariance.tolist()
        calibration = Calibration(float(self.modes.sigma), self._noise(), 1.0, self._wide.mean.tolist(), covariance)
        self.use(calibration)
        if not measure:
            return calibration
        first = [_spread(np.flatnonzero(self.group == g), FIRST_IMAGES) for g in range(len(self.pixel_sizes))]
        more = _spread(np.arange(len(self.table)), PRIOR_IMAGES) if learn and covariance is not None else np.arange(0)
        self._reporter = _Counter(progress, len(np.unique(np.concatenate([*first, more]))))
        known: dict[int, list[float]] = {}
        calibration = replace(calibration, inverted=self._inverted(first))
        calibration = self._measured(calibration, first, threads, known)
        self.use(calibration, keep_templates=True)
        if len(more) >= LEAST_PARTICLES:
            found = self._align_some(more, threads, known)
            ok = found["converged"]
            prior = learn_prior(found["amplitudes"][ok], found["covariance"][ok][:, 5:, 5:].astype(np.float64))
            if prior is not None and prior.covariance is not None:
                calibration = replace(calibration, mean=prior.mean.tolist(), covariance=prior.covariance.tolist())
                # a wrong pose is often one that strange amplitudes made fit: another would keep what these lose now
                lost = prior.loss(found["amplitudes"], found["covariance"][:, 5:, 5:])
                sure = logit(np.clip(found["confidence"], 1e-300, 1.0)) - lost >= logit(_SURE)
                known.update({int(index): [0.0, *known[int(index)][1:]] for index in more[~sure]})
            calibration = self._corrected(calibration, more[ok], {name: found[name][ok] for name in _KNOWN}, threads)
        names = self.table.image_name
        calibration = replace(calibration, aligned={str(names[index]): row for index, row in sorted(known.items())})
        self.use(calibration)
        return calibration

    def _inverted(self, first: list[np.ndarray]) -> float:
        shares = [
            inverted_share(self._aligners[group], self.observe(_spread(chosen, CONTRAST_IMAGES), group))
            for group, chosen in enumerate(first)
        ]
        return float(np.average(shares, weights=np.bincount(self.group)))

    def _mirrored(self, chosen: np.ndarray, group: int, found: dict[str, np.ndarray]) -> float | None:
        if not self.initial_poses:
            return None
        euler, shift = self._given_poses(chosen)
        return mirrored_share(self._aligners[group], self.observe(chosen, group), euler, shift, Result(**found))

    def _noise(self) -> list[list[float]]:
        radius = self.reference(self.modes.sigma).radius
        noise = []
        for number, pixel in enumerate(self.pixel_sizes):
            images = self._images(_spread(np.flatnonzero(self.group == number), NOISE_IMAGES))
            power = background_power(images, radius / pixel + self.settings.max_shift_px)
            variance = float(images.double().var(dim=(-2, -1)).mean())
            if variance <= 0:
                raise InputError(f"{self.table.source}: all images are constant; check the image files")
            noise.append(power.clamp(min=_NOISE_FLOOR * variance * self.stack.box**2).tolist())
        return noise

    def _measured(
        self, before: Calibration, first: list[np.ndarray], threads: int, known: dict[int, list[float]]
    ) -> Calibration:
        """Atom width and model error from aligned images of every group."""
        aligned, sigma = self._aligned(before.prior, first, threads, known)
        if abs(sigma / before.sigma - 1.0) > WIDTH_CHANGE:
            # aligned with far too sharp or too dull atoms, images follow the noise: once more with better ones
            before = replace(before, sigma=sigma)
            self.use(before, keep_templates=True)
            aligned, sigma = self._aligned(before.prior, first, threads, known)
        mirrored = [self._mirrored(first[group], group, found) for group, (found, _, _) in enumerate(aligned)]
        reference, probes = self.reference(sigma), self.reference(sigma, self._probes)
        inflation, noise = [], []
        for (_, observation, pose), power in zip(aligned, before.noise, strict=True):
            excess = residual_power(reference, observation, *pose).clamp(min=1.0).cpu().numpy()
            # beyond the disc nothing was compared: the last value holds on
            noise.append([value * excess[min(shell, len(excess) - 1)] for shell, value in enumerate(power)])
            if probes.n_modes:
                inflation.append(probe_inflation(reference, probes, observation, before.prior, *pose, threads=threads))
        factor = float(np.mean(inflation)) if inflation else 1.0
        shares = [share for share in mirrored if share is not None]
        return replace(
            before,
            sigma=sigma,
            noise=[[float(v) * factor**2 for v in power] for power in noise],
            inflation=factor,
            mirrored=float(np.mean(shares)) if shares else None,
        )

    def correct(self, chosen: np.ndarray, found: dict[str, np.ndarray], threads: int = 1) -> float:
        """Measure the model error on particles that were aligned elsewhere, and count it as noise from now on.

        Parameters
        ----------
        chosen
            (n,) of the table.
        found
            Of each, as in `core.hemnma.result.Result`.
        threads
            That work side by side.

        Returns
        -------
        How much larger errors are than noise alone would make them.
        """
        if self.calibration is None:
            raise RuntimeError("calibrate comes first")
        calibration = self._corrected(self.calibration, chosen, found, threads)
        self.use(calibration)
        return calibration.inflation

    def _corrected(
        self, before: Calibration, chosen: np.ndarray, found: dict[str, np.ndarray], threads: int
    ) -> Calibration:
        """With the model error measured again, on more particles and with what is known of their amplitudes."""
        if not len(self._probes) or not len(chosen):
            return before
        reference, probes = self.reference(before.sigma), self.reference(before.sigma, self._probes)

        def measured(at: np.ndarray) -> float:
            inflation, weights = [], []
            for group in np.unique(self.group[chosen[at]]):
                members = at[self.group[chosen[at]] == group]
                pose = self._pose({name: found[name][members] for name in _KNOWN}, group)
                observation = self.observe(chosen[members], group)
                inflation.append(probe_inflation(reference, probes, observation, before.prior, *pose, threads=threads))
                weights.append(len(members))
            return float(np.average(inflation, weights=weights))

        some = _spread(np.arange(len(chosen)), ERROR_IMAGES)
        factor = measured(some)
        if factor < PLAIN_ERROR and len(some) < len(chosen):
            factor = measured(np.arange(len(chosen)))
        more = (factor / before.inflation) ** 2
        return replace(before, inflation=factor, noise=[[value * more for value in power] for power in before.noise])

    def _pose(self, found: dict[str, np.ndarray], group: int) -> list[Tensor]:
        """Rotation, shift in px and amplitudes of aligned particles of a group."""
        columns = (
            matrix_from_euler(found["euler_deg"]),
            -found["shift_angst"] / self.pixel_sizes[group],
            found["amplitudes"],
        )
        return [torch.as_tensor(values, dtype=torch.float32, device=self.device) for values in columns]

    def _aligned(
        self, prior: AmplitudePrior, first: list[np.ndarray], threads: int, known: dict[int, list[float]]
    ) -> tuple[list[tuple[dict[str, np.ndarray], Observation, list[Tensor]]], float]:
        """Answers, images and poses (rotation, shift in px, amplitudes) of every group, and the width of an atom, Å."""
        aligned, widths = [], []
        for group, chosen in enumerate(first):
            found = self._align_some(chosen, threads, known, sample=False)
            observation = self.observe(chosen, group)
            pose = self._pose(found, group)
            widths.append(fit_width(self._aligners[group].reference, observation, *pose, prior=prior))
            aligned.append((found, observation, pose))
        return aligned, float(np.average(widths, weights=np.bincount(self.group)))

    def _align_some(
        self, indices: np.ndarray, threads: int, known: dict[int, list[float]], *, sample: bool = True
    ) -> dict[str, np.ndarray]:
        """Align particles in small portions, so that all threads have work; those `known` are refined again only."""
        portions = np.array_split(indices, max(1, len(indices) // _PORTION))
        before = dict(known)

        def one(portion: np.ndarray) -> dict[str, np.ndarray]:
            found = self._align(portion, before, sample)
            self._reporter.add(sum(int(index) not in before for index in portion))
            return found

        with ThreadPoolExecutor(max_workers=threads) as pool:
            parts = list(pool.map(one, portions))
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        # what did not converge (or left its range) is searched again, and judged again
        kept = {**found, "confidence": np.where(found["converged"], found["confidence"], 0.0)}
        columns = [kept[name].reshape(len(indices), -1) for name in _KNOWN]
        known.update(zip(indices.tolist(), np.concatenate(columns, 1).tolist(), strict=True))
        return found

    def _images(self, indices: np.ndarray) -> Tensor:
        # a copy in torch's own memory: the last bits of a transform depend on how its input is aligned
        images = torch.tensor(self.stack.read(indices), dtype=torch.float32, device=self.device)
        images = without_plane(images, 0.45 * self.stack.box)
        return -images if self.invert_contrast else images

    def aligner(self, group: int) -> Aligner:
        """What aligns the particles of one group of equal pixel size."""
        return self._aligners[group]

    def observe(self, indices: np.ndarray, group: int) -> Observation:
        """Whitened images of particles of one group of equal pixel size, ready for comparison."""
        if self.calibration is None:
            raise RuntimeError("calibrate first")
        pixel = float(self.pixel_sizes[group])
        disc = Disc.make(self.stack.box, self._aligners[group].radius, self.device)
        power = torch.as_tensor(self.calibration.noise[group], dtype=torch.float64, device=self.device)
        whitening = torch.sqrt(2.0 / power)[disc.shell].float()  # unit variance of real and imaginary parts
        data = image_to_disc(self._images(indices), disc) * whitening
        transfer = transfer_function(self.table, self.ctf_choice, indices, disc, pixel) * whitening
        return Observation(disc, data, transfer, pixel, self.calibration.inflation)

    def align(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Align some particles; arrays as in `Result`, in the order of `indices`.

        Raises
        ------
        NonFiniteError
            If the alignment of a particle gives no finite number.
        """
        names, aligned = self.table.image_name, self.calibration.aligned if self.calibration else {}
        known = {int(index): aligned[name] for index in indices if (name := str(names[index])) in aligned}
        return self._align(indices, known)

    def _align(self, indices: np.ndarray, known: dict[int, list[float]], sample: bool = True) -> dict[str, np.ndarray]:
        parts: list[tuple[np.ndarray, Result]] = []
        sure = np.array([min(known.get(int(index), [0.0])[:2]) >= _SURE for index in indices])
        for group, aligner in enumerate(self._aligners):
            for again in (False, True):
                at = np.flatnonzero((self.group[indices] == group) & (sure == again))
                if not len(at):
                    continue
                members = indices[at]
                observation = self.observe(members, group)
                if again:
                    rows = np.array([known[int(index)] for index in members])
                    given = (rows[:, 2:5], rows[:, 5:7], rows[:, 7:], rows[:, 0])
                    result = aligner.polish(observation, *given, sample=sample)
                elif self.initial_poses:
                    result = self._align_locally(aligner, observation, members, sample)
                else:
                    result = aligner.align(observation, sample=sample)
                parts.append((at, result))
        arrays = {}
        for name in Result.__dataclass_fields__:
            first = np.asarray(getattr(parts[0][1], name))
            full = np.empty((len(indices), *first.shape[1:]), dtype=first.dtype)
            for at, result in parts:
                full[at] = getattr(result, name)
            if not np.isfinite(full).all():
                row = int(np.argmin(np.isfinite(full.reshape(len(full), -1)).all(axis=1)))
                raise NonFiniteError(
                    f"{self.table.source}: particle {indices[row] + 1} ({self.table.image_name[indices[row]]}): "
                    f"its {name} is not finite; check the image"
                )
            arrays[name] = full
        return arrays

    def _align_locally(self, aligner: Aligner, observation: Observation, members: np.ndarray, sample: bool) -> Result:
        euler, shift = self._given_poses(members)
        return aligner.align_locally(observation, euler, shift, self._given_amplitudes(members), sample=sample)

    def _given_poses(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        euler, shift = self.table.euler_deg, self.table.shift_angst
        if euler is None:
            raise RuntimeError("no poses to start from")
        return euler[members], np.zeros((len(members), 2)) if shift is None else shift[members]

    def _given_amplitudes(self, members: np.ndarray) -> np.ndarray | None:
        numbers = [int(number) for number in self.modes.indices]
        if not all(number in self.table.amplitudes for number in numbers):
            return None
        return np.stack([np.asarray(self.table.amplitudes[number])[members] for number in numbers], axis=1)


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices, spread evenly."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]


class _Counter:
    """Counts aligned images from several threads."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done, self._lock = progress, total, 0, Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)
