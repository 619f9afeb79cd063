"""What is known of labelled particles: poses, shifts and amplitudes; how they are scaled, split and moved along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..conventions import matrix_from_euler
from ..errors import InputError
from ..io.particle_table import ParticleTable


@dataclass(frozen=True)
class Labels:
    """What is known of n particles, in the frame of the image.

    rotation (n, 3, 3); shift_angst (n, 2) by which the particle is off the centre, minus the RELION origin; amplitudes
    (n, M) Å.
    """

    rotation: Tensor
    shift_angst: Tensor
    amplitudes: Tensor

    @classmethod
    def of(cls, table: ParticleTable, modes: Sequence[int]) -> Labels:
        """Read them from a particle table.

        Raises
        ------
        InputError
            If poses or the amplitudes of a mode are missing.
        """
        if table.euler_deg is None or table.shift_angst is None:
            raise InputError(
                f"{table.source}: found no poses (rlnAngleRot, rlnAngleTilt, rlnAnglePsi, rlnOriginXAngst, "
                "rlnOriginYAngst), expected them as labels; give the particles.star that 'cflex hemnma' writes, or "
                "train on rendered particles alone (--source rendered)"
            )
        missing = [mode for mode in modes if mode not in table.amplitudes]
        if missing:
            raise InputError(
                f"{table.source}: found no column _cflexModeAmplitude{missing[0]}, expected the amplitudes of modes "
                f"{', '.join(map(str, modes))} as labels; give the particles.star that 'cflex hemnma' writes, or train "
                "on rendered particles alone (--source rendered)"
            )
        return cls(
            torch.as_tensor(matrix_from_euler(table.euler_deg)).float(),
            torch.as_tensor(-table.shift_angst).float(),
            torch.as_tensor(np.stack([table.amplitudes[mode] for mode in modes], axis=1)).float(),
        )

    def __len__(self) -> int:
        return len(self.amplitudes)

    def take(self, index: Tensor) -> Labels:
        """Some of them."""
        return Labels(*(getattr(self, item.name)[index] for item in fields(self)))

    def to(self, device: torch.device) -> Labels:
        """The same on a device."""
        return Labels(*(getattr(self, item.name).to(device) for item in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Labels]) -> Labels:
        """Several as one."""
        return cls(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(cls)))

    def moved(self, angle: Tensor, shift_angst: Tensor) -> Labels:
        """The labels of images that are turned by an angle (n,) in radians (from x towards y), then shifted (n, 2)."""
        cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
        rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, zero + 1]
        turn = torch.stack(rows, -1).unflatten(-1, (3, 3))
        shift = (turn[:, :2, :2] @ self.shift_angst[..., None]).squeeze(-1) + shift_angst
        return Labels(turn @ self.rotation, shift, self.amplitudes)


@dataclass(frozen=True)
class Scaling:
    """From Å to the units of the network and back: offset and scale of each amplitude, scale of shifts (Å)."""

    amplitude_offset: tuple[float, ...]
    amplitude_scale: tuple[float, ...]
    shift_offset: float
    shift_scale: float

    @classmethod
    def standard(cls, labels: Labels) -> Scaling:
        """Mean 0 and standard deviation 1."""
        mean, std = labels.amplitudes.double().mean(0), labels.amplitudes.double().std(0).clamp(min=1e-3)
        shift = float(labels.shift_angst.double().square().mean().sqrt().clamp(min=1e-3))
        return cls(tuple(mean.tolist()), tuple(std.tolist()), 0.0, shift)

    @classmethod
    def unit_range(cls, labels: Labels) -> Scaling:
        """From the least to 0 and from the largest to 1, as DeepHEMNMA does."""
        low, high = labels.amplitudes.double().aminmax(dim=0)
        shift = labels.shift_angst.double()
        span = float((shift.max() - shift.min()).clamp(min=1e-3))
        return cls(tuple(low.tolist()), tuple((high - low).clamp(min=1e-3).tolist()), float(shift.min()), span)

    def amplitudes_in(self, values: Tensor) -> Tensor:
        """Å to network."""
        return (values - values.new_tensor(self.amplitude_offset)) / values.new_tensor(self.amplitude_scale)

    def amplitudes_out(self, values: Tensor) -> Tensor:
        """Network to Å."""
        return values * values.new_tensor(self.amplitude_scale) + values.new_tensor(self.amplitude_offset)

    def shift_in(self, values: Tensor) -> Tensor:
        """Å to network."""
        return (values - self.shift_offset) / self.shift_scale

    def shift_out(self, values: Tensor) -> Tensor:
        """Network to Å."""
        return values * self.shift_scale + self.shift_offset

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scaling:
        """Rebuild from `to_dict`."""
        return cls(
            tuple(values["amplitude_offset"]), tuple(values["amplitude_scale"]),
            values["shift_offset"], values["shift_scale"],
        )  # fmt: skip


def has_labels(table: ParticleTable, modes: Sequence[int]) -> bool:
    """Whether a particle table has poses and the amplitudes of these modes."""
    posed = table.euler_deg is not None and table.shift_angst is not None
    return posed and all(mode in table.amplitudes for mode in modes)


def typical(amplitudes: np.ndarray, threshold: float) -> np.ndarray:
    """Mask (n,) of amplitudes (n, M) within so many Mahalanobis distances of their mean."""
    offset = amplitudes - amplitudes.mean(axis=0)
    covariance = np.atleast_2d(np.cov(amplitudes.T))
    covariance += 1e-9 * max(float(np.trace(covariance)), 1e-9) * np.eye(len(covariance))
    return np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset) <= threshold**2


def split(count: int, validation: float, seed: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Particles to train on and particles to validate on, which share none; both sorted.

    Raises
    ------
    InputError
        If one of the two would be empty.
    """
    held = round(count * validation)
    if not 0 < held < count:
        raise InputError(
            f"{source}: {count} labelled particles leave {held} for validation and {count - held} for training "
            f"(--validation {validation:g}), expected some of both; give more particles or another share"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])
