"""A simulated particle set: what is drawn, and the images of a block of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..imaging.ctf import CtfBatch
from ..imaging.rotations import euler_from_rotation, random_rotations, rotation_from_euler
from ..io.particle_table import CtfParameters
from ..particles.preprocess import fourier_crop
from .images import add_noise, ctf_on_grid, filter_images, project_atoms


@dataclass(frozen=True)
class Drawn:
    """What is true of n particles, in the conventions of a particle file.

    euler_deg (n, 3); shift_angst (n, 2) as rlnOrigin; amplitudes (n, M) or None; frame (n,) 0-based or None.
    """

    euler_deg: np.ndarray
    shift_angst: np.ndarray
    amplitudes: np.ndarray | None
    frame: np.ndarray | None


@dataclass(frozen=True)
class Microscope:
    """How images are made.

    Attributes
    ----------
    box, pixel_size
        At which the particle is projected, px and Å.
    sigma
        Gaussian width of an atom, Å.
    snr
        Signal-to-noise ratio (see `add_noise`), or None for no noise.
    phase_flip
        Flip the phases at the end.
    final_box
        Fourier-crop to this box at the very end; None for no change.
    """

    box: int
    pixel_size: float
    sigma: float
    snr: float | None
    phase_flip: bool = False
    final_box: int | None = None

    @property
    def final_pixel_size(self) -> float:
        """Pixel size of the finished images, Å."""
        return self.pixel_size * self.box / (self.final_box or self.box)


def draw_poses(count: int, max_shift_angst: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Euler angles (count, 3) uniform on SO(3) and origins (count, 2) in Å uniform in a square."""
    generator = torch.Generator().manual_seed(seed)
    euler = euler_from_rotation(random_rotations(count, generator))
    shift = (2 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 1) * max_shift_angst
    return euler, shift.numpy()


def simulate_block(
    coordinates: np.ndarray,
    weights: np.ndarray,
    euler_deg: np.ndarray,
    shift_angst: np.ndarray,
    ctf: CtfParameters | None,
    microscope: Microscope,
    seed: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Images of some particles.

    Parameters
    ----------
    coordinates
        (n, N, 3) Å, the origin being the centre of the particle.
    weights
        (N,) projected mass.
    euler_deg, shift_angst
        (n, 3), (n, 2).
    ctf
        Of these particles, or None.
    microscope
        How.
    seed
        Of the noise of this block.

    Returns
    -------
    (n, final box, final box) float32.
    """

    def as_tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=device)

    shift_px = -as_tensor(shift_angst) / microscope.pixel_size
    images = project_atoms(
        as_tensor(coordinates),
        as_tensor(weights),
        rotation_from_euler(euler_deg).float().to(device),
        shift_px,
        microscope.sigma,
        microscope.box,
        microscope.pixel_size,
    )
    transfer = (
        None if ctf is None else ctf_on_grid(CtfBatch.from_arrays(ctf, device), microscope.box, microscope.pixel_size)
    )
    if microscope.snr is not None:
        images = add_noise(images, transfer, microscope.snr, torch.Generator(device=device).manual_seed(seed))
    elif transfer is not None:
        images = filter_images(images, transfer)
    if microscope.phase_flip and transfer is not None:
        images = filter_images(images, torch.where(transfer < 0, -1.0, 1.0))
    if microscope.final_box is not None:
        images = fourier_crop(images, microscope.final_box)
    return images.cpu().numpy()
