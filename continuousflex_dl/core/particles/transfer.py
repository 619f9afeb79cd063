"""The CTF that the images of a particle file passed through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..imaging.ctf import CtfBatch, ctf
from ..imaging.fourier import Disc
from ..io.particle_table import ParticleTable


def transfer_function(
    table: ParticleTable, choice: str, indices: np.ndarray, disc: Disc, pixel_size: float | Tensor
) -> Tensor:
    """CTF (n, F) that the images of these particles passed through.

    Parameters
    ----------
    choice
        ``auto``: CTF columns where there are any, their modulus where the images are phase-flipped. ``model``: the
        same, but columns are needed. ``flipped``: the modulus for all. ``none``: one.
    indices
        (n,) 0-based particles.
    disc
        Frequencies (F).
    pixel_size
        Å, one for all or (n,).

    Raises
    ------
    InputError
        If a CTF is needed and the particle file has none.
    """
    if choice == "none" or (choice == "auto" and table.ctf is None):
        return torch.ones(len(indices), len(disc), device=disc.kx.device)
    if table.ctf is None:
        raise InputError(
            f"{table.source}: --ctf {choice} needs CTF columns (rlnDefocusU, rlnVoltage ...), found none; "
            "estimate the CTF first or use --ctf none"
        )
    values = ctf(CtfBatch.from_arrays(table.ctf.take(indices), disc.kx.device), disc.frequency(pixel_size))
    flipped = np.ones(len(indices), dtype=bool) if choice == "flipped" else np.asarray(table.phase_flipped)[indices]
    return torch.where(torch.as_tensor(flipped, device=values.device)[:, None], values.abs(), values)
