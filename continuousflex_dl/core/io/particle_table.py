"""The table of particles that every reader gives and every method takes.

The text columns of the file are the only truth: numbers are read from them when they are asked for, and columns that
nobody touches go from file to file byte for byte. Tables do not change; the ``with_`` methods give new ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.image_files import ImageLocations, locate_images
from continuousflex_dl.core.io.star import decimals, quoted, shortest
from continuousflex_dl.core.io.text_table import Text, TextTable

Floats = NDArray[np.float64]

EULER_LABELS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGIN_LABELS = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGIN_PX_LABELS = ("rlnOriginX", "rlnOriginY")  # RELION 3.0: pixels of the particle image
MODE_AMPLITUDE = "cflexModeAmplitude"
MODE_AMPLITUDE_STD = "cflexModeAmplitudeStd"
PHASE_FLIPPED = "cflexPhaseFlipped"
IMAGE_SIGN = "cflexImageSign"  # -1: the images on disk must be negated to have white particles
_OPTICS_OF_CTF = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_CTF_LABELS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")


@dataclass(frozen=True)
class CtfParameters:
    """Contrast transfer of n images; all fields are (n,) float64.

    Parameters
    ----------
    voltage_kv
        Acceleration voltage, kV.
    cs_mm
        Spherical aberration, mm.
    amplitude_contrast
        Fraction, 0 to 1.
    defocus_u_angst, defocus_v_angst
        Å, positive for underfocus.
    defocus_angle_deg
        Of U, degrees.
    phase_shift_deg
        Of a phase plate, degrees.
    """

    voltage_kv: Floats
    cs_mm: Floats
    amplitude_contrast: Floats
    defocus_u_angst: Floats
    defocus_v_angst: Floats
    defocus_angle_deg: Floats
    phase_shift_deg: Floats

    def __len__(self) -> int:
        return len(self.defocus_u_angst)

    def take(self, indices: ArrayLike) -> CtfParameters:
        """Images by 0-based index."""
        rows = np.asarray(indices)
        return CtfParameters(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class ParticleTable:
    """Particles: images, optics, poses, CTF and results.

    Readers (`read_particles`) and `ParticleTable.create` make tables; the constructor takes what they prepared.

    Parameters
    ----------
    source
        The particle file, for messages.
    particles
        Text columns with at least rlnImageName and rlnOpticsGroup.
    optics
        Text columns with at least rlnOpticsGroup and rlnImagePixelSize.
    locations
        Where the images are.
    """

    def __init__(self, source: Path, particles: TextTable, optics: TextTable, locations: ImageLocations) -> None:
        self.source = Path(source)
        self.particles = particles
        self.optics = optics
        self.locations = locations

    @classmethod
    def create(
        cls,
        image_names: Sequence[str],
        pixel_size: float,
        *,
        folder: str | os.PathLike[str],
        box: int,
        ctf: CtfParameters | None = None,
        phase_flipped: bool = False,
    ) -> ParticleTable:
        """Make a table of new images; one optics group per voltage, aberration and amplitude contrast.

        Parameters
        ----------
        image_names
            ``N@path`` with N from 1, relative to `folder` or absolute; the files need not exist yet.
        pixel_size
            Å.
        folder
            Where the particle file will be written.
        box
            Image size, px.
        ctf
            Of the images; None for images without CTF.
        phase_flipped
            The images are phase-flipped.
        """
        source = Path(folder) / "particles.star"
        n = len(image_names)
        columns: dict[str, Text] = {"rlnImageName": _names(image_names)}
        group, constants = np.zeros(n, dtype=np.int64), np.zeros((1, 0))
        if ctf is not None:
            rows = np.column_stack([ctf.voltage_kv, ctf.cs_mm, ctf.amplitude_contrast])
            constants, group = np.unique(rows, axis=0, return_inverse=True)
            group = group.reshape(-1)
            values = (ctf.defocus_u_angst, ctf.defocus_v_angst, ctf.defocus_angle_deg, ctf.phase_shift_deg)
            columns |= {label: decimals(value) for label, value in zip(_CTF_LABELS, values, strict=True)}
        columns["rlnOpticsGroup"] = shortest(group + 1)
        groups = len(constants)
        optics: dict[str, Text] = {
            "rlnOpticsGroup": shortest(np.arange(1, groups + 1)),
            "rlnOpticsGroupName": np.array([f"opticsGroup{i + 1}".encode() for i in range(groups)]),
            **{label: shortest(constants[:, i]) for i, label in enumerate(_OPTICS_OF_CTF[: constants.shape[1]])},
            "rlnImagePixelSize": shortest(np.full(groups, float(pixel_size))),
            "rlnImageSize": shortest(np.full(groups, box)),
            "rlnImageDimensionality": shortest(np.full(groups, 2)),
            PHASE_FLIPPED: shortest(np.full(groups, int(phase_flipped))),
        }
        particles = TextTable(source, "particles", columns)
        locations = locate_images(particles, Path(folder), None, must_exist=False)
        table = cls(source, particles, TextTable(source, "optics", optics), locations)
        table.validate()
        return table

    def __len__(self) -> int:
        return len(self.particles)

    def __repr__(self) -> str:
        return f"ParticleTable({len(self)} particles of {self.source})"

    # Images and optics

    @cached_property
    def image_name(self) -> list[str]:
        """Image names as in the file."""
        return self.particles.text("rlnImageName")

    @cached_property
    def stack_path(self) -> list[str]:
        """Absolute path of the file that holds each image."""
        stacks = self.locations.stacks
        return [stacks[number] for number in self.locations.stack_number.tolist()]

    @property
    def stack_index(self) -> NDArray[np.int64]:
        """(n,) section in the file, 0-based."""
        return self.locations.stack_index

    @cached_property
    def optics_group(self) -> NDArray[np.int64]:
        """(n,) row of `optics`, 0-based."""
        wanted, there = self.particles.integers("rlnOpticsGroup"), self.optics.integers("rlnOpticsGroup")
        order = np.argsort(there)
        place = np.minimum(np.searchsorted(there, wanted, sorter=order), len(there) - 1)
        group = order[place]
        missing = there[group] != wanted
        if missing.any():
            row = int(np.argmax(missing))
            raise InputError(
                f"{self.particles.where(row, 'rlnOpticsGroup')}: found group {wanted[row]}, expected one of "
                "data_optics "
                f"({', '.join(map(str, there.tolist()))}); add it there"
            )
        return np.broadcast_to(np.int64(0), len(group)) if len(there) == 1 else group

    @cached_property
    def pixel_size(self) -> Floats:
        """(n,) Å."""
        values = self.optics.numbers("rlnImagePixelSize")
        if (values <= 0).any():
            row = int(np.argmax(values <= 0))
            raise InputError(
                f"{self.optics.where(row, 'rlnImagePixelSize')}: found {values[row]:g}, expected a positive "
                "number; give --pixel-size"
            )
        return self._of_particles(values)

    @cached_property
    def phase_flipped(self) -> NDArray[np.bool_]:
        """(n,) whether the image is phase-flipped."""
        values = self._numbers(PHASE_FLIPPED)
        return np.broadcast_to(np.False_, len(self)) if values is None else values != 0

    @cached_property
    def sign(self) -> Floats:
        """(n,) factor +1 or -1 that gives the image white particles; `ImageStack` applies it."""
        values = self._numbers(IMAGE_SIGN)
        return np.broadcast_to(np.float64(1), len(self)) if values is None else np.where(values < 0, -1.0, 1.0)

    # Pose and CTF

    @cached_property
    def euler_deg(self) -> Floats | None:
        """(n, 3) rot, tilt, psi in degrees; None where the file has no orientations."""
        # 2D classification leaves psi alone, which is no orientation
        return self._stacked(EULER_LABELS) if any(label in self.particles for label in EULER_LABELS[:2]) else None

    @cached_property
    def shift_angst(self) -> Floats | None:
        """(n, 2) rlnOriginXAngst, rlnOriginYAngst in Å; None where the file has none."""
        return self._stacked(ORIGIN_LABELS) if any(label in self.particles for label in ORIGIN_LABELS) else None

    @cached_property
    def ctf(self) -> CtfParameters | None:
        """CTF; None where the file has no rlnDefocusU."""
        defocus_u = self._numbers("rlnDefocusU")
        if defocus_u is None:
            return None
        optics: dict[str, Floats] = {}
        for name, label in zip(("voltage_kv", "cs_mm", "amplitude_contrast"), _OPTICS_OF_CTF, strict=True):
            values = self._numbers(label)
            if values is None:
                raise InputError(
                    f"{self.source}: has _rlnDefocusU but no _{label}; add the column to data_optics, or "
                    "remove the defocus columns"
                )
            optics[name] = values
        defocus_v, angle, phase = (self._numbers(label) for label in _CTF_LABELS[1:])
        zeros = np.broadcast_to(np.float64(0), len(self))
        return CtfParameters(
            **optics,
            defocus_u_angst=defocus_u,
            defocus_v_angst=defocus_u if defocus_v is None else defocus_v,
            defocus_angle_deg=zeros if angle is None else angle,
            phase_shift_deg=zeros if phase is None else phase,
        )

    # Results; nan in a score or a standard deviation means that it is not known

    @cached_property
    def amplitudes(self) -> dict[int, Floats]:
        """(n,) Å by mode number (1-based), in the file's order."""
        return {mode: self.particles.numbers(label) for mode, label in self._mode_labels(MODE_AMPLITUDE)}

    @cached_property
    def amplitude_std(self) -> dict[int, Floats]:
        """(n,) one-sigma in Å by mode number."""
        return {
            mode: self.particles.numbers(label, allow_nan=True) for mode, label in self._mode_labels(MODE_AMPLITUDE_STD)
        }

    @cached_property
    def score(self) -> Floats | None:
        """(n,) normalised correlation with the model, 1 = perfect."""
        return self._optional("cflexScore")

    @cached_property
    def converged(self) -> NDArray[np.bool_] | None:
        """(n,) whether the fit of the particle converged."""
        values = self._optional("cflexConverged")
        return None if values is None else values == 1

    @cached_property
    def confidence(self) -> Floats | None:
        """(n,) probability that the pose is within 10 degrees of the true one."""
        return self._optional("cflexConfidence")

    @cached_property
    def angle_std_deg(self) -> Floats | None:
        """(n,) one-sigma of the rotation, degrees."""
        return self._optional("cflexAngleStd")

    @cached_property
    def shift_std_angst(self) -> Floats | None:
        """(n,) one-sigma of the shift, Å."""
        return self._optional("cflexShiftStdAngst")

    @cached_property
    def frame(self) -> NDArray[np.int64] | None:
        """(n,) frame of an ensemble, 1-based."""
        return self.particles.integers("cflexFrame") if "cflexFrame" in self.particles else None

    # New tables

    def rows(self, first: int, last: int) -> ParticleTable:
        """Particles from `first` up to but not including `last`; the optics groups stay."""
        locations = self.locations.take(np.arange(first, last))
        return ParticleTable(self.source, self.particles.rows(first, last), self.optics, locations)

    def parts(self) -> Iterator[ParticleTable]:
        """The table in parts of some thousand particles, one after the other."""
        for first, last in self.particles.spans():
            yield self.rows(first, last)

    def take(self, indices: ArrayLike) -> ParticleTable:
        """Particles by 0-based index or boolean mask; the optics groups stay."""
        return ParticleTable(self.source, self.particles.take(indices), self.optics, self.locations.take(indices))

    def with_poses(self, euler_deg: ArrayLike, shift_angst: ArrayLike) -> ParticleTable:
        """Replace the poses.

        Parameters
        ----------
        euler_deg
            (n, 3) rot, tilt, psi in degrees.
        shift_angst
            (n, 2) rlnOriginXAngst, rlnOriginYAngst in Å.

        Raises
        ------
        NonFiniteError
            Where a value is no finite number.
        """
        euler, shift = self._checked(euler_deg, "pose", 3), self._checked(shift_angst, "shift", 2)
        new = {label: decimals(euler[:, i]) for i, label in enumerate(EULER_LABELS)}
        new |= {label: decimals(shift[:, i]) for i, label in enumerate(ORIGIN_LABELS)}
        return self._with(self.particles.with_columns(new)).with_origins_in_pixels()

    def with_amplitudes(
        self, values: Mapping[int, ArrayLike], std: Mapping[int, ArrayLike] | None = None
    ) -> ParticleTable:
        """Replace all mode amplitudes; modes that are not given disappear.

        Parameters
        ----------
        values
            (n,) Å by mode number, 1-based.
        std
            (n,) one-sigma in Å by mode number; nan where not known.

        Raises
        ------
        NonFiniteError
            Where an amplitude is no finite number, or a standard deviation is infinite.
        """
        new = {
            f"{MODE_AMPLITUDE}{mode}": decimals(self._checked(v, f"amplitude of mode {mode}"))
            for mode, v in values.items()
        }
        new |= {
            f"{MODE_AMPLITUDE_STD}{mode}": decimals(self._checked(v, f"deviation of mode {mode}", allow_nan=True))
            for mode, v in (std or {}).items()
        }
        stale = [
            label
            for prefix in (MODE_AMPLITUDE, MODE_AMPLITUDE_STD)
            for _, label in self._mode_labels(prefix)
            if label not in new
        ]
        return self._with(self.particles.without(stale).with_columns(new))

    def with_results(
        self,
        *,
        score: ArrayLike | None = None,
        converged: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
        angle_std_deg: ArrayLike | None = None,
        shift_std_angst: ArrayLike | None = None,
        frame: ArrayLike | None = None,
    ) -> ParticleTable:
        """Replace the results that are given, all (n,); nan in a score or deviation means that it is not known."""
        measured = {
            "cflexScore": score,
            "cflexConfidence": confidence,
            "cflexAngleStd": angle_std_deg,
            "cflexShiftStdAngst": shift_std_angst,
        }
        counted = {"cflexConverged": converged, "cflexFrame": frame}
        new = {
            label: decimals(self._checked(v, label, allow_nan=True)) for label, v in measured.items() if v is not None
        }
        new |= {
            label: shortest(self._checked(v, label).astype(np.int64)) for label, v in counted.items() if v is not None
        }
        order = (
            "cflexScore",
            "cflexConverged",
            "cflexConfidence",
            "cflexAngleStd",
            "cflexShiftStdAngst",
            "cflexFrame",
        )
        return self._with(self.particles.with_columns({label: new[label] for label in order if label in new}))

    def with_images(self, image_names: Sequence[str], folder: str | os.PathLike[str] | None = None) -> ParticleTable:
        """Replace the images; the new ones have white particles, as `ImageStack` gives them.

        Parameters
        ----------
        image_names
            (n) ``N@path``, absolute or relative to `folder`; the files need not exist yet.
        folder
            By default the folder of `source`.
        """
        self._require_length(len(image_names), "image names")
        particles = self.particles.with_columns({"rlnImageName": _names(image_names)})
        base = self.source.parent if folder is None else Path(folder)
        locations = locate_images(particles, base, None, must_exist=False)
        return ParticleTable(self.source, particles, self.optics.without([IMAGE_SIGN]), locations)

    def with_downsampled(self, box: int, pixel_size: float | ArrayLike) -> ParticleTable:
        """Describe the same images at another size; shifts in Å and the CTF do not change.

        Parameters
        ----------
        box
            New image size, px.
        pixel_size
            New pixel size, Å: one, or one per optics group.
        """
        groups = len(self.optics)
        old, new = (
            self.optics.numbers("rlnImagePixelSize"),
            np.broadcast_to(np.asarray(pixel_size, dtype=np.float64), (groups,)),
        )
        size = {"rlnImagePixelSize": shortest(new.copy()), "rlnImageSize": shortest(np.full(groups, box))}
        particles, per_particle = self.particles, new[self.optics_group]
        stale: dict[str, Text] = {}  # RELION 3.0 wrote these per particle; they must not contradict data_optics
        for label in ("rlnImagePixelSize", "rlnPixelSize"):
            if label in particles:
                stale[label] = shortest(per_particle)
        if "rlnImageSize" in particles:
            stale["rlnImageSize"] = shortest(np.full(len(self), box))
        if "rlnDetectorPixelSize" in particles:
            stale["rlnDetectorPixelSize"] = decimals(
                particles.numbers("rlnDetectorPixelSize") * (new / old)[self.optics_group]
            )
        table = ParticleTable(
            self.source, particles.with_columns(stale), self.optics.with_columns(size), self.locations
        )
        return table.with_origins_in_pixels()

    def with_origins_in_pixels(self) -> ParticleTable:
        """Make RELION 3.0's rlnOriginX/Y, where the file has them, agree with rlnOriginX/YAngst."""
        shift = self.shift_angst
        if shift is None or not any(label in self.particles for label in ORIGIN_PX_LABELS):
            return self
        pixels = shift / self.pixel_size[:, None]
        return self._with(
            self.particles.with_columns({label: decimals(pixels[:, i]) for i, label in enumerate(ORIGIN_PX_LABELS)})
        )

    def validate(self) -> None:
        """Read every typed column once, and keep none.

        Raises
        ------
        InputError
            For the first value that is missing or wrong, with its row.
        """
        if not len(self):
            raise InputError(f"{self.source}: found no particles, expected at least one; give a file with particles")
        read = ParticleTable(self.source, self.particles, self.optics, self.locations)
        for name in (
            "optics_group", "pixel_size", "phase_flipped", "sign", "euler_deg", "shift_angst", "ctf", "amplitudes",
            "amplitude_std", "score", "converged", "angle_std_deg", "shift_std_angst", "frame",
        ):  # fmt: skip
            getattr(read, name)
            if name != "optics_group":  # which the others need
                del read.__dict__[name]

    def numbers(self, label: str) -> Floats | None:
        """(n,) numbers of any column, from data_optics or else data_particles; None where neither has it."""
        return self._numbers(label)

    def _numbers(self, label: str) -> Floats | None:
        if label in self.optics:
            return self._of_particles(self.optics.numbers(label))
        return self.particles.numbers(label) if label in self.particles else None

    def _of_particles(self, values: Floats) -> Floats:
        """(n,) what the optics groups have; one number for all takes no memory."""
        return np.broadcast_to(values[0], len(self)) if len(values) == 1 else values[self.optics_group]

    def _optional(self, label: str) -> Floats | None:
        return self.particles.numbers(label, allow_nan=True) if label in self.particles else None

    def _stacked(self, labels: Sequence[str]) -> Floats:
        return np.stack([self.particles.numbers(label) for label in labels], axis=-1)

    def _mode_labels(self, prefix: str) -> list[tuple[int, str]]:
        pattern = re.compile(re.escape(prefix) + r"(\d+)")
        return [(int(match[1]), label) for label in self.particles.labels if (match := pattern.fullmatch(label))]

    def _with(self, particles: TextTable) -> ParticleTable:
        return ParticleTable(self.source, particles, self.optics, self.locations)

    def _require_length(self, found: int, what: str) -> None:
        if found != len(self):
            raise ValueError(f"{found} {what} for {len(self)} particles")

    def _checked(self, values: ArrayLike, what: str, width: int | None = None, *, allow_nan: bool = False) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        shape = (len(self),) if width is None else (len(self), width)
        if array.shape != shape:
            raise ValueError(f"{what} of shape {array.shape}, expected {shape}")
        bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
        if bad.any():
            row = int(np.argmax(bad if width is None else bad.any(axis=1)))
            name = self.particles.value(row, "rlnImageName")
            raise NonFiniteError(
                f"{self.source}: row {self.particles.first_row + row + 1} ({name}): the new {what} is {array[row]}, "
                "expected finite numbers"
            )
        return array


def replace_optics(table: ParticleTable, optics: TextTable) -> ParticleTable:
    """Give the same particles other optics columns."""
    return ParticleTable(table.source, table.particles, optics, table.locations)


def _names(image_names: Sequence[str]) -> Text:
    return np.array([quoted(name) for name in image_names], dtype=np.bytes_)
