"""What the networks learn: losses of both presets, estimates in physical units, and errors on held-out particles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from ..imaging.rotations import euler_from_rotation, symmetry_rotations
from ..nets.polar import Frames
from ..nets.published import Plain
from .labels import Labels, Scaling
from .sources import Batch


@dataclass(frozen=True)
class Prediction:
    """What is estimated of n particles.

    labels (n), and one-sigma errors: amplitude_std (n, M) Å, angle_std (n,) radians per axis, shift_std (n,) Å per
    axis; None where the network does not say.
    """

    labels: Labels
    amplitude_std: Tensor | None = None
    angle_std: Tensor | None = None
    shift_std: Tensor | None = None


class Objective:
    """Loss of a batch, and what an estimate means.

    The published networks are trained on mean absolute errors of amplitudes, quaternions and shifts. Otherwise
    orientations are matrices, whose distance knows no sign and no seam, and expected errors are learned beside the
    estimates.

    Parameters
    ----------
    scaling
        Of the labels.
    symmetry
        Point group of the reference: equivalent orientations are the same.
    """

    def __init__(self, scaling: Scaling, symmetry: str = "C1") -> None:
        self.scaling = scaling
        self.symmetry = symmetry_rotations(symmetry).float()

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts."""
        images, labels = batch
        found = model(images)
        wanted = self.scaling.amplitudes_in(labels.amplitudes), self.scaling.shift_in(labels.shift_angst)
        if isinstance(found, Plain):
            quaternion = published_quaternion(labels.rotation)
            pairs = (found.amplitudes, wanted[0]), (found.quaternion, quaternion), (found.shift, wanted[1])
            errors = [(value - target).abs().mean() for value, target in pairs]
            parts = dict(zip(("amplitude", "rotation", "shift"), errors, strict=True))
            return errors[0] + errors[1] + errors[2], parts
        amplitudes = (found.amplitudes - wanted[0][:, None]).abs()  # (n, T, M)
        shift = (found.shift - wanted[1][:, None]).abs()
        chord = self._chord(found.rotation, labels.rotation[:, None])
        weight = found.log_weight.exp()
        # what is to be expected of an answer that a frame gives with its probability
        parts = {
            "amplitude": (weight * amplitudes.mean(-1)).sum(-1).mean(),
            "rotation": (weight * chord).sum(-1).mean(),
            "shift": (weight * shift.mean(-1)).sum(-1).mean(),
        }
        squares = torch.cat([amplitudes**2, 0.5 * chord[..., None] ** 2, shift.square().sum(-1, keepdim=True)], dim=-1)
        likelihood = _error_loss(found.log_error, squares.detach())
        parts["error"] = (weight.detach() * likelihood).sum(-1).mean()
        return parts["amplitude"] + parts["rotation"] + parts["shift"] + parts["error"], parts

    def predicted(self, found: Frames | Plain) -> Prediction:
        """An estimate in physical units, of the most probable frame; errors are not calibrated."""
        if isinstance(found, Plain):
            rotation = matrix_of_published(nn.functional.normalize(found.quaternion, dim=-1, eps=1e-6))
            shift, amplitudes = self.scaling.shift_out(found.shift), self.scaling.amplitudes_out(found.amplitudes)
            return Prediction(Labels(rotation, shift, amplitudes))
        best = found.log_weight.argmax(-1)
        each = torch.arange(len(best), device=best.device)
        labels = Labels(
            found.rotation[each, best],
            self.scaling.shift_out(found.shift[each, best]),
            self.scaling.amplitudes_out(found.amplitudes[each, best]),
        )
        error = torch.exp(found.log_error[each, best])
        scale = error.new_tensor(self.scaling.amplitude_scale)
        return Prediction(labels, error[:, :-2] * scale, error[:, -2], error[:, -1] * self.scaling.shift_scale)

    def angle(self, rotation: Tensor, truth: Tensor) -> Tensor:
        """Angle (n,) in radians between rotations, the least over symmetry."""
        return 2 * torch.asin((self._chord(rotation, truth) / math.sqrt(8.0)).clamp(max=1.0))

    def _chord(self, rotation: Tensor, truth: Tensor) -> Tensor:
        """Distance (...) of matrices: the square root of 8 times the sine of half the angle."""
        with torch.autocast(truth.device.type, enabled=False):
            equivalent = truth[..., None, :, :] @ self.symmetry.to(truth)  # (..., g, 3, 3)
        square = (rotation[..., None, :, :] - equivalent).square().sum((-2, -1)).amin(-1)
        return torch.sqrt(square + 1e-8)


