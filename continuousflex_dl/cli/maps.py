"""What the commands that deal with maps share: reading them, models of structures, curves on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.dynamics.modes import default_sigma
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.reconstruction.map_files import Map, read_cube
from ..core.structure.reader import read_structure
from .run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.reconstruction.fsc import ShellCorrelation

MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
_COLUMNS = ("shell", "frequency_per_angst", "resolution_angst")


def is_map(path: str | Path) -> bool:
    """Whether the name says that it is a map, and not a structure."""
    return Path(path).suffix.lower() in MAP_SUFFIXES


def read_same_size(path: str, box: int, pixel_size: float, run: Run, what: str = "map") -> Map:
    """Read a map that must have the box and pixel size of another.

    Raises
    ------
    InputError
        If it has not.
    """
    found = read_cube(path)
    run.add_input(path)
    if len(found.values) != box:
        raise InputError(f"{path}: found a {what} of {len(found.values)} px, expected {box} px; resample it")
    if abs(found.pixel_size / pixel_size - 1) > 0.01:
        raise InputError(
            f"{path}: found a pixel size of {found.pixel_size:.4g} Å, expected {pixel_size:.4g} Å; resample it"
        )
    return found


def model_of(path: str, box: int, pixel_size: float, sigma: float | None, run: Run) -> Tensor:
    """Map (box, box, box) to compare with: a map as it is, a structure as Gaussian atoms about their mean."""
    import torch

    from ..core.reconstruction.model_map import model_map

    if is_map(path):
        return torch.as_tensor(read_same_size(path, box, pixel_size, run).values)
    structure, _ = read_structure(path)
    run.add_input(path)
    centred = structure.coordinates - structure.coordinates.mean(axis=0)
    width = sigma if sigma is not None else default_sigma(structure)
    half = box // 2 * pixel_size
    if np.abs(centred).max() > half:
        run.say(f"warning: {path} reaches {np.abs(centred).max():.0f} Å from its centre, the box {half:.0f} Å")
    return model_map(torch.as_tensor(centred), torch.as_tensor(structure.weights), width, box, pixel_size)


def write_curves(path: Path, curves: dict[str, ShellCorrelation]) -> None:
    """Write curves of one box as a table: shell, frequency in 1/Å, resolution in Å, and one column per curve."""
    first = next(iter(curves.values()))
    rows = [",".join([*_COLUMNS, *curves])]
    for shell, frequency in enumerate(first.frequency):
        resolution = f"{1 / frequency:.4f}" if frequency > 0 else "inf"
        values = [f"{curve.correlation[shell]:.6f}" for curve in curves.values()]
        rows.append(",".join([str(shell), f"{frequency:.8f}", resolution, *values]))
    atomic_text(path, "\n".join(rows) + "\n")


def read_curves(path: Path) -> dict[str, ShellCorrelation]:
    """Curves by name, from a table that `write_curves` wrote."""
    from ..core.reconstruction.fsc import ShellCorrelation

    table = np.genfromtxt(path, delimiter=",", names=True)
    size = 1.0 / float(table["frequency_per_angst"][1])  # of the box, Å; only this matters for a resolution
    names = [name for name in table.dtype.names or () if name not in _COLUMNS]
    return {name: ShellCorrelation(table[name], 1, size) for name in names}


def describe(curve: ShellCorrelation, threshold: float) -> str:
    """Resolution in words; says where it is only a bound."""
    resolution = curve.resolution(threshold)
    if not np.isfinite(resolution):
        return "none"
    bound = "" if (curve.correlation < threshold).any() else " or better (Nyquist)"
    return f"{resolution:.2f} Å{bound}"
