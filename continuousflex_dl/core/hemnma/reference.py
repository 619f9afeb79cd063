"""The deformable reference: (pseudo)atoms, normal modes, and coarser versions of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Reference:
    """Atoms that move along normal modes.

    Attributes
    ----------
    coordinates
        (N, 3) Å, from the unweighted mean of the original atoms.
    vectors
        (M, N, 3); an amplitude q displaces by q * vector, in Å.
    weights
        (N,) projected mass of each atom.
    sigma
        Gaussian width of an atom, Å.
    amplitude_unit
        Amplitude of a unit-norm mode at an RMSD of 1 Å: the square root of the number of original atoms.
    """

    coordinates: Tensor
    vectors: Tensor
    weights: Tensor
    sigma: float
    amplitude_unit: float

    @classmethod
    def from_arrays(
        cls,
        coordinates: np.ndarray,
        vectors: np.ndarray,
        weights: np.ndarray,
        sigma: float,
        device: torch.device | str = "cpu",
    ) -> Reference:
        """Centre the coordinates on their unweighted mean and scale the weights to a sum of one."""

        def as_tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=device)

        centred = np.asarray(coordinates, dtype=np.float64) - np.mean(coordinates, axis=0, dtype=np.float64)
        scaled = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        return cls(
            as_tensor(centred), as_tensor(vectors), as_tensor(scaled), float(sigma), float(np.sqrt(len(centred)))
        )

    @property
    def n_atoms(self) -> int:
        """Number of nodes."""
        return len(self.weights)

    @property
    def n_modes(self) -> int:
        """Number of modes."""
        return len(self.vectors)

    @property
    def radius(self) -> float:
        """Distance in Å from the centre that holds 95% of the mass."""
        distance = self.coordinates.norm(dim=-1)
        order = torch.argsort(distance)
        mass = torch.cumsum(self.weights[order], 0)
        return float(distance[order][torch.searchsorted(mass, 0.95 * mass[-1]).clamp(max=len(order) - 1)])

    @property
    def gyration_radius(self) -> float:
        """Root mean square distance in Å from the centre, by mass."""
        return float(torch.sqrt((self.weights * (self.coordinates**2).sum(-1)).sum() / self.weights.sum()))

    def deformed(self, amplitudes: Tensor) -> Tensor:
        """Coordinates (..., N, 3) for amplitudes (..., M)."""
        return self.coordinates + torch.einsum("...m,mnc->...nc", amplitudes, self.vectors)

    def mirrored(self) -> Reference:
        """The mirror image, which moves along the mirror images of the modes."""
        mirror = torch.tensor([1.0, 1.0, -1.0]).to(self.coordinates)
        return replace(self, coordinates=self.coordinates * mirror, vectors=self.vectors * mirror)

    def coarsened(self, spacing: float) -> Reference:
        """Blobs instead of atoms: atoms in one cell of a cubic lattice become one node.

        A blob sits at the centre of mass of its atoms and moves with their mean motion, so a projection at a
        resolution well below the spacing is the same to first order; the spread of the atoms widens the Gaussian.

        Parameters
        ----------
        spacing
            Lattice constant in Å.
        """
        cell = torch.floor((self.coordinates - self.coordinates.amin(0)) / spacing).long()
        extent = cell.amax(0) + 1
        _, group = torch.unique((cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2], return_inverse=True)
        count = int(group.max()) + 1
        if count == self.n_atoms:
            return self
        mass = torch.zeros_like(self.weights[:count]).index_add_(0, group, self.weights)
        safe = torch.where(mass.abs() > 0, mass, torch.ones_like(mass))

        def mean(values: Tensor) -> Tensor:  # (..., N, 3) -> (..., count, 3)
            total = torch.zeros(*values.shape[:-2], count, 3, dtype=values.dtype, device=values.device)
            return total.index_add_(-2, group, values * self.weights[:, None]) / safe[:, None]

        centre = mean(self.coordinates)
        spread = (self.weights * ((self.coordinates - centre[group]) ** 2).sum(-1)).sum() / self.weights.sum() / 3
        return Reference(
            centre, mean(self.vectors), mass, float(np.sqrt(self.sigma**2 + float(spread))), self.amplitude_unit
        )
