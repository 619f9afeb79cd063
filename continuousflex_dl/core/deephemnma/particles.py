"""Particles of a table as the network takes them: images read, their CTF, prepared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..imaging.ctf import CtfBatch
from ..io.particle_table import ParticleTable
from ..io.particles import refuse_unsupported
from ..particles.stack import ImageStack
from ..simulation.images import ctf_on_grid
from .preparation import Preparation

_SAME_PIXEL = 0.01  # relative difference


class TransferRows:
    """CTF of the particles of a table on the grid of the network.

    Parameters
    ----------
    table
        Particles.
    choice
        ``auto``, ``model``, ``flipped`` or ``none``, see `core.hemnma.pipeline.transfer_function`.
    box, pixel_size
        Of the grid.
    device
        Where to compute.
    """

    def __init__(
        self, table: ParticleTable, choice: str, box: int, pixel_size: float, device: torch.device | str
    ) -> None:
        self.box, self.pixel_size, self.device = box, pixel_size, device
        if choice in ("model", "flipped") and table.ctf is None:
            raise InputError(
                f"{table.source}: --ctf {choice} needs CTF columns (rlnDefocusU, rlnVoltage ...), found none; "
                "estimate the CTF first or use --ctf none"
            )
        self.ctf = None if choice == "none" else table.ctf
        self.flipped = np.full(len(table), True) if choice == "flipped" else np.asarray(table.phase_flipped)

    def __call__(self, rows: np.ndarray) -> Tensor | None:
        """CTF (n, box, box // 2 + 1) of particles, its modulus where they are phase-flipped; None without CTF."""
        if self.ctf is None:
            return None
        values = ctf_on_grid(CtfBatch.from_arrays(self.ctf.take(rows), self.device), self.box, self.pixel_size)
        flipped = torch.as_tensor(self.flipped[rows], device=self.device)
        return torch.where(flipped[:, None, None], values.abs(), values)


class Particles:
    """Prepared images of a table.

    Parameters
    ----------
    table, stack
        Particles and their images.
    preparation
        What is done to the images.
    ctf_choice
        See `TransferRows`.
    device
        Where to compute.

    Raises
    ------
    InputError
        If box or pixel size are not those that the preparation is for, or the table states what cannot be modelled.
    """

    def __init__(
        self,
        table: ParticleTable,
        stack: ImageStack,
        preparation: Preparation,
        ctf_choice: str = "auto",
        device: torch.device | str = "cpu",
    ) -> None:
        refuse_unsupported(table)
        if stack.box != preparation.box:
            raise InputError(
                f"{table.source}: found a box of {stack.box} px, but the network is for {preparation.box} px; scale "
                "the images to that box, or train a network on images of this one"
            )
        pixel = pixel_size_of(table)
        if abs(pixel / preparation.pixel_size - 1) > _SAME_PIXEL:
            raise InputError(
                f"{table.source}: found a pixel size of {pixel:g} Å, but the network is for "
                f"{preparation.pixel_size:g} Å; scale the images, give --pixel-size if the file is wrong, or train a "
                "network on images of this one"
            )
        self.table, self.stack, self.preparation, self.device = table, stack, preparation, torch.device(device)
        grid = preparation.network_box, preparation.network_pixel_size
        self.transfer = TransferRows(table, ctf_choice, *grid, self.device)

    def reduced(self, rows: np.ndarray) -> Tensor:
        """Images (n, network_box, network_box), not prepared otherwise."""
        # a copy in torch's own memory: the last bits of a transform depend on how its input is aligned
        images = torch.tensor(self.stack.read(rows), dtype=torch.float32, device=self.device)
        return self.preparation.reduced(images)

    def filtered(self, rows: np.ndarray) -> Tensor:
        """Images (n, network_box, network_box), see `Preparation.filtered`.

        On a CPU each image by itself: the last bits of what is done to many at a time depend on how many there are.
        """
        images = torch.tensor(self.stack.read(rows), dtype=torch.float32, device=self.device)
        if self.device.type != "cpu":
            return self.preparation.filtered(self.preparation.reduced(images), self.transfer(rows))
        out = torch.empty(len(rows), self.preparation.network_box, self.preparation.network_box)
        for number in range(len(rows)):
            alone = self.preparation.reduced(images[number : number + 1].clone())
            out[number] = self.preparation.filtered(alone, self.transfer(rows[number : number + 1]))[0]
        return out

    def prepared(self, rows: np.ndarray) -> Tensor:
        """Images (n, 1, network_box, network_box) as the network sees them."""
        return self.preparation.scaled(self.filtered(rows))


def pixel_size_of(table: ParticleTable) -> float:
    """The one pixel size of a table, Å.

    Raises
    ------
    InputError
        If its optics groups differ.
    """
    sizes = np.unique(np.round(np.asarray(table.pixel_size), 4))
    if sizes[-1] / sizes[0] - 1 > _SAME_PIXEL:
        raise InputError(
            f"{table.source}: found pixel sizes from {sizes[0]:g} to {sizes[-1]:g} Å, expected one; scale the images "
            "to one pixel size, or train on each optics group by itself"
        )
    return float(np.asarray(table.pixel_size)[0])
