"""Contrast transfer function at any list of spatial frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..conventions import electron_wavelength


@dataclass(frozen=True)
class CtfBatch:
    """CTF parameters of n images as tensors (n,): kV, mm, Å, degrees; defocus positive for underfocus."""

    voltage_kv: Tensor
    cs_mm: Tensor
    amplitude_contrast: Tensor
    defocus_u_angst: Tensor
    defocus_v_angst: Tensor
    defocus_angle_deg: Tensor
    phase_shift_deg: Tensor

    @classmethod
    def from_arrays(cls, parameters: object, device: torch.device | str = "cpu") -> CtfBatch:
        """Make from any object with the same attributes as arrays, such as `core.io.particle_table.CtfParameters`."""
        return cls(
            *(
                torch.as_tensor(np.asarray(getattr(parameters, name), dtype=np.float64), device=device)
                for name in cls.__dataclass_fields__
            )
        )

    def __len__(self) -> int:
        return len(self.voltage_kv)


def ctf(parameters: CtfBatch, frequency: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Contrast transfer function.

    ``sqrt(1 - w^2) sin(chi) + w cos(chi)`` with
    ``chi = pi lambda df s^2 - pi / 2 Cs lambda^3 s^4 + phase shift`` and
    ``df = (U + V) / 2 + (U - V) / 2 cos 2 (a - a0)``: RELION's, positive contrast at low frequency for white particles.

    Parameters
    ----------
    parameters
        Of n images.
    frequency
        (n, F, 2) or (F, 2) spatial frequencies x, y in 1/Å.

    Returns
    -------
    (n, F) CTF, computed in float64 because chi reaches hundreds of radians.
    """
    p = parameters
    s = frequency.to(torch.float64)
    s2 = (s**2).sum(-1)
    azimuth = torch.atan2(s[..., 1], s[..., 0])
    column = lambda t: t.to(torch.float64)[:, None]  # noqa: E731
    wavelength = torch.as_tensor(electron_wavelength(p.voltage_kv.cpu().numpy()), device=s.device)[:, None]
    mean, half = column(p.defocus_u_angst + p.defocus_v_angst) / 2, column(p.defocus_u_angst - p.defocus_v_angst) / 2
    defocus = mean + half * torch.cos(2 * (azimuth - torch.deg2rad(column(p.defocus_angle_deg))))
    chi = (
        math.pi * wavelength * defocus * s2
        - math.pi / 2 * column(p.cs_mm) * 1e7 * wavelength**3 * s2**2
        + torch.deg2rad(column(p.phase_shift_deg))
    )
    w = column(p.amplitude_contrast)
    return (torch.sqrt(1 - w**2) * torch.sin(chi) + w * torch.cos(chi)).to(dtype)
