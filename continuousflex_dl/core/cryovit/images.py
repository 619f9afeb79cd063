"""Particle images made ready for comparison with projections: whitened Fourier coefficients, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..conventions import matrix_from_euler
from ..errors import InputError
from ..imaging.fourier import Disc, image_to_disc
from ..imaging.noise import background_power, without_plane
from ..imaging.quadrants import Quadrants
from ..io.particle_table import ParticleTable
from ..io.particles import refuse_unsupported
from ..particles.stack import ImageStack
from ..particles.transfer import transfer_function

NOISE_IMAGES = 256  # images that the noise is measured on, spread evenly over the set
_NOISE_FLOOR = 1e-3  # of the mean power: images without noise still have model errors
_SHIFT_SHARE = 0.05  # of the box, by which particles may be off the centre when the noise is measured


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Some particles.

    Attributes
    ----------
    index
        (b,) rows of the particle table.
    radius
        Largest frequency K, cycles per box.
    data
        (b, 2, 2, K + 1, K + 1) image over noise amplitude: real and imaginary parts, in the layout of `Quadrants`.
    transfer
        (b, 2, K + 1, K + 1) CTF over noise amplitude; zero outside the disc.
    square_frequency
        (b, 2, K + 1, K + 1) 1/Å^2.
    rotation, shift_px
        (b, 3, 3), (b, 2) as the particle file gives them.
    pixel_size
        (b,) Å.
    """

    index: Tensor
    radius: int
    data: Tensor
    transfer: Tensor
    square_frequency: Tensor
    rotation: Tensor
    shift_px: Tensor
    pixel_size: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def inner(self, radius: int) -> ImageBatch:
        """The same images at a lower resolution."""
        if radius >= self.radius:
            return self
        edge = radius + 1
        disc = Disc.make(2 * radius + 2, radius, self.data.device)
        quadrants = Quadrants(2 * radius + 2, radius)
        inside = quadrants.spread(torch.ones(len(disc), device=self.data.device), disc)
        return ImageBatch(
            self.index,
            radius,
            self.data[..., :edge, :edge] * inside,
            self.transfer[..., :edge, :edge] * inside,
            self.square_frequency[..., :edge, :edge],
            self.rotation,
            self.shift_px,
            self.pixel_size,
        )


class ParticleImages:
    """The images of a particle file with their CTF and starting poses.

    Parameters
    ----------
    table, stack
        Particles and their images.
    resolution
        Finest detail compared, Å.
    particle_radius
        Å; outside, images are noise.
    ctf_choice
        See `particles.transfer.transfer_function`.
    invert_contrast
        The particles are darker than their surroundings.
    device
        Where to compute.

    Raises
    ------
    InputError
        If there are no poses, the images are constant, or what they need is not supported.
    """

    def __init__(
        self,
        table: ParticleTable,
        stack: ImageStack,
        *,
        resolution: float,
        particle_radius: float,
        ctf_choice: str = "auto",
        invert_contrast: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        refuse_unsupported(table)
        self.table, self.stack, self.ctf_choice = table, stack, ctf_choice
        self.invert_contrast, self.device = invert_contrast, torch.device(device)
        if table.euler_deg is None:
            raise InputError(
                f"{table.source}: Cryo-ViT needs poses to start from (rlnAngleRot, rlnAngleTilt, rlnAnglePsi), found "
                "none; refine them in 3D first, or align with cflex hemnma"
            )
        self.pixel_sizes, self.group = np.unique(np.round(np.asarray(table.pixel_size), 4), return_inverse=True)
        self.radius = self.radius_at(resolution)
        self.disc = Disc.make(stack.box, self.radius, self.device)
        self._rotation = torch.as_tensor(matrix_from_euler(table.euler_deg), dtype=torch.float32)
        origin = np.zeros((len(table), 2)) if table.shift_angst is None else table.shift_angst
        self._pixel = torch.as_tensor(self.pixel_sizes[self.group], dtype=torch.float32)
        self._shift = -torch.as_tensor(origin, dtype=torch.float32) / self._pixel[:, None]
        transfer_function(table, ctf_choice, np.arange(1), Disc.make(stack.box, 1), 1.0)  # a missing CTF is said now
        self._noise = torch.stack([self._measure_noise(g, particle_radius) for g in range(len(self.pixel_sizes))])

    def __len__(self) -> int:
        return len(self.table)

    def radius_at(self, resolution: float) -> int:
        """Largest frequency, cycles per box, of a resolution in Å (of the coarsest pixels in the set)."""
        finest = int(self.stack.box * float(self.pixel_sizes.max()) / resolution)
        return max(2, min(finest, (self.stack.box - 1) // 2))

    def batch(self, rows: np.ndarray) -> ImageBatch:
        """Images of these particles (b,)."""
        disc, quadrants = self.disc, Quadrants(self.stack.box, self.radius)
        index = torch.as_tensor(rows, dtype=torch.long)
        whitening = self._noise[self.group[rows]][:, disc.shell]  # (b, F)
        data = image_to_disc(self._pixels(rows), disc) * whitening
        pixel = self._pixel[index].to(self.device)
        frequency = disc.frequency(pixel.double())
        transfer = transfer_function(self.table, self.ctf_choice, rows, disc, pixel.double()) * whitening
        return ImageBatch(
            index.to(self.device),
            self.radius,
            torch.stack([quadrants.spread(part.contiguous(), disc) for part in (data.real, data.imag)], 1),
            quadrants.spread(transfer, disc),
            quadrants.spread((frequency**2).sum(-1).float(), disc),
            self._rotation[index].to(self.device),
            self._shift[index].to(self.device),
            pixel,
        )

    def _pixels(self, rows: np.ndarray) -> Tensor:
        # a copy in torch's own memory: the last bits of a transform depend on how its input is aligned
        images = torch.tensor(self.stack.read(rows), dtype=torch.float32, device=self.device)
        images = without_plane(images, 0.45 * self.stack.box)
        return -images if self.invert_contrast else images

    def _measure_noise(self, group: int, particle_radius: float) -> Tensor:
        members = np.flatnonzero(self.group == group)
        if len(members) > NOISE_IMAGES:
            members = members[np.linspace(0, len(members) - 1, NOISE_IMAGES).round().astype(int)]
        images = self._pixels(members)
        box = self.stack.box
        power = background_power(images, particle_radius / self.pixel_sizes[group] + _SHIFT_SHARE * box)
        variance = float(images.double().var(dim=(-2, -1)).mean())
        if variance <= 0:
            raise InputError(f"{self.table.source}: all images are constant; check the image files")
        # real and imaginary parts of the noise get unit variance
        return torch.sqrt(2.0 / power.clamp(min=_NOISE_FLOOR * variance * box**2)).float()
