"""Projection of a volume by Fourier slices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class SliceProjector:
    """Projects one volume along many directions: central slices of its padded transform.

    The volume is divided by the transform of the trilinear kernel beforehand (gridding correction), padded, and
    transformed once; a projection then costs one trilinear look-up per pixel.

    Parameters
    ----------
    volume
        (box, box, box) real, [z, y, x], origin of coordinates at voxel box // 2.
    padding
        Size of the padded box over the box; 2 gives correlations above 0.999 with RELION's projections.
    """

    def __init__(self, volume: Tensor, padding: float = 2.0) -> None:
        if volume.ndim != 3 or len(set(volume.shape)) != 1:
            raise ValueError(f"a cubic volume is needed, found shape {tuple(volume.shape)}")
        self.box = volume.shape[0]
        padded = round(self.box * padding / 2) * 2
        self.padded = max(padded, self.box)
        low = self.padded // 2 - self.box // 2
        high = self.padded - self.box - low
        # index box // 2 must land on padded // 2, for odd boxes as well
        cube = functional.pad(volume * self._gridding_correction(volume), (low, high) * 3)
        transform = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(cube)))
        self._grid = torch.stack([transform.real, transform.imag])[None]  # (1, 2, z, y, x)

    def _gridding_correction(self, volume: Tensor) -> Tensor:
        offset = torch.arange(self.box, dtype=volume.dtype, device=volume.device) - self.box // 2
        kernel = torch.sinc(offset / self.padded) ** 2  # transform of linear interpolation along one axis
        return 1.0 / (kernel[:, None, None] * kernel[:, None] * kernel)

    def slices(self, rotation: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
        """Fourier coefficients of projections.

        Parameters
        ----------
        rotation
            (n, 3, 3), x_image = R x_reference.
        kx, ky
            (F,) frequencies in cycles per box (not padded).

        Returns
        -------
        (n, F) complex, with the origin at pixel box // 2.
        """
        plane = torch.stack([kx, ky, torch.zeros_like(kx)], -1).to(rotation)  # (F, 3)
        points = plane @ rotation  # (n, F, 3): R^T k
        scale = self.padded / self.box
        centre = self.padded // 2
        position = points * scale + centre
        grid = (2 * position / (self.padded - 1) - 1).to(
            self._grid
        )  # align_corners: -1 .. 1 over the first .. last sample
        sampled = functional.grid_sample(
            self._grid, grid[None, None], mode="bilinear", padding_mode="zeros", align_corners=True
        )
        return torch.complex(sampled[0, 0, 0], sampled[0, 1, 0])

    def project(self, rotation: Tensor, shift_px: Tensor | None = None, *, band_limit: bool = True) -> Tensor:
        """Images (n, box, box) of the volume.

        Parameters
        ----------
        rotation
            (n, 3, 3), x_image = R x_reference.
        shift_px
            (n, 2) x, y by which the image is moved (minus the RELION origin).
        band_limit
            Leave frequencies beyond Nyquist (the corners) out.
        """
        box = self.box
        ky, kx = torch.meshgrid(torch.fft.fftfreq(box) * box, torch.fft.rfftfreq(box) * box, indexing="ij")
        kx, ky = kx.to(self._grid), ky.to(self._grid)
        coefficients = self.slices(rotation, kx.flatten(), ky.flatten()).unflatten(-1, kx.shape)
        if shift_px is not None:
            angle = -2 * torch.pi / box * (shift_px[:, 0, None, None] * kx + shift_px[:, 1, None, None] * ky)
            coefficients = coefficients * torch.polar(torch.ones_like(angle), angle)
        if band_limit:
            coefficients = coefficients * (kx**2 + ky**2 <= (box / 2) ** 2)
        return torch.fft.fftshift(torch.fft.irfft2(coefficients, s=(box, box)), dim=(-2, -1))
