"""Images prepared for comparison with models: whitened Fourier coefficients and the filter that models pass through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..imaging.fourier import Disc


@dataclass(frozen=True)
class Observation:
    """A block of images in Fourier space.

    Attributes
    ----------
    disc
        Frequencies.
    data
        (B, F) complex: image coefficients over the noise amplitude; real and imaginary parts have unit variance.
    transfer
        (B, F) real: CTF over the same noise amplitude. A model passes through ``transfer * form factor``.
    pixel_size
        Å, one for the block.
    inflation
        The noise amplitude used is larger than that of the noise by this factor, for the model error.
    """

    disc: Disc
    data: Tensor
    transfer: Tensor
    pixel_size: float
    inflation: float = 1.0

    def inner(self, radius: int) -> Observation:
        """The same images at a lower resolution."""
        disc = self.disc.inner(radius)
        return replace(self, disc=disc, data=self.data[:, : len(disc)], transfer=self.transfer[:, : len(disc)])

    def take(self, index: Tensor) -> Observation:
        """Some of the images."""
        return replace(self, data=self.data[index], transfer=self.transfer[index])

    def __len__(self) -> int:
        return len(self.data)


def as_real(values: Tensor) -> Tensor:
    """Complex (..., F) as real (..., 2 F): all real parts, then all imaginary ones."""
    return torch.cat([values.real, values.imag], dim=-1)
