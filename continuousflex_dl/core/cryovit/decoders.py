"""From a latent to displacements of the nodes: three decoders behind one interface.

Each gives the displacements (b, N, 3) in Å and their cost (b,) in nats: how unlikely so large and so rough a motion is
before the image is seen. None can move or turn the structure as a whole: that is what the pose is for.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ..dynamics.network import N_RIGID
from .reference import FlexibleReference

DecoderKind = Literal["smooth", "modes", "free"]
_RESIDUE_SHARE = 0.1  # of the expected motion that decoder `modes` may add to its modes


class Decoder(Protocol):
    """What every decoder does."""

    def __call__(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements (b, N, 3) in Å and their cost (b,) for latents (b, d)."""
        ...


class SmoothDecoder(nn.Module):
    """Elastic motions with coefficients that a network makes of the latent, its first guess being the softest modes.

    The coefficients are scaled by the stiffness of their modes, so that stiff (rough) motions are learned last and cost
    most: a regularisation by the graph of neighbours that needs no weight to be chosen.

    Parameters
    ----------
    basis
        (K, N, 3), see `elastic.elastic_basis`.
    latent
        Numbers per particle.
    width, depth
        Of the hidden layers.
    """

    basis: Tensor

    def __init__(self, basis: Tensor, latent: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.mean = nn.Parameter(torch.zeros(len(basis)))
        self.linear = nn.Parameter(torch.eye(latent, len(basis)))
        self.curved = mlp(latent, width, depth, len(basis), nn.SiLU)

    def coefficients(self, latent: Tensor) -> Tensor:
        """Coefficients (b, K) of the elastic motions."""
        return self.mean + latent @ self.linear + self.curved(latent)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder`."""
        coefficients = self.coefficients(latent)
        displacement = (coefficients @ self.basis.flatten(1)).unflatten(-1, self.basis.shape[1:])
        return displacement, 0.5 * (coefficients**2).sum(-1)


class ModesDecoder(nn.Module):
    """One normal mode per latent number, linear, and a small free residue.

    Parameters are those of `SmoothDecoder`.
    """

    basis: Tensor

    def __init__(self, basis: Tensor, latent: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.mean = nn.Parameter(torch.zeros(latent))
        self.scale = nn.Parameter(torch.ones(latent))
        self.residue = mlp(latent, width, depth, len(basis), nn.SiLU)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder`."""
        along = self.mean + self.scale * latent
        residue = self.residue(latent)
        modes = torch.cat([along, along.new_zeros(len(along), len(self.basis) - along.shape[1])], 1)
        displacement = ((modes + _RESIDUE_SHARE * residue) @ self.basis.flatten(1)).unflatten(-1, self.basis.shape[1:])
        return displacement, 0.5 * (along**2).sum(-1) + 0.5 * (residue**2).sum(-1)


class FreeDecoder(nn.Module):
    """Three numbers per node straight from a network, in the metric of the elastic network (thesis, ch. 5).

    Any displacement can be made, but the network's numbers count in proportion to how soft the motions are that they
    add up to, and cost the energy of the elastic network: the potential energy that the thesis used for its synthetic
    images and did not define. Without it, blobs that cannot be told from their neighbours trade places for good.

    Parameters
    ----------
    motions
        (6 + K, N, 3), see `elastic.soft_motions`. What is orthogonal to all of them is as stiff as the last.
    reference
        With N nodes.
    latent, width, depth
        See `SmoothDecoder`.
    keep_rigid
        Leave in what moves the structure as a whole, as the thesis does.
    """

    basis: Tensor
    vectors: Tensor
    more: Tensor
    motions: Tensor
    amounts: Tensor

    def __init__(
        self,
        motions: Tensor,
        reference: FlexibleReference,
        latent: int,
        width: int = 256,
        depth: int = 6,
        keep_rigid: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("basis", motions)
        flat = motions.flatten(1)
        size = flat.norm(dim=1)
        self.register_buffer("vectors", flat / size[:, None], persistent=False)
        self.least = float(size[-1])
        self.register_buffer("more", size - self.least, persistent=False)
        for name, values in zip(("motions", "amounts"), reference.rigid_part(), strict=True):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))
        self.keep_rigid = keep_rigid
        self.layers = mlp(latent, width, depth, reference.nodes.size, nn.LeakyReLU)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder`; the cost is the energy of the elastic network."""
        numbers = self.layers(latent)
        along = numbers @ self.vectors.T
        flat = self.least * numbers + (along * self.more) @ self.vectors
        if not self.keep_rigid:
            flat = flat - (flat @ self.amounts.T) @ self.motions
        energy = 0.5 * ((numbers**2).sum(-1) - (along[:, :N_RIGID] ** 2).sum(-1))
        return flat.unflatten(-1, (-1, 3)), energy


def mlp(inputs: int, width: int, depth: int, outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    """`depth` hidden layers and a linear one that starts at zero."""
    layers: list[nn.Module] = []
    for layer in range(depth):
        linear = nn.Linear(width if layer else inputs, width)
        if activation is nn.LeakyReLU and depth > 2:  # in torch's own start a signal fades by half in every layer
            nn.init.kaiming_normal_(linear.weight, a=0.01)
        layers += [linear, activation()]
    last = nn.Linear(width if depth else inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
