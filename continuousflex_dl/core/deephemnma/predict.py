"""Inference: prepared images through a trained network, in portions of one size so that results do not depend on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError, NonFiniteError
from ..hemnma.posterior import NEAR_DEG
from ..imaging.rotations import euler_from_rotation
from ..training.checkpoint import load_weights, read_checkpoint
from .labels import Labels, Scaling
from .learning import METHOD
from .objective import Objective, Prediction
from .particles import Particles
from .preparation import Preparation
from .presets import Preset
from .sources import Batch

PORTION = 32  # images that go through the network at one time, always: sums in other sizes may round otherwise
SURE_DEG = 10.0  # expected error of an orientation up to which a particle counts as converged


@dataclass(frozen=True)
class ErrorScale:
    """What makes expected errors true: measured on held-out particles.

    amplitudes (M), angle and shift are factors on what the network says; where it says nothing (`constant`), they are
    the errors themselves in Å, radians and Å.
    """

    amplitudes: tuple[float, ...]
    angle: float
    shift: float
    constant: bool = False

    @classmethod
    def measured(cls, found: Prediction, truth: Labels, objective: Objective) -> ErrorScale:
        """From predictions and the truth of held-out particles: root mean squares of error over expected error."""
        amplitudes = (found.labels.amplitudes - truth.amplitudes).square()
        angle = objective.angle(found.labels.rotation, truth.rotation).square() / 3  # per axis
        shift = (found.labels.shift_angst - truth.shift_angst).square().mean(-1)
        if found.amplitude_std is None or found.angle_std is None or found.shift_std is None:
            return cls(tuple(amplitudes.mean(0).sqrt().tolist()), _root(angle), _root(shift), constant=True)
        return cls(
            tuple((amplitudes / found.amplitude_std**2).mean(0).sqrt().tolist()),
            _root(angle / found.angle_std**2),
            _root(shift / found.shift_std**2),
        )

    def apply(self, found: Prediction) -> Prediction:
        """The prediction with calibrated errors."""
        like = found.labels.amplitudes
        factors = like.new_tensor(self.amplitudes)
        if self.constant or found.amplitude_std is None or found.angle_std is None or found.shift_std is None:
            one = like.new_ones(len(like))
            return Prediction(found.labels, factors.expand_as(like), one * self.angle, one * self.shift)
        return Prediction(
            found.labels, found.amplitude_std * factors, found.angle_std * self.angle, found.shift_std * self.shift
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "amplitudes": list(self.amplitudes), "angle": self.angle, "shift": self.shift, "constant": self.constant
        }  # fmt: skip


def _root(squares: Tensor) -> float:
    return float(squares.mean().sqrt())


class Network:
    """A trained network and all that its checkpoint says.

    Parameters
    ----------
    model, record
        The network, and ``model.json``.
    device
        Where it is.
    dtype
        Of matrix products.
    """

    def __init__(
        self, model: nn.Module, record: dict[str, Any], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.model, self.record, self.device, self.dtype = model.eval(), record, device, dtype
        if device.type == "cpu":
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.modes = tuple(int(mode) for mode in record["modes"])
        self.preparation = Preparation.from_dict(record["preparation"])
        self.objective = Objective(Scaling.from_dict(record["scaling"]), record["symmetry"])
        errors = record.get("errors")
        self.errors = ErrorScale(**{**errors, "amplitudes": tuple(errors["amplitudes"])}) if errors else None

    @classmethod
    def read(cls, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
        """Read a checkpoint.

        Raises
        ------
        InputError
            If it is not one of DeepHEMNMA, or of another version.
        """
        record, weights = read_checkpoint(folder, METHOD)
        try:
            model = Preset.from_dict(record["preset"]).build(
                len(record["modes"]), record["preparation"]["network_box"], record["radius_px"]
            )
            load_weights(model, weights, folder)
            return cls(model.to(device), record, device, dtype)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{folder / 'model.json'}: {type(error).__name__} {error}: found no complete description of a network; "
                "train it again"
            ) from None

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Prediction:
        """Estimates for prepared images (n, 1, network_box, network_box), with calibrated errors; on the CPU."""
        parts = []
        for first in range(0, len(images), PORTION):
            portion = images[first : first + PORTION]
            missing = PORTION - len(portion)
            full = torch.cat([portion, portion.new_zeros(missing, *portion.shape[1:])]) if missing else portion
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                found = self.objective.predicted(self.model(full))
            parts.append(_first(found, len(portion)))
        found = join(parts)
        return found if self.errors is None else self.errors.apply(found)

    def predict_rows(self, particles: Particles, rows: NDArray[np.int64]) -> Prediction:
        """Estimates for particles of a table.

        Raises
        ------
        NonFiniteError
            If an estimate is not finite.
        """
        portions = [rows[first : first + PORTION] for first in range(0, len(rows), PORTION)]
        found = join([self.predict(particles.prepared(portion)) for portion in portions])
        finite = torch.isfinite(found.labels.amplitudes).all(-1) & torch.isfinite(found.labels.rotation).all((-2, -1))
        if not finite.all():
            row = int(rows[int(torch.argmin(finite.int()))])
            raise NonFiniteError(
                f"{particles.table.source}: particle {row + 1} ({particles.table.image_name[row]}): the prediction is "
                "not finite; check the image"
            )
        return found


def _first(found: Prediction, count: int) -> Prediction:
    """The first predictions, on the CPU."""
    labels = Labels(*(getattr(found.labels, name)[:count].cpu() for name in ("rotation", "shift_angst", "amplitudes")))
    errors = (getattr(found, name) for name in ("amplitude_std", "angle_std", "shift_std"))
    return Prediction(labels, *(None if value is None else value[:count].cpu() for value in errors))


def join(parts: list[Prediction]) -> Prediction:
    """Several predictions as one."""
    names = ("amplitude_std", "angle_std", "shift_std")
    columns = [[getattr(part, name) for part in parts] for name in names]
    joined = [None if column[0] is None else torch.cat(column) for column in columns]
    return Prediction(Labels.join([part.labels for part in parts]), *joined)


def predict_batches(network: Network, batches: Iterable[Batch]) -> tuple[Prediction, Labels]:
    """Predictions and labels of batches."""
    found, truth = [], []
    for images, labels in batches:
        found.append(network.predict(images))
        truth.append(labels.to(torch.device("cpu")))
    return join(found), Labels.join(truth)


def as_arrays(found: Prediction) -> dict[str, NDArray[Any]]:
    """A prediction as HEMNMA gives its results; nan where an error is not known."""
    count, modes = found.labels.amplitudes.shape
    unknown = np.full(count, np.nan)
    angle = unknown if found.angle_std is None else np.rad2deg(found.angle_std.numpy().astype(np.float64))
    near = np.array([_near(value) for value in angle])
    return {
        "euler_deg": euler_from_rotation(found.labels.rotation),
        "shift_angst": -found.labels.shift_angst.numpy().astype(np.float64),
        "amplitudes": found.labels.amplitudes.numpy().astype(np.float64),
        "amplitude_std": (
            np.full((count, modes), np.nan) if found.amplitude_std is None
            else found.amplitude_std.numpy().astype(np.float64)
        ),
        "angle_std_deg": angle,
        "shift_std_angst": unknown if found.shift_std is None else found.shift_std.numpy().astype(np.float64),
        "confidence": near,
        "converged": ~(angle > SURE_DEG),
    }  # fmt: skip


def _near(angle_std_deg: float) -> float:
    """Probability that a turn with this deviation about each axis is within `NEAR_DEG`."""
    if not angle_std_deg > 0:
        return math.nan
    x = NEAR_DEG / angle_std_deg
    return math.erf(x / math.sqrt(2)) - math.sqrt(2 / math.pi) * x * math.exp(-0.5 * x * x)
