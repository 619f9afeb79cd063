"""A light model of a moving structure for the page: its backbone trace, frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import InputError
from ...core.structure.atoms import Structure, representation

_MAX_POINTS = 2500  # what a browser draws fluently on a plain canvas
_MAX_BOND_ANGST = 8.0  # consecutive CA are 3.8 Å apart, P about 6-7 Å: more is a gap
_UNIT_ANGST = 0.01  # coordinates are stored as whole multiples of this


def motion(structure: Structure, frames: np.ndarray) -> dict[str, Any]:
    """Reduce frames (F, N, 3) in Å to a trace that a page can draw.

    Returns
    -------
    ``frames``: one flat list of whole numbers (0.01 Å) per frame, seen so that the motion is in the plane of the
    screen; ``starts``: points at which a new line begins (empty: draw dots); ``moved``: per point, how far it goes
    (Å); ``what``: name of the points; ``rmsd``: RMSD between the first and the last frame over all N atoms, Å.
    """
    points, breaks = _trace(structure)
    chosen = frames[:, points]
    chosen = (chosen - chosen.mean(axis=(0, 1))) @ _view(chosen).T
    span = np.linalg.norm(chosen.max(axis=0) - chosen.min(axis=0), axis=1)
    whole = np.rint(chosen / _UNIT_ANGST).astype(int)
    everything = frames[-1] - frames[0]
    return {
        "unit": _UNIT_ANGST,
        "frames": [frame.reshape(-1).tolist() for frame in whole],
        "starts": breaks,
        "moved": np.round(span, 2).tolist(),
        "what": "backbone trace (CA and P atoms)" if breaks else "atoms",
        "rmsd": float(np.sqrt((everything**2).sum(axis=1).mean())),
    }


def _trace(structure: Structure) -> tuple[np.ndarray, list[int]]:
    """Atoms (k,) to draw, and where among them a line begins; no lines for pseudoatoms."""
    index = np.arange(len(structure), dtype=np.float64)
    try:
        if structure.is_pseudoatomic:
            raise InputError("pseudoatoms have no backbone")
        nodes = representation(structure.with_coordinates(np.repeat(index[:, None], 3, axis=1)), "ca-p")
    except InputError:
        step = -(-len(structure) // _MAX_POINTS)
        return np.arange(0, len(structure), step), []
    points = nodes.coordinates[:, 0].astype(np.int64)  # the coordinates carried the atom numbers
    step = -(-len(points) // _MAX_POINTS)
    places = structure.coordinates[points]
    gap = np.linalg.norm(np.diff(places, axis=0), axis=1) > _MAX_BOND_ANGST
    new = np.concatenate([[True], gap | (np.diff(nodes.chain_index) != 0)])
    line = np.cumsum(new) - 1
    within = np.arange(len(points)) - np.flatnonzero(new)[line]
    kept = within % step == 0
    return points[kept], np.flatnonzero(new[kept]).tolist()


def _view(frames: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that lays the motion into the plane of the screen; ties are broken by the shape."""
    change = frames - frames.mean(axis=0)
    shape = frames.mean(axis=0) - frames.mean(axis=(0, 1))
    moved = np.einsum("fni,fnj->ij", change, change)
    extent = shape.T @ shape
    weight = moved / max(np.trace(moved), 1e-12) + 0.3 * extent / max(np.trace(extent), 1e-12)
    axes = np.linalg.eigh(weight)[1][:, ::-1].T  # rows: x, y of the screen, then depth
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(axis=1)])[:, None]
    axes[2] *= np.sign(np.linalg.det(axes))
    return axes
