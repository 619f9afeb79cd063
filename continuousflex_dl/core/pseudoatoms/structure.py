"""Pseudoatoms as a structure in the frame of their map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..reconstruction.map_files import Map
from ..structure.atoms import Structure, nameless
from .fit import Pseudoatoms

ATOM_NAME, RESIDUE_NAME = "DENS", "DEN"


def as_structure(found: Pseudoatoms, source: Map) -> Structure:
    """Make a structure of Gaussians: places in Å in the frame of the map, weights with 1 for the strongest."""
    coordinates = found.places[:, ::-1] * source.pixel_size + np.array(source.origin)
    count = len(found)
    return replace(
        nameless(coordinates, found.heights / found.heights.max()),
        element=np.full(count, "X"),
        atom_name=np.full(count, ATOM_NAME),
        residue_name=np.full(count, RESIDUE_NAME),
        sigma=found.sigma * source.pixel_size,
    )


def other_hand(source: Map) -> Map:
    """Mirror image of a map about its voxel nx // 2, which stays where it is, as does the origin."""
    return replace(source, values=reversed_x(source.values))


def reversed_x(values: np.ndarray) -> np.ndarray:
    """Voxels (nz, ny, nx) with x reversed about nx // 2; the first plane of an even box is its own image."""
    mirrored = values[:, :, ::-1]
    return np.ascontiguousarray(np.roll(mirrored, 1, axis=2) if values.shape[2] % 2 == 0 else mirrored)
