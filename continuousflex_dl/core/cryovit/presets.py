"""Presets: settings of the method and of its training that go together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..nets.vit import VitShape
from .settings import CryoVitSettings


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings and how they are trained.

    Attributes
    ----------
    settings
        Of the method.
    epochs
        How often every image is seen.
    learning_rate
        At its highest.
    blobs
        Blobs of a few atoms are projected, not every atom, see `reference.BLOB_ATOMS`.
    """

    settings: CryoVitSettings
    epochs: int
    learning_rate: float
    blobs: bool


# Where the thesis leaves a choice open, docs/cryovit.md says what was tried: width of the transformer, learning rate,
# beta, start of the weights, batch
_THESIS = Preset(
    settings=CryoVitSettings(
        encoder="vit",
        decoder="free",
        width=256,
        depth=6,
        vit=VitShape(patch=16, width=128, depth=6, heads=16, mlp=1024),
        informed=False,
        coarse_to_fine=False,
        keep_rigid=True,
    ),
    epochs=60,
    learning_rate=1e-3,
    blobs=True,
)

PRESETS = {
    "default": Preset(settings=CryoVitSettings(), epochs=20, learning_rate=3e-3, blobs=False),
    # ch. 5. Its centre-of-mass weight of 1e-3 multiplies a mean over pixels; ours are sums in nats, 2,048 times that
    "thesis": replace(
        _THESIS,
        settings=replace(_THESIS.settings, latent=32, sampled=True, likelihood="mse", beta=0.1, centre_weight=2.0),
    ),
    # ch. 4.4, which leaves open whether the transformer is that of ch. 5; it is here
    "thesis supervised": replace(_THESIS, settings=replace(_THESIS.settings, latent=256, direct=True)),
}
