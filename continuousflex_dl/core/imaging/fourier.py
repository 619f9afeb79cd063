"""Images as Fourier coefficients on a disc of frequencies.

An image is real, so one half of the plane says everything; the mean (zero frequency) carries no information about the
particle and is left out. All comparisons of images with models are made on such a disc: its radius is the resolution,
so a coarse stage is a small disc of the same transform and never a re-sampled image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Disc:
    """Half disc of integer frequencies.

    Attributes
    ----------
    box
        Box size in px that the frequencies belong to.
    radius
        Largest frequency, in cycles per box.
    kx, ky
        (F,) integer frequencies as int64: kx > 0, or kx == 0 and ky > 0; sorted by radius, so that a smaller disc is
        the beginning of a larger one.
    """

    box: int
    radius: int
    kx: Tensor
    ky: Tensor

    @classmethod
    def make(cls, box: int, radius: int, device: torch.device | str = "cpu") -> Disc:
        """Disc of a given radius; at most the largest frequency that is below Nyquist."""
        radius = min(int(radius), (box - 1) // 2)
        if radius < 1:
            raise ValueError(f"a box of {box} px holds no frequency")
        ky, kx = torch.meshgrid(torch.arange(-radius, radius + 1), torch.arange(0, radius + 1), indexing="ij")
        kx, ky = kx.reshape(-1), ky.reshape(-1)
        square = kx**2 + ky**2
        keep = (square <= radius**2) & ((kx > 0) | (ky > 0))
        kx, ky, square = kx[keep], ky[keep], square[keep]
        order = torch.argsort(square * (4 * radius + 4) ** 2 + kx * (4 * radius + 4) + ky + 2 * radius, stable=True)
        return cls(box, radius, kx[order].to(device), ky[order].to(device))

    def __len__(self) -> int:
        return len(self.kx)

    def inner(self, radius: int) -> Disc:
        """Smaller disc; its coefficients are the first ones of this disc."""
        if radius >= self.radius:
            return self
        keep = int((self.kx**2 + self.ky**2 <= radius**2).sum())
        return Disc(self.box, int(radius), self.kx[:keep], self.ky[:keep])

    @property
    def shell(self) -> Tensor:
        """(F,) rounded distance from the origin, the index of the resolution shell."""
        return torch.sqrt((self.kx**2 + self.ky**2).double()).round().long()

    def frequency(self, pixel_size: float | Tensor) -> Tensor:
        """Spatial frequencies x, y in 1/Å: (F, 2), or (n, F, 2) for n pixel sizes in Å."""
        k = torch.stack([self.kx, self.ky], -1).double() / self.box
        if isinstance(pixel_size, Tensor) and pixel_size.ndim:
            return k / pixel_size.to(k)[:, None, None]
        return k / pixel_size


def image_to_disc(images: Tensor, disc: Disc) -> Tensor:
    """Fourier coefficients of images, with the origin of coordinates at pixel box // 2.

    Parameters
    ----------
    images
        (..., box, box) real, [y, x].

    Returns
    -------
    (..., F) complex: sum over pixels of image * exp(-2 pi i k x / box).
    """
    centred = torch.fft.ifftshift(images, dim=(-2, -1))
    return torch.fft.rfft2(centred)[..., disc.ky % disc.box, disc.kx]


def disc_to_image(coefficients: Tensor, disc: Disc) -> Tensor:
    """Images (..., box, box) of Fourier coefficients (..., F) on a disc; all other frequencies are zero."""
    box = disc.box
    full = torch.zeros(
        *coefficients.shape[:-1], box, box // 2 + 1, dtype=coefficients.dtype, device=coefficients.device
    )
    full[..., disc.ky % box, disc.kx] = coefficients
    axis = disc.kx == 0
    full[..., -disc.ky[axis] % box, disc.kx[axis]] = coefficients[..., axis].conj()
    return torch.fft.fftshift(torch.fft.irfft2(full, s=(box, box)), dim=(-2, -1))


def shift_phase(disc: Disc, shift_px: Tensor) -> Tensor:
    """Factors (..., F) that move an image by (..., 2) shifts x, y in px."""
    angle = -2 * math.pi / disc.box * (shift_px[..., 0:1] * disc.kx + shift_px[..., 1:2] * disc.ky)
    return torch.polar(torch.ones_like(angle), angle)
