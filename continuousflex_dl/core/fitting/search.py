"""Rigid search: how a reference lies in a map, without being told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ..errors import InputError
from ..imaging.rotations import rotation_grid
from ..pseudoatoms.region import find_region
from .nodes import Nodes
from .objective import Placement, Units, climb
from .target import Target

Floats = NDArray[np.float64]
_STEP_DEG = 15.0
_APART_DEG, _APART_WIDTHS = 20.0, 1.0  # two placements nearer than this are the same
_REFINED = 24
_POINTS_AT_ONCE = 1 << 21


def centre_of_mass(target: Target) -> Floats:
    """Centre (x, y, z) in Å of the molecule in a blurred map: of the largest part above the noise."""
    own = slice(target.margin, -target.margin)
    values = target.values[own, own, own]
    try:
        inside = find_region(values).inside
    except InputError:
        inside = values > 0
    weights = np.where(inside, values, 0.0)
    if not weights.sum() > 0:
        raise InputError("the map has no positive density, expected a molecule")
    return (np.array(ndimage.center_of_mass(weights)) + target.margin)[::-1] * target.voxel + target.origin


def rigid_search(
    target: Target, nodes: Nodes, centre: Floats, n_modes: int, units: Units, count: int
) -> list[Placement]:
    """Best placements of a rigid reference, best first.

    All orientations are tried with the reference's centre at that of the map and one width beside it; the best are
    refined.

    Parameters
    ----------
    target
        Map, blurred.
    nodes
        Reference.
    centre
        (3,) where the molecule's centre is, about; Å.
    n_modes
        Number of amplitudes (all zero here).
    units
        Scale of the variables.
    count
        Most placements to return.
    """
    rotations = rotation_grid(_STEP_DEG).numpy()
    offsets = np.vstack([np.zeros(3), target.width * np.eye(3), -target.width * np.eye(3)])
    turned = np.einsum("rij,nj->rni", rotations, nodes.places)
    score = np.stack([_rough_overlap(target, turned + centre + offset) @ nodes.weights for offset in offsets], axis=1)
    order = np.argsort(-score.ravel(), kind="stable")
    starts: list[Placement] = []
    for flat in order.tolist():
        rotation, offset = divmod(flat, len(offsets))
        start = Placement(rotations[rotation], centre + offsets[offset], np.zeros(n_modes))
        if all(not _same(start, other, target.width) for other in starts):
            starts.append(start)
            if len(starts) == _REFINED:
                break
    return distinct([climb(target, nodes, start, units) for start in starts], target.width)[:count]


def distinct(placements: list[Placement], width: float) -> list[Placement]:
    """Placements without repeats, the most probable first (a strong deformation can make up for a wrong pose)."""
    kept: list[Placement] = []
    for placement in sorted(placements, key=lambda one: one.cost):
        if all(not _same(placement, other, width) for other in kept):
            kept.append(placement)
    return kept


def rigid_only(placement: Placement) -> Placement:
    """The same placement of the reference at rest."""
    return replace(placement, amplitudes=np.zeros_like(placement.amplitudes))


def _rough_overlap(target: Target, places: Floats) -> Floats:
    """Overlap (r, n) at places (r, n, 3), interpolated linearly: the map is smooth."""
    found = np.empty(places.shape[:2])
    step = max(1, _POINTS_AT_ONCE // places.shape[1])
    for first in range(0, len(places), step):
        block = (places[first : first + step] - target.origin)[..., ::-1] / target.voxel
        found[first : first + step] = ndimage.map_coordinates(
            target.overlap_map, np.moveaxis(block, -1, 0), order=1, mode="constant"
        )
    return found


def _same(one: Placement, other: Placement, width: float) -> bool:
    if np.linalg.norm(one.shift - other.shift) > _APART_WIDTHS * width:
        return False
    angle = np.degrees(Rotation.from_matrix(one.rotation @ other.rotation.T).magnitude())
    return bool(angle < _APART_DEG)
