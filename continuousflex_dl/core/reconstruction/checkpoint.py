"""Sums of an unfinished reconstruction on disk, so that a killed run continues where it was."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..io.atomic import atomic_path
from .sums import FourierSums

_ARRAYS = ("real", "imag", "weight")


def save_sums(path: Path, done: int, sums: tuple[FourierSums, FourierSums], fingerprint: dict[str, Any]) -> None:
    """Write the sums of two halves after `done` blocks, complete or not at all."""
    arrays = {
        f"{name}{half}": getattr(total, name).cpu().numpy()
        for half, total in enumerate(sums, start=1)
        for name in _ARRAYS
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, done=done, fingerprint=json.dumps(fingerprint, sort_keys=True), **arrays)


def load_sums(
    path: Path, box: int, radius: int, device: torch.device | str, fingerprint: dict[str, Any]
) -> tuple[int, tuple[FourierSums, FourierSums]] | None:
    """Sums that `save_sums` wrote; None where there are none, or the file is damaged.

    Raises
    ------
    InputError
        If they belong to other options or another input.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = json.loads(str(archive["fingerprint"]))
            done = int(archive["done"])
            arrays = {name: archive[name] for name in archive.files if name not in ("done", "fingerprint")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    expected = json.loads(json.dumps(fingerprint))
    for key in sorted({*found, *expected}):
        if found.get(key) != expected.get(key):
            raise InputError(
                f"{path}: was begun with {key} {found.get(key)!r}, found {expected.get(key)!r} now; --resume needs the "
                "same options and input (or start over with --overwrite)"
            )
    sums = FourierSums(box, radius, device), FourierSums(box, radius, device)
    for half, total in enumerate(sums, start=1):
        for name in _ARRAYS:
            setattr(total, name, torch.as_tensor(arrays[f"{name}{half}"], device=device))
    return done, sums
