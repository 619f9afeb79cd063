"""The two ways to train: as published, and as we think best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

from ..nets.polar import PolarNetwork
from ..nets.published import SeparateNetworks


@dataclass(frozen=True)
class Preset:
    """Network, images and schedule.

    Attributes
    ----------
    network
        ``polar``: one network for all, see `core.nets.polar`; ``separate``: a ResNet-34 for each parameter type.
    radii, angles, widths
        Of the polar network.
    network_box
        The images are scaled down to at most this; 0 for their own size.
    filtering
        See `Preparation`.
    scaling
        Of the labels: ``standard`` or ``unit_range``.
    source
        What is trained on where nothing else is asked for.
    batch, epochs, learning_rate, weight_decay, decoupled, schedule, stair_epochs, patience
        See `core.training.settings`; times in epochs.
    augment
        Turn and shift labelled images at random.
    mahalanobis
        Labelled particles with amplitudes farther than this from the mean are left out; 0 to keep all.
    """

    network: Literal["polar", "separate"]
    filtering: Literal["wiener", "flip"]
    scaling: Literal["standard", "unit_range"]
    source: Literal["labelled", "both"]
    batch: int
    epochs: int
    learning_rate: float
    weight_decay: float
    decoupled: bool
    schedule: Literal["cosine", "staircase"]
    augment: bool
    mahalanobis: float
    patience: int
    network_box: int = 0
    stair_epochs: int = 1
    radii: int = 0
    angles: int = 0
    widths: tuple[int, ...] = ()

    def build(self, n_modes: int, box: int, radius_px: float) -> nn.Module:
        """The network, with random weights of torch's generator.

        Parameters
        ----------
        n_modes
            Number of amplitudes.
        box
            That it sees, px.
        radius_px
            That particles stay within.
        """
        if self.network == "separate":
            return SeparateNetworks(n_modes)
        return PolarNetwork(n_modes, box, radius_px, radii=self.radii, angles=self.angles, widths=self.widths)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preset:
        """Rebuild from `to_dict`."""
        kept: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
        return cls(**kept)


PRESETS: dict[str, Preset] = {
    "default": Preset(
        network="polar",
        filtering="wiener",
        scaling="standard",
        source="both",
        batch=64,
        epochs=100,
        learning_rate=1e-3,
        weight_decay=1e-2,
        decoupled=True,
        schedule="cosine",
        augment=True,
        mahalanobis=0.0,
        patience=20,
        network_box=64,
        radii=24,
        angles=64,
        widths=(32, 64, 128, 256),
    ),
    # Hamitouche and Jonic 2022, Methods and Supplement
    "paper": Preset(
        network="separate",
        filtering="flip",
        scaling="unit_range",
        source="labelled",
        batch=2,
        epochs=400,
        learning_rate=1e-5,
        weight_decay=1e-5,
        decoupled=False,
        schedule="staircase",
        stair_epochs=80,
        augment=False,
        mahalanobis=3.2,
        patience=0,
        network_box=128,
    ),
}
