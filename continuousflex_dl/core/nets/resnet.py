"""Residual networks for images of one channel (He et al., CVPR 2016), of any depth and width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a short cut."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        same = stride == 1 and channels_in == channels
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


class ResNet(nn.Module):
    """Images to features: ResNet-34 by default, without its classifier.

    Parameters
    ----------
    blocks
        Of each stage; every stage but the first halves the image.
    widths
        Channels of each stage.
    pool
        A max-pooling after the first convolution, which halves the image once more.
    """

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), widths: Sequence[int] = (64, 128, 256, 512), *, pool: bool = True
    ) -> None:
        super().__init__()
        stem: list[nn.Module] = [
            nn.Conv2d(1, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        ]  # fmt: skip
        if pool:
            stem.append(nn.MaxPool2d(3, 2, 1))
        layers, channels = [], widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                layers.append(BasicBlock(channels, width, 2 if block == 0 and number > 0 else 1))
                channels = width
        self.stem, self.layers = nn.Sequential(*stem), nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.n_features = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, h, w) to (n, n_features)."""
        return self.pool(self.layers(self.stem(images))).flatten(1)


def multilayer(sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers between these sizes, with ReLU (and dropout) after all but the last."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(before, after))
        if number < len(sizes) - 2:
            layers.append(nn.ReLU(inplace=True))
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
