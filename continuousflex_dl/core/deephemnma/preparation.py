"""What is done to an image before a network sees it: the same for training, validation and inference, bit for bit.

Nothing here depends on the other images of a batch; all statistics are stored with the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging.noise import soft_disc, without_plane
from ..particles.preprocess import fourier_crop
from ..simulation.images import filter_images


@dataclass(frozen=True)
class Preparation:
    """How images are prepared.

    Attributes
    ----------
    box, pixel_size
        Of the particle images, px and Å.
    network_box
        Box that the network sees, px.
    filtering
        ``wiener`` restores what the CTF and the noise have changed as far as a linear filter can (and takes a plane
        out of the background, and masks the corners); ``flip`` only flips phases.
    invert
        Take the negative.
    noise, signal
        For ``wiener``: mean power of noise and particle (without CTF) in each shell 0 .. network_box // 2.
    mean, std
        Of the prepared images; subtracted and divided by at the end.
    """

    box: int
    pixel_size: float
    network_box: int
    filtering: str
    invert: bool = False
    noise: tuple[float, ...] = ()
    signal: tuple[float, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    @property
    def network_pixel_size(self) -> float:
        """Å."""
        return self.pixel_size * self.box / self.network_box

    def reduced(self, images: Tensor) -> Tensor:
        """Images (n, box, box), white particles, at the size of the network."""
        return fourier_crop(-images if self.invert else images, self.network_box)

    def filtered(self, images: Tensor, transfer: Tensor | None) -> Tensor:
        """What the CTF asks for, on images at the size of the network; they may be moved after it.

        Parameters
        ----------
        images
            (n, network_box, network_box).
        transfer
            CTF (n, network_box, network_box // 2 + 1) that the images passed through, its modulus where phases are
            flipped already; None for no CTF.

        Returns
        -------
        (n, network_box, network_box).
        """
        if self.filtering == "flip":
            if transfer is None or not (transfer < 0).any():
                return images
            return filter_images(images, torch.where(transfer < 0, -1.0, 1.0))
        signal, noise = self._spectra(images)
        passed = torch.ones(()).to(images) if transfer is None else transfer
        images = without_plane(images, 0.45 * self.network_box)
        return filter_images(images, passed * signal / (passed**2 * signal + noise))

    def scaled(self, images: Tensor) -> Tensor:
        """Filtered images (n, network_box, network_box) with masked corners, mean and deviation: (n, 1, box, box)."""
        box = self.network_box
        if self.filtering == "wiener":
            images = images * soft_disc(box, 0.45 * box, 0.05 * box, images.device)
        return ((images - self.mean) / self.std)[:, None]

    def finished(self, images: Tensor, transfer: Tensor | None) -> Tensor:
        """All of it, (n, 1, network_box, network_box), for images at the size of the network: see `filtered`."""
        return self.scaled(self.filtered(images, transfer))

    def _spectra(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise (network_box, network_box // 2 + 1) like another tensor; no signal in the corners."""
        shell = shells(self.network_box, like.device)
        inside = shell <= self.network_box // 2
        at = shell.clamp(max=self.network_box // 2)
        signal, noise = (like.new_tensor(values)[at] for values in (self.signal, self.noise))
        return torch.where(inside, signal, 0.0), noise

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """Rebuild from `to_dict`."""
        return cls(**{**values, "noise": tuple(values["noise"]), "signal": tuple(values["signal"])})


def shells(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Rounded distance (box, box // 2 + 1) from the origin on the grid of `torch.fft.rfft2`, in cycles per box."""
    ky = torch.fft.fftfreq(box, device=device) * box
    kx = torch.fft.rfftfreq(box, device=device) * box
    return torch.sqrt(ky[:, None] ** 2 + kx**2).round().long()
