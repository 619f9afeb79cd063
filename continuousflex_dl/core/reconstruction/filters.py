"""Filters of maps: low-pass, B-factor, soft masks."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EDGE_SHELLS = 2.0  # half width of the edge of a low-pass, shells
_MASK_LOW_PASS_ANGST = 15.0
_NOISE_SIGMAS, _PEAK_SHARE = 4.0, 0.15
_SMALL_PART = 0.01


def radial_filter(
    volume: Tensor, pixel_size: float, *, low_pass: float | None = None, b_factor: float | None = None
) -> Tensor:
    """Low-pass a map and change its B-factor.

    Parameters
    ----------
    volume
        (box, box, box).
    pixel_size
        Å.
    low_pass
        Resolution in Å where the amplitude has fallen to one half, with a cosine edge of four shells; None: no filter.
    b_factor
        Å^2; the amplitude is multiplied by exp(-B s^2 / 4), so a negative one sharpens. None: no change.
    """
    box = volume.shape[0]
    full = torch.fft.fftfreq(box, device=volume.device, dtype=torch.float64)
    half = torch.fft.rfftfreq(box, device=volume.device, dtype=torch.float64)
    frequency = torch.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2) / pixel_size  # 1/Å
    gain = torch.ones_like(frequency)
    if b_factor is not None:
        gain = gain * torch.exp(-b_factor * frequency**2 / 4)
    if low_pass is not None:
        shells = (frequency - 1 / low_pass) * box * pixel_size
        gain = gain * (0.5 - 0.5 * torch.sin((math.pi / 2) * (shells / _EDGE_SHELLS).clamp(-1, 1)))
    transform = torch.fft.rfftn(volume) * gain.to(volume.dtype)
    return torch.fft.irfftn(transform, s=tuple(volume.shape))


def sphere_mask(box: int, radius_px: float, edge_px: float, device: torch.device | str = "cpu") -> Tensor:
    """Mask (box, box, box): 1 inside a radius about voxel box // 2, a cosine edge, 0 outside."""
    axis = torch.arange(box, dtype=torch.float32, device=device) - box // 2
    distance = torch.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return 0.5 + 0.5 * torch.cos(torch.pi * ((distance - radius_px) / max(edge_px, 1e-6)).clamp(0, 1))


def automatic_mask(volume: Tensor, pixel_size: float, extend_px: float = 3.0, edge_px: float = 6.0) -> Tensor:
    """Soft mask around what stands out of the noise of a map.

    The map is low-passed to 15 Å (or 5 px); what is above four standard deviations of the noise outside the inscribed
    sphere and above 15 % of the highest density is kept, without small parts and holes.

    Parameters
    ----------
    volume
        (box, box, box).
    pixel_size
        Å.
    extend_px, edge_px
        How far it reaches beyond that, and the width of the cosine edge after it.

    Raises
    ------
    ValueError
        If nothing stands out.
    """
    from scipy import ndimage

    box = volume.shape[0]
    smooth = radial_filter(volume, pixel_size, low_pass=max(_MASK_LOW_PASS_ANGST, 5 * pixel_size)).cpu().numpy()
    axis = np.arange(box) - box // 2
    outside = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 > (0.48 * box) ** 2
    centre = float(np.median(smooth[outside]))
    noise = 1.4826 * float(np.median(np.abs(smooth[outside] - centre)))
    peak = float(np.percentile(smooth, 99.9))
    above = smooth > centre + max(_NOISE_SIGMAS * noise, _PEAK_SHARE * (peak - centre))
    above &= ~outside
    labels, count = ndimage.label(above)
    if not count:
        raise ValueError("nothing in the map stands out of its noise; give a mask")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = ndimage.binary_fill_holes(np.isin(labels, np.flatnonzero(sizes >= _SMALL_PART * sizes.max())))
    distance = ndimage.distance_transform_edt(~kept)
    soft: NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - extend_px) / edge_px, 0, 1))
    return torch.as_tensor(soft, dtype=volume.dtype, device=volume.device)
