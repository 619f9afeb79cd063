"""Fourier back-projection: sums of image coefficients on an oversampled grid of the volume's transform.

Every coefficient of an image is spread over the eight grid points around its place in the volume's transform, with
trilinear weights and with the CTF as a factor; the squared CTF is spread alike. The quotient of the two sums is the
least-squares estimate of the transform (see `solve`). Only one half of the transform is kept: the volume is real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = 2  # oversampling of the grid; with 1 the corrections at the edge of the box would be large


@dataclass(frozen=True)
class Spread:
    """Where the coefficients of some images go: grid points and what is added there, all (P,).

    Attributes
    ----------
    index
        Flat index of the grid point.
    real, imag
        Of the coefficients times their factor.
    weight
        Squared factor.
    """

    index: Tensor
    real: Tensor
    imag: Tensor
    weight: Tensor


class FourierSums:
    """Sums over images on the half grid (z, y, x >= 0) of a volume's transform.

    Parameters
    ----------
    box
        Size of images and volume, px.
    radius
        Largest frequency that is kept, in cycles per box; at most what is below Nyquist.
    device
        Where the sums are.

    Attributes
    ----------
    real, imag, weight
        (2 R + 1, 2 R + 1, R + 1) float32 with R = `reach`; the zero frequency is at [R, R, 0].
    """

    def __init__(self, box: int, radius: int, device: torch.device | str = "cpu") -> None:
        self.box = box
        self.radius = min(int(radius), (box - 1) // 2)
        if self.radius < 1:
            raise ValueError(f"a box of {box} px holds no frequency")
        self.reach = PADDING * self.radius + 1
        side = 2 * self.reach + 1
        self.shape = (side, side, self.reach + 1)
        self.real, self.imag, self.weight = (
            torch.zeros(side * side * (self.reach + 1), dtype=torch.float32, device=device) for _ in range(3)
        )

    def spread(self, rotation: Tensor, kx: Tensor, ky: Tensor, coefficients: Tensor, factor: Tensor | None) -> Spread:
        """Find the grid points of image coefficients. Changes nothing, so several threads may prepare images.

        Parameters
        ----------
        rotation
            (n, 3, 3), x_image = R x_reference.
        kx, ky
            (F,) or (n, F) frequencies in cycles per box, at most `radius` from the origin.
        coefficients
            (n, F) complex, origin of coordinates at the centre of the particle.
        factor
            (n, F) CTF of the images, or None for 1.
        """
        plane = torch.stack([kx, ky], -1).to(torch.float32)  # (F, 2) or (n, F, 2)
        place = PADDING * (plane @ rotation[:, :2].to(torch.float32))  # (n, F, 3): R^T k
        # the half with x < 0 is the complex conjugate of the opposite point
        opposite = place[..., 0] < 0
        place = torch.where(opposite[..., None], -place, place)
        weight = torch.ones_like(coefficients.real) if factor is None else factor * factor
        weighted = coefficients if factor is None else coefficients * factor
        real, imag = weighted.real, torch.where(opposite, -weighted.imag, weighted.imag)
        low = torch.floor(place)
        share = place - low
        low = low.long()
        side, depth = self.shape[1], self.shape[2]
        first = ((low[..., 2] + self.reach) * side + low[..., 1] + self.reach) * depth + low[..., 0]
        fx, fy, fz = share.unbind(-1)
        parts: tuple[list[Tensor], ...] = ([], [], [], [])
        for z in (0, 1):
            along_z = fz if z else 1 - fz
            for y in (0, 1):
                along_yz = along_z * (fy if y else 1 - fy)
                for x in (0, 1):
                    portion = along_yz * (fx if x else 1 - fx)
                    new = (first + (z * side + y) * depth + x, portion * real, portion * imag, portion * weight)
                    for part, values in zip(parts, new, strict=True):
                        part.append(values.reshape(-1))
        return Spread(*(torch.cat(part) for part in parts))

    def add(self, spread: Spread) -> None:
        """Add prepared images. The order of the calls decides the last bits of the sums."""
        for total, values in (
            (self.real, spread.real),
            (self.imag, spread.imag),
            (self.weight, spread.weight),
        ):
            if total.is_cuda:  # this form sorts, and so gives the same bits every time; slower, but not on a GPU
                total.index_put_((spread.index,), values, accumulate=True)
            else:
                total.index_add_(0, spread.index, values)

    def rows(self, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """A slab of the half grid, rows `first` to `last` along y.

        A point with 0 < x < 1 adds to the plane x = 0; so does its mirror image, which was not spread. Here this plane
        is made whole.

        Returns
        -------
        Sums (complex) and weights, both (z, last - first, x), and the distance of the points from the origin in cycles
        per box.
        """
        side = self.shape[1]
        total = torch.complex(*(array.view(self.shape)[:, first:last].contiguous() for array in (self.real, self.imag)))
        weight = self.weight.view(self.shape)[:, first:last].clone()
        mirrored = [array.view(self.shape)[:, side - last : side - first, 0].flip((0, 1)) for array in self._arrays]
        total[:, :, 0] += torch.complex(mirrored[0], -mirrored[1])
        weight[:, :, 0] += mirrored[2]
        axis = torch.arange(-self.reach, self.reach + 1, device=self.real.device, dtype=torch.float32)
        half = torch.arange(self.reach + 1, device=self.real.device, dtype=torch.float32)
        square = axis[:, None, None] ** 2 + axis[first:last, None] ** 2 + half**2
        return total, weight, torch.sqrt(square) / PADDING

    @property
    def _arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.real, self.imag, self.weight


def images_per_block(radius: int, budget: int = 1 << 20) -> int:
    """Images to prepare at a time, so that they make about `budget` grid points."""
    return max(1, round(budget / (8 * math.pi / 2 * radius**2)))
