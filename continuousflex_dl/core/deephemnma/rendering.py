"""Fresh particles without end: rendered from the reference and its modes with the CTF and the noise of real images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..hemnma.reference import Reference
from ..imaging.fourier import Disc, disc_to_image
from ..imaging.gaussian import form_factor, project
from ..imaging.rotations import random_rotations
from ..simulation.images import filter_images
from .labels import Labels
from .preparation import shells

_SPACING = 1.25  # lattice constant of the blobs that stand for atoms, in units of the pixel of the network
_CHUNK = 32  # images at a time: what stays near the cache


@dataclass(frozen=True)
class ImageModel:
    """How particle images of one set look, measured on some of them (`measure`).

    Attributes
    ----------
    box, pixel_size
        Of the images here, px and Å.
    sigma
        Width of an atom, Å.
    scale
        Factor from the projection of weights that sum to one to the coefficients of an image.
    noise
        Mean power per shell 0 .. box // 2 of the background.
    signal
        Mean power per shell of the particle without CTF.
    """

    box: int
    pixel_size: float
    sigma: float
    scale: float
    noise: tuple[float, ...]
    signal: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def clean_coefficients(reference: Reference, labels: Labels, disc: Disc, pixel_size: float) -> Tensor:
    """Fourier coefficients (n, F) of noise-free images without CTF, of weights that sum to one."""
    rotated = reference.deformed(labels.amplitudes) @ labels.rotation.transpose(-1, -2)
    x, y = ((rotated[..., axis] + labels.shift_angst[:, axis, None]) / pixel_size for axis in (0, 1))
    return project(x, y, reference.weights, disc) * form_factor(disc, reference.sigma, pixel_size)


def disc_of(box: int, device: torch.device | str) -> Disc:
    """All frequencies of a box."""
    return Disc.make(box, (box - 1) // 2, device)


class Renderer:
    """Makes images of given poses and amplitudes.

    Parameters
    ----------
    reference
        Atoms and the modes in use; its width does not matter.
    model
        How images look.
    """

    def __init__(self, reference: Reference, model: ImageModel) -> None:
        self.model = model
        self.device = reference.coordinates.device
        self.disc = disc_of(model.box, self.device)
        # blobs hold the width of the atoms and the spread of these in a cell
        self.blobs = replace(reference, sigma=model.sigma).coarsened(_SPACING * model.pixel_size)
        colour = torch.tensor(model.noise, device=self.device).sqrt() / model.box
        self.colour = colour[shells(model.box, self.device).clamp(max=model.box // 2)]

    def images(
        self, labels: Labels, transfer: Tensor | None, generator: torch.Generator | None, gain: Tensor | None = None
    ) -> Tensor:
        """Images (n, box, box).

        Parameters
        ----------
        labels
            What is in them.
        transfer
            (n, box, box // 2 + 1) CTF, or None.
        generator
            Of the noise; None for none.
        gain
            (n,) contrast of each image relative to the measured one.
        """
        parts = []
        for chunk in torch.arange(len(labels), device=self.device).split(_CHUNK):
            here = labels.take(chunk)
            coefficients = clean_coefficients(self.blobs, here, self.disc, self.model.pixel_size) * self.model.scale
            if gain is not None:
                coefficients = coefficients * gain[chunk, None]
            images = disc_to_image(coefficients, self.disc)
            parts.append(images if transfer is None else filter_images(images, transfer[chunk]))
        images = torch.cat(parts)
        if generator is not None:
            white = torch.randn(images.shape, generator=generator, device=self.device)
            images = images + filter_images(white, self.colour)
        return images


@dataclass(frozen=True)
class Law:
    """What conformations and poses are rendered.

    Attributes
    ----------
    amplitudes
        (n, M) Å: examples that are drawn at random,
    jitter
        (M,) Å: and moved by Gaussian noise of this width.
    max_shift_angst
        Shifts are uniform in a square of plus and minus this.
    """

    amplitudes: Tensor
    jitter: Tensor
    max_shift_angst: float

    @classmethod
    def about(cls, labels: Labels) -> Law:
        """Conformations like those of labelled particles (a kernel density), all poses."""
        count, modes = labels.amplitudes.shape
        spread = labels.amplitudes.std(0)
        bandwidth = 0.5 * count ** (-1.0 / (modes + 4)) * spread  # Silverman's rule for a distribution with structure
        # a few wrong labels lie where the search ended: the largest shift is theirs, and much too large
        shift = labels.shift_angst.abs().cpu().numpy()
        largest = min(1.05 * float(shift.max()), 1.5 * float(np.quantile(shift, 0.9)))
        return cls(labels.amplitudes, bandwidth, largest + 0.1)

    @classmethod
    def broad(cls, covariance: Tensor, max_shift_angst: float) -> Law:
        """A Gaussian about the reference."""
        scale = torch.linalg.cholesky(covariance.double()).float()
        draws = torch.randn(4096, len(covariance), generator=torch.Generator().manual_seed(0)) @ scale.T
        return cls(draws, 0.3 * torch.sqrt(torch.diagonal(covariance)).float(), max_shift_angst)

    def draw(self, count: int, generator: torch.Generator) -> Labels:
        """Labels of so many particles, orientations uniform on SO(3)."""
        which = torch.randint(len(self.amplitudes), (count,), generator=generator)
        noise = torch.randn(count, len(self.jitter), generator=generator)
        shift = (2 * torch.rand(count, 2, generator=generator) - 1) * self.max_shift_angst
        amplitudes = self.amplitudes[which] + noise * self.jitter
        return Labels(random_rotations(count, generator).float(), shift, amplitudes)


def expected_power(renderer: Renderer, law: Law, count: int, generator: torch.Generator) -> Tensor:
    """Mean power (box // 2 + 1,) per shell of the particles of a law, without CTF and noise."""
    total = torch.zeros(renderer.model.box // 2 + 1, dtype=torch.float64, device=renderer.device)
    labels = law.draw(count, generator).to(renderer.device)
    number = torch.bincount(renderer.disc.shell, minlength=len(total)).clamp(min=1)
    for chunk in torch.arange(count, device=renderer.device).split(_CHUNK):
        values = clean_coefficients(renderer.blobs, labels.take(chunk), renderer.disc, renderer.model.pixel_size)
        power = (values.real**2 + values.imag**2).sum(0).double() * renderer.model.scale**2
        total.index_add_(0, renderer.disc.shell, power)
    spectrum = total / number / count
    spectrum[0] = spectrum[1]
    return spectrum.clamp(min=float(spectrum[:-1].min()))  # the last shell of an even box is empty
