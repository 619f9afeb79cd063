"""A trained Cryo-ViT on disk, whole: its reference is among its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..io.particle_table import ParticleTable
from ..structure.atoms import nameless
from ..training.checkpoint import load_weights, read_checkpoint
from .direct import DirectVit
from .images import ParticleImages
from .model import CryoVit
from .reference import FlexibleReference
from .settings import CryoVitSettings

METHOD = "cryovit"


def describe(settings: CryoVitSettings, images: ParticleImages, variant: str, particles: int) -> dict[str, Any]:
    """What ``model.json`` says; nothing of it depends on names of files or on labels."""
    return {
        "method": METHOD,
        "variant": variant,
        "settings": settings.to_dict(),
        "box": images.stack.box,
        "pixel_size": [float(value) for value in images.pixel_sizes],
        "ctf": images.ctf_choice,
        "invert_contrast": images.invert_contrast,
        "particles": particles,
    }


def load(folder: Path, device: torch.device) -> tuple[CryoVit | DirectVit, dict[str, Any]]:
    """Rebuild a network from the output directory of a training, with its description.

    Raises
    ------
    InputError
        If there is none, or it is of another version.
    """
    description, weights = read_checkpoint(folder, METHOD)
    try:
        settings = CryoVitSettings.from_dict(description["settings"])
        reference = _reference(weights)
        box, particles = int(description["box"]), int(description["particles"])
        model = (
            DirectVit(reference, settings, box)
            if settings.direct
            else CryoVit(reference, settings, box, particles, basis=weights.get("decoder.basis"))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / 'model.json'}: another version of the program wrote this network ({error}); train it again"
        ) from None
    load_weights(model, weights, folder)
    return model.to(device).eval(), description


def refuse_other_images(description: dict[str, Any], table: ParticleTable, box: int, folder: Path) -> None:
    """Raise InputError for images of another box or pixel size than those that a network was trained on."""
    if box != description["box"]:
        raise InputError(
            f"{table.source}: found a box of {box} px, but the network in {folder} was trained on "
            f"{description['box']} px; scale the images to the same box, or train on these"
        )
    known = np.array(description["pixel_size"])
    found = np.unique(np.round(np.asarray(table.pixel_size), 4))
    strange = [pixel for pixel in found if np.abs(known / pixel - 1).min() > 0.01]
    if strange:
        raise InputError(
            f"{table.source}: found a pixel size of {strange[0]:g} Å, but the network in {folder} was trained on "
            f"{', '.join(f'{pixel:g}' for pixel in known)} Å; scale the images, or train on these"
        )


def _reference(weights: dict[str, Tensor]) -> FlexibleReference:
    nodes = weights["terms.nodes"].double().numpy()
    following = weights["projector.following"].numpy()
    return FlexibleReference(
        nodes=nodes,
        atoms=weights["projector.atoms"].numpy(),
        weights=weights["projector.weights"].numpy(),
        following=following if following.size else None,
        chain=weights["terms.chain"].numpy(),
        sigma=float(torch.exp(weights["projector.log_sigma"])),
        centre=weights["projector.centre"].numpy(),
        structure=nameless(nodes, np.ones(len(nodes))),
        node_rows=weights["projector.node_rows"].numpy(),
    )
