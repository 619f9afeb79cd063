"""A network on polar images: turning the particle in its plane turns the features, and nothing has to learn that.

The image is sampled on rings; a turn becomes a shift along the angle, which convolutions with circular padding follow.
Each of the columns of features, T around the circle, sees the whole particle in a frame of its own, turned with the
column. In that frame it says what orientation, shift and amplitudes are, and how well its frame suits the particle.
The column with the best frame answers: it only ever has to tell views apart, not the turns of each view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Frames:
    """What T frames say of n images, in the units of the network and already turned back to the image.

    log_weight (n, T) of the logarithms of probabilities of being right; rotation (n, T, 3, 3); shift (n, T, 2);
    amplitudes (n, T, M); log_error (n, T, M + 2) logarithms of expected errors of amplitudes, rotation and shift.
    """

    log_weight: Tensor
    rotation: Tensor
    shift: Tensor
    amplitudes: Tensor
    log_error: Tensor


class CircularConvolution(nn.Conv2d):
    """A convolution that is padded with zeros along the radius, and around the circle along the angle."""

    def __init__(self, channels_in: int, channels: int, size: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__(channels_in, channels, size, stride, (size // 2, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, radii, angles)."""
        edge = self.kernel_size[1] // 2
        return super().forward(torch.cat([x[..., -edge:], x, x[..., :edge]], -1) if edge else x)


class PolarBlock(nn.Module):
    """A residual block of two circular convolutions."""

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            CircularConvolution(channels_in, channels, 3, stride),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            CircularConvolution(channels, channels, 3),
            nn.BatchNorm2d(channels),
        )
        same = stride == (1, 1) and channels_in == channels
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(CircularConvolution(channels_in, channels, 1, stride), nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, radii, angles)."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class PolarNetwork(nn.Module):
    """Images to `Frames`.

    Parameters
    ----------
    n_modes
        Number of amplitudes.
    box
        Of the images, px.
    radius_px
        Of the outermost ring.
    radii, angles
        Rings, a multiple of eight, and samples on each, a multiple of four.
    widths
        Channels: at full, half and quarter radius, and of the columns.
    """

    grid: Tensor
    ring: Tensor
    back: Tensor

    def __init__(
        self,
        n_modes: int,
        box: int,
        radius_px: float,
        *,
        radii: int = 24,
        angles: int = 64,
        widths: Sequence[int] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        first, second, third, last = widths
        ring = (torch.arange(radii) + 0.5) / radii
        turn = torch.arange(angles) * (2 * math.pi / angles)
        place = torch.stack([torch.cos(turn), torch.sin(turn)], -1) * (ring * radius_px)[:, None, None] + box // 2
        self.register_buffer("grid", place * (2.0 / (box - 1)) - 1.0, persistent=False)
        self.register_buffer("ring", (2 * ring - 1)[None, None, :, None].expand(1, 1, radii, angles), persistent=False)
        back = torch.arange(angles // 4) * (8 * math.pi / angles)
        zero = torch.zeros_like(back)
        rows = [torch.cos(back), -torch.sin(back), zero, torch.sin(back), torch.cos(back), zero, zero, zero, zero + 1]
        self.register_buffer("back", torch.stack(rows, -1).unflatten(-1, (3, 3)), persistent=False)
        self.rings = nn.Sequential(
            CircularConvolution(2, first, 5, (2, 2)), nn.BatchNorm2d(first), nn.ReLU(inplace=True),
            PolarBlock(first, first), PolarBlock(first, first),
            PolarBlock(first, second, (2, 2)), PolarBlock(second, second),
            PolarBlock(second, third, (2, 1)), PolarBlock(third, third),
        )  # fmt: skip
        self.columns = nn.Sequential(
            nn.Conv2d(third, last, (radii // 8, 1), bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True),
            PolarBlock(last, last),
        )  # fmt: skip
        self.n_modes = n_modes
        self.answer, self.error = _head(2 * last, last, 9 + n_modes), _head(2 * last, last // 2, n_modes + 2)

    def forward(self, images: Tensor) -> Frames:
        """Images (n, 1, box, box)."""
        count = len(images)
        rings = functional.grid_sample(
            images, self.grid.expand(count, -1, -1, -1), mode="bilinear", padding_mode="zeros", align_corners=True
        )
        x = torch.cat([rings, self.ring.expand(count, -1, -1, -1)], 1)
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.columns(self.rings(x))
        x = torch.cat([x, x.mean(-1, keepdim=True).expand_as(x)], 1)
        # errors are learned beside the answers, which are the same as without
        answer, error = (values[:, :, 0].float().transpose(1, 2) for values in (self.answer(x), self.error(x.detach())))
        with torch.autocast(x.device.type, enabled=False):  # geometry needs all its digits
            start = answer.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            rotation = self.back @ matrix_from_columns(answer[..., 1:7] + start)
            shift = (self.back[:, :2, :2] @ answer[..., 7:9, None]).squeeze(-1)
            log_weight = torch.log_softmax(answer[..., 0], -1)
        return Frames(log_weight, rotation, shift, answer[..., 9:], error.clamp(-8.0, 4.0))


def _head(channels_in: int, hidden: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, size, 1))


def matrix_from_columns(columns: Tensor) -> Tensor:
    """Rotations (..., 3, 3) from two columns (..., 6) by Gram and Schmidt: continuous, unlike angles and quaternions.

    Zhou et al., CVPR 2019.
    """
    first, second = columns[..., :3], columns[..., 3:]
    x = functional.normalize(first, dim=-1, eps=1e-6)
    y = functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)
