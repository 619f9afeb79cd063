"""Pure functions on images (..., box, box): cropping in Fourier space, phase flipping, normalisation, contrast."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor


def fourier_crop(images: Tensor, box: int) -> Tensor:
    """Downscale images by keeping their low frequencies.

    Grey values keep their scale (a constant image stays the same constant), and pixel n//2 goes to pixel box//2, for
    even and odd sizes. Multiply the pixel size by n/box.

    Parameters
    ----------
    images
        (..., n, n).
    box
        New size, px, at most n.

    Returns
    -------
    (..., box, box).

    Raises
    ------
    ValueError
        Where `box` is larger than the images or below 1.
    """
    n = images.shape[-1]
    if not 1 <= box <= n or images.shape[-2] != n:
        raise ValueError(f"cannot crop images of {images.shape[-2]} x {n} px to {box} px")
    if box == n:
        return images
    centred = torch.fft.ifftshift(images, dim=(-2, -1))  # pixel n//2 first: its phase is then zero at any size
    full = torch.fft.rfft2(centred)
    half = box // 2
    rows = torch.cat([full[..., : box - half, : half + 1], full[..., n - half :, : half + 1]], dim=-2)
    if box % 2 == 0:  # both signs of the new Nyquist row fall on one row; half of each keeps mirror symmetry
        rows[..., half, :] = 0.5 * (full[..., half, : half + 1] + full[..., n - half, : half + 1])
    cropped = torch.fft.irfft2(rows, s=(box, box)) * (box / n) ** 2
    return torch.fft.fftshift(cropped, dim=(-2, -1))


def phase_flip(images: Tensor, ctf: Tensor) -> Tensor:
    """Multiply images by the sign of their CTF in Fourier space.

    Parameters
    ----------
    images
        (..., n, n).
    ctf
        (..., n, n//2 + 1) CTF or its sign, in the layout of `torch.fft.rfft2`; where it is 0, nothing changes.

    Returns
    -------
    (..., n, n); flipping twice gives the images back.
    """
    sign = torch.where(ctf < 0, -1.0, 1.0).to(images.dtype)
    return torch.fft.irfft2(torch.fft.rfft2(images) * sign, s=images.shape[-2:])


def normalise(images: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
    """Shift and scale images so that `mean` becomes 0 and `std` becomes 1."""
    return (images - mean) / std


def invert_contrast(images: Tensor) -> Tensor:
    """Make dark particles white, and the reverse."""
    return -images


@dataclass(frozen=True)
class ImageStatistics:
    """Background of a set of images: the pixels outside a circle around the centre.

    Parameters
    ----------
    mean, std
        Over the background pixels of all images.
    n_images
        Number of images.
    box
        px.
    radius_px
        Radius of the circle, px.
    """

    mean: float
    std: float
    n_images: int
    box: int
    radius_px: float

    @classmethod
    def measure(cls, batches: Iterable[Tensor], radius_px: float | None = None) -> ImageStatistics:
        """Measure a set of images.

        Parameters
        ----------
        batches
            Of (k, box, box) each.
        radius_px
            By default half the box: the corners and nothing else.

        Raises
        ------
        ValueError
            Without images, or where the circle leaves no background.
        """
        counts: list[int] = []
        sums: list[float] = []  # per image, added exactly, so that the result does not depend on the batches
        squares: list[float] = []
        box, radius, outside = 0, 0.0, torch.zeros(0, dtype=torch.bool)
        for batch in batches:
            if not box:
                box = batch.shape[-1]
                radius = box / 2 if radius_px is None else float(radius_px)
                outside = background_mask(box, radius).to(batch.device)
                if not outside.any():
                    raise ValueError(f"a circle of radius {radius} px leaves no background in a box of {box} px")
            pixels = batch[..., outside].double()
            counts.extend([pixels.shape[-1]] * len(pixels))
            sums.extend(pixels.sum(-1).tolist())
            squares.extend(pixels.square().sum(-1).tolist())
        if not counts:
            raise ValueError("no images to measure")
        mean = math.fsum(sums) / sum(counts)
        variance = math.fsum(squares) / sum(counts) - mean**2
        return cls(mean, math.sqrt(max(variance, 0.0)), len(counts), box, radius)

    def apply(self, images: Tensor) -> Tensor:
        """Give the images a background of mean 0 and standard deviation 1."""
        return normalise(images, self.mean, self.std if self.std > 0 else 1.0)

    def to_dict(self) -> dict[str, float | int]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float | int]) -> ImageStatistics:
        """Rebuild from `to_dict`."""
        return cls(**values)  # type: ignore[arg-type]


def background_mask(box: int, radius_px: float) -> Tensor:
    """Pixels (box, box) farther than `radius_px` from the centre pixel box//2."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    return axis[:, None] ** 2 + axis[None, :] ** 2 > radius_px**2
