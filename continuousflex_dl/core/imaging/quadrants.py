"""Fourier coefficients as two quadrants, the layout in which products of harmonics fall out of a matrix product.

The sum over atoms of products of cosines and sines of x and y gives, for kx and |ky| from 0 to K, four numbers: cos
cos, cos sin, sin cos, sin sin. Their sums and differences are the coefficients at +ky and at -ky. Kept so, nothing
has to be gathered: the few coefficients outside the disc are multiplied by a transfer function of zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .fourier import Disc


@dataclass(frozen=True)
class Quadrants:
    """Layout of shape (2, K + 1, K + 1): first +ky, then -ky; then |ky|; then kx.

    Attributes
    ----------
    box
        Box size in px that the frequencies belong to.
    radius
        Largest frequency K, cycles per box.
    """

    box: int
    radius: int

    @property
    def size(self) -> int:
        """Number of complex coefficients, those outside the disc included."""
        return 2 * (self.radius + 1) ** 2

    def spread(self, values: Tensor, disc: Disc) -> Tensor:
        """Real (..., F) on a disc of this radius as (..., 2, K + 1, K + 1), zero outside the disc."""
        width = self.radius + 1
        position = ((disc.ky < 0).long() * width + disc.ky.abs()) * width + disc.kx
        full = torch.zeros(*values.shape[:-1], self.size, dtype=values.dtype, device=values.device)
        full[..., position] = values
        return full.unflatten(-1, (2, width, width))

    def waves(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """2 pi kx / box (K + 1,) and 2 pi |ky| / box (K + 1, 1), per px."""
        k = torch.arange(self.radius + 1, device=like.device, dtype=like.dtype) * (2 * math.pi / self.box)
        return k, k[:, None]

    def parts(self, products: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views cos cos, cos sin, sin cos, sin sin (y first), each (..., K + 1, K + 1), of a matrix of sums."""
        half = self.radius + 1
        top, bottom = products[..., :half, :], products[..., half:, :]
        return top[..., :half], top[..., half:], bottom[..., :half], bottom[..., half:]

    def fold(self, even: Tensor, odd: Tensor, out: Tensor) -> None:
        """Write even + odd at +ky and even - odd at -ky into `out` (..., 2, K + 1, K + 1)."""
        torch.add(even, odd, out=out[..., 0, :, :])
        torch.sub(even, odd, out=out[..., 1, :, :])
