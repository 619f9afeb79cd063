"""Image of a deformed structure as Fourier coefficients, differentiable by coordinates, pose and atom width.

A Gaussian atom is a product of a factor of x and one of y, so the sum over atoms is one matrix product (see
`core.imaging.gaussian`), and its exact gradients are matrix products too. The number of frequencies sets the cost: a
coarse stage is a smaller product.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..imaging.gaussian import harmonics
from ..imaging.quadrants import Quadrants
from .reference import FlexibleReference


class Projector(nn.Module):
    """Projects displaced nodes.

    Parameters
    ----------
    reference
        Its arrays become buffers and are saved with the network.
    box
        px.
    fit_mass
        Learn where the mass of each node lies and how much it is: for a reference without side chains.
    """

    atoms: Tensor
    weights: Tensor
    following: Tensor
    node_rows: Tensor
    centre: Tensor

    def __init__(self, reference: FlexibleReference, box: int, *, fit_mass: bool) -> None:
        super().__init__()
        self.box, self.follows, self.fit_mass = box, reference.following is not None, fit_mass
        self.register_buffer("atoms", torch.as_tensor(reference.atoms, dtype=torch.float32))
        self.register_buffer("weights", torch.as_tensor(reference.weights, dtype=torch.float32))
        following = torch.zeros(0) if reference.following is None else torch.as_tensor(reference.following)
        self.register_buffer("following", following)
        self.register_buffer("node_rows", torch.as_tensor(reference.node_rows))
        self.register_buffer("centre", torch.as_tensor(reference.centre, dtype=torch.float64))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(reference.sigma)))
        # in tens of Å and of logarithms, so that one learning rate suits all
        self.offset = nn.Parameter(torch.zeros(len(reference.atoms), 3), requires_grad=fit_mass)
        self.log_weight = nn.Parameter(torch.zeros(len(reference.atoms)), requires_grad=fit_mass)

    @property
    def sigma(self) -> Tensor:
        """Gaussian width of an atom, Å."""
        return torch.exp(self.log_sigma)

    def places(self, displacement: Tensor) -> Tensor:
        """Coordinates (b, A, 3) of the atoms for displacements (b, N, 3) of the nodes, Å."""
        moved = torch.matmul(self.following, displacement) if self.follows else displacement
        return self.atoms + 10.0 * self.offset + moved

    def forward(
        self, displacement: Tensor, rotation: Tensor, shift_px: Tensor, pixel_size: Tensor, radius: int
    ) -> Tensor:
        """Coefficients of point atoms (b, 2, 2, K + 1, K + 1): real and imaginary, in the layout of `Quadrants`.

        Parameters
        ----------
        displacement
            (b, N, 3) of the nodes, Å.
        rotation, shift_px
            (b, 3, 3), (b, 2).
        pixel_size
            (b,) Å.
        radius
            Largest frequency K, cycles per box.
        """
        along = self.places(displacement) @ rotation[:, :2].transpose(-1, -2) / pixel_size[:, None, None]
        x, y = (along + shift_px[:, None]).unbind(-1)
        x_waves, y_waves = harmonics(x, radius, self.box), harmonics(y, radius, self.box)
        mass = self.weights * torch.exp(10.0 * self.log_weight) if self.fit_mass else self.weights
        sums = (y_waves * mass) @ x_waves.transpose(-1, -2)
        cos_cos, cos_sin, sin_cos, sin_sin = Quadrants(self.box, radius).parts(sums)
        real = torch.stack([cos_cos - sin_sin, cos_cos + sin_sin], 1)
        imaginary = torch.stack([-cos_sin - sin_cos, sin_cos - cos_sin], 1)
        return torch.stack([real, imaginary], 1)

    def blur(self, square_frequency: Tensor) -> Tensor:
        """Form factor of an atom at squared spatial frequencies in 1/Å^2."""
        return torch.exp(-2 * math.pi**2 * self.sigma**2 * square_frequency)

    def mass_cost(self) -> Tensor:
        """Cost in nats of the fitted offsets (1 Å) and masses (30 %) of all nodes together."""
        if not self.fit_mass:
            return self.log_sigma.new_zeros(())
        return 0.5 * (100.0 * self.offset**2).sum() + 0.5 * ((10.0 * self.log_weight / 0.3) ** 2).sum()
