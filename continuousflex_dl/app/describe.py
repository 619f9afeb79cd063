"""What the page is told of a dataset when it begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.space.places import axis_columns
from .dataset import Dataset
from .workspace import Workspace

_SPAN_RMSD_ANGST = 4.0  # of the sliders of modes without particles


def describe(data: Dataset, keep: Workspace) -> dict[str, Any]:
    """A dataset as JSON."""
    atoms = data.atoms
    found: dict[str, Any] = {
        "name": data.name,
        "path": str(data.path),
        "kind": data.kind,
        "atoms": 0 if atoms is None else len(atoms),
        "pseudoatoms": atoms is not None and atoms.is_pseudoatomic,
        "sliders": _sliders(data),
    }
    if data.kind == "modes":
        return found | {"modes": _modes(data)}
    space = data.need_space
    known = data.columns
    columns = [
        {
            "name": name,
            "label": known.label(name, space),
            "unit": known.unit(name, space),
            "whole": known.is_whole(name),
        }
        for name in known
    ]
    landscape = data.landscape
    return found | {
        "count": data.count,
        "converged": int(np.count_nonzero(space.converged)),
        "axes": axis_columns(space),
        "columns": columns,
        "groups": int(space.groups.max()) if len(space.groups) else 0,
        "sets": list(space.sets),
        "has_particles": data.columns.file is not None,
        "basins": [] if landscape is None else landscape.basins.minima.tolist(),
        "minimum_path": landscape is not None and len(landscape.basins) > 0,
        "selections": keep.names(),
        "current": keep.current().as_dict(),
    }


def _sliders(data: Dataset) -> list[dict[str, Any]]:
    """Modes whose amplitudes can be set, with a range: that of the particles, or an RMSD of 4 Å."""
    modes = data.normal_modes
    if modes is None:
        return []
    largest = _SPAN_RMSD_ANGST / modes.rmsd_per_amplitude
    ranges = np.tile([-largest, largest], (len(modes), 1))
    if data.kind == "space":
        space = data.need_space
        some = space.used[np.linspace(0, len(space.used) - 1, min(len(space.used), 20_000)).round().astype(int)]
        scores = some if space.is_linear else space.scores[:20_000]
        features = np.asarray(scores, dtype=np.float64) @ space.components + space.mean
        low, high = np.percentile(features, [1, 99], axis=0)
        room = 0.25 * (high - low) + 1e-6
        ranges = np.stack([low - room, high + room], axis=1)
    return [
        {"mode": int(number), "low": float(low), "high": float(high)}
        for number, (low, high) in zip(modes.indices.tolist(), ranges.tolist(), strict=True)
    ]


def _modes(data: Dataset) -> list[dict[str, Any]]:
    modes = data.modes
    if modes is None:
        return []
    return [
        {
            "mode": int(modes.indices[row]),
            "eigenvalue": float(modes.eigenvalues[row]),
            "collectivity": float(modes.collectivity[row]),
            "score": float(modes.score[row]),
        }
        for row in range(len(modes))
    ]
