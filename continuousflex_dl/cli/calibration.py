"""What ``cflex hemnma`` measures before it aligns, kept as ``calibration.json`` for later runs on the same data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.io.atomic import atomic_text

if TYPE_CHECKING:
    from ..core.hemnma.pipeline import Calibration, Hemnma

CALIBRATION_NAME = "calibration.json"


def write_calibration(path: Path, calibration: Calibration, hemnma: Hemnma) -> None:
    """Keep a calibration, with what it holds for."""
    atomic_text(path, json.dumps({"holds_for": _holds_for(hemnma), **calibration.as_dict()}, indent=1) + "\n")


def read_calibration(path: Path, hemnma: Hemnma) -> Calibration:
    """Read a calibration for this alignment.

    Parameters
    ----------
    path
        The file, or the output directory that it is in.
    hemnma
        The alignment; its box, pixel sizes, modes and number of atoms must be those of the calibration.

    Raises
    ------
    InputError
        If the file is missing, is something else, or was measured for something else.
    """
    from ..core.hemnma.pipeline import Calibration

    path = path / CALIBRATION_NAME if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        holds_for = values.pop("holds_for")
        calibration = Calibration(**values)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; give {CALIBRATION_NAME} of a finished cflex hemnma, or its output directory"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: is no calibration of this version of cflex hemnma ({' '.join(str(error).split())[:80]}); "
            "leave --calibration out to measure anew"
        ) from None
    for name, wanted in _holds_for(hemnma).items():
        if holds_for.get(name) != wanted:
            raise InputError(
                f"{path}: was measured for {name.replace('_', ' ')} {holds_for.get(name)}, found {wanted} now; "
                "leave --calibration out to measure anew"
            )
    return calibration


def _holds_for(hemnma: Hemnma) -> dict[str, Any]:
    return {
        "box": int(hemnma.stack.box),
        "pixel_sizes": [float(pixel) for pixel in hemnma.pixel_sizes],
        "modes": [int(number) for number in hemnma.modes.indices],
        "atoms": int(hemnma.modes.n_atoms),
    }