def _error_loss(log_error: Tensor, squares: Tensor) -> Tensor:
    """Negative log-likelihood (...) of errors that are normal with the deviations (..., M + 2) that are expected.

    A rotation by a small angle t has a chord of sqrt(2) t; t^2 is the sum over three axes, that of a shift over two.
    """
    axes = log_error.new_tensor([1.0] * (log_error.shape[-1] - 2) + [3.0, 2.0])
    return (axes * log_error + 0.5 * squares * torch.exp(-2 * log_error)).mean(-1)


def published_quaternion(rotation: Tensor) -> Tensor:
    """Quaternion (n, 4) as the paper makes it from Euler angles: scalar first, its sign that of the angles.

    Its half angles are those of rot, tilt and psi as `conventions.euler_from_matrix` gives them.
    """
    rot, tilt, psi = torch.as_tensor(euler_from_rotation(rotation)).to(rotation).deg2rad().unbind(-1)
    plus, minus, half = (psi + rot) / 2, (psi - rot) / 2, tilt / 2
    cosine, sine = torch.cos(half), torch.sin(half)
    parts = (cosine * torch.cos(plus), -sine * torch.sin(minus), sine * torch.cos(minus), cosine * torch.sin(plus))
    return torch.stack(parts, -1)


def matrix_of_published(quaternion: Tensor) -> Tensor:
    """Rotations (n, 3, 3) of quaternions in the paper's convention: the inverse of `published_quaternion`.

    The published product of turns by psi, tilt and rot is ours seen with y and z reversed (half a turn about x).
    """
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    reverse = quaternion.new_tensor([1.0, -1.0, -1.0])
    return roma.unitquat_to_rotmat(torch.cat([vector * reverse, scalar], -1))


def mean_errors(found: Labels, truth: Labels, objective: Objective) -> dict[str, float]:
    """Mean absolute errors: amplitude_angst, angle_deg, shift_angst (per axis)."""
    angle = torch.rad2deg(objective.angle(found.rotation, truth.rotation))
    return {
        "amplitude_angst": float((found.amplitudes - truth.amplitudes).abs().mean()),
        "angle_deg": float(angle.mean()),
        "shift_angst": float((found.shift_angst - truth.shift_angst).abs().mean()),
    }


def constant_like(truth: Labels) -> Labels:
    """The best that can be said of all particles alike: medians, and the mean orientation."""
    rotation = roma.special_procrustes(truth.rotation.mean(0))
    shift, amplitudes = (values.median(0).values for values in (truth.shift_angst, truth.amplitudes))
    count = len(truth)
    return Labels(rotation.expand(count, 3, 3), shift.expand(count, 2), amplitudes.expand(count, -1))


@torch.no_grad()
def held_out(
    model: nn.Module, objective: Objective, batches: Iterable[Batch], dtype: torch.dtype = torch.float32
) -> dict[str, float]:
    """Errors over batches: the loss that is minimised (without that of the expected errors), and `mean_errors`.

    The network, and nothing else, works in `dtype`: images are prepared as ever.
    """
    sums: dict[str, float] = {}
    count = 0
    for images, labels in batches:
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            loss, parts = objective.loss(model, (images, labels))
            found = objective.predicted(model(images)).labels
        errors = mean_errors(found, labels, objective)
        figures = {"loss": float(loss - parts.get("error", 0.0)), **errors}
        sums = {name: sums.get(name, 0.0) + len(labels) * value for name, value in figures.items()}
        count += len(labels)
    return {name: total / count for name, total in sums.items()}
