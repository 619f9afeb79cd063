"""The networks of DeepHEMNMA as published (Hamitouche and Jonic, Frontiers in Molecular Biosciences 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .resnet import ResNet, multilayer


@dataclass(frozen=True)
class Plain:
    """What they say of n images in their own units: amplitudes (n, M), quaternion (n, 4), shift (n, 2)."""

    amplitudes: Tensor
    quaternion: Tensor
    shift: Tensor


class SeparateNetworks(nn.Module):
    """A ResNet-34 with layers of 1000, 512 and 128 for each parameter type."""

    def __init__(self, n_modes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        for name, size in {"amplitudes": n_modes, "quaternion": 4, "shift": 2}.items():
            trunk = ResNet()
            self.networks[name] = nn.Sequential(trunk, multilayer((trunk.n_features, 1000, 512, 128, size), dropout))

    def forward(self, images: Tensor) -> Plain:
        """Images (n, 1, box, box)."""
        return Plain(**{name: network(images).float() for name, network in self.networks.items()})
