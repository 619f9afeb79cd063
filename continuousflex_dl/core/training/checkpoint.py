"""Trained networks on disk: a directory with ``model.safetensors`` and ``model.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import InputError
from ..io.atomic import atomic_path, atomic_text

FORMAT = 1
WEIGHTS, RECORD = "model.safetensors", "model.json"


def write_checkpoint(folder: Path, weights: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write weights and description; the description says which weights it belongs to.

    Parameters
    ----------
    folder
        Of the model.
    weights
        By name.
    description
        Plain values with at least ``method``, the name of the method.
    """
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)
        digest = _digest(temporary)
    record = {"format": FORMAT, **description, "weights": digest}
    atomic_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_checkpoint(folder: Path, method: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint.

    Returns
    -------
    Description and weights.

    Raises
    ------
    InputError
        If it is not there, of another method or format, or its two files do not belong together.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"{folder}: found no {RECORD}, expected the output directory of 'cflex {method} train'")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["format"], record["method"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: cannot be read as the description of a network; train it again") from None
    if found[1] != method:
        raise InputError(
            f"{path}: found a network of {found[1]}, expected one of {method}; use 'cflex {found[1]} infer' with it"
        )
    if found[0] != FORMAT:
        raise InputError(
            f"{path}: found format {found[0]}, expected {FORMAT}: another version of the program wrote it; "
            "train the network again with this one, or use that version"
        )
    if not (folder / WEIGHTS).is_file() or _digest(folder / WEIGHTS) != record.get("weights"):
        raise InputError(
            f"{folder / WEIGHTS}: missing, or not the weights that {RECORD} belongs to; let the training end "
            "(--resume), or train again"
        )
    try:
        return record, load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read ({error}); train the network again") from None


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Put weights into a network of the same shape.

    Raises
    ------
    InputError
        If they do not fit.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{source}: the weights do not fit the network ({reason}); train it again") from None


def count_parameters(model: nn.Module) -> int:
    """Number of weights that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
