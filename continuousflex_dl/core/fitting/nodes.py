"""A flexible reference as few points: what a map of low resolution can tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..dynamics.modes import NormalModes
from ..dynamics.rigid_motion import bisect, sum_groups

Floats = NDArray[np.float64]
_ATOM_VOLUME_ANGST3 = 15.0  # per heavy atom, bulk of a molecule


@dataclass(frozen=True, eq=False)
class Nodes:
    """Weighted points that move with the modes.

    Attributes
    ----------
    places
        (n, 3) Å, about the unweighted mean of the reference's atoms.
    motions
        (n, 3, M) displacement per unit of amplitude of each mode.
    weights
        (n,), mean 1.
    spread
        Standard deviation in Å, along an axis, of the atoms about the node that stands for them.
    """

    places: Floats
    motions: Floats
    weights: Floats
    spread: float = 0.0

    def __len__(self) -> int:
        return len(self.places)

    def moved(self, amplitudes: Floats) -> Floats:
        """Places (n, 3) for amplitudes (M,) in Å."""
        return self.places + self.motions @ amplitudes


def make_nodes(modes: NormalModes, spacing: float) -> Nodes:
    """Lump the atoms of a reference together in compact groups.

    Parameters
    ----------
    modes
        Of N (pseudo)atoms.
    spacing
        Distance in Å between the groups; all atoms are kept where they are that far apart already.
    """
    centred = modes.centred
    motions = modes.vectors.transpose(1, 2, 0)
    extent = molecular_volume(modes)
    count = int(np.clip(np.ceil(extent / spacing**3), min(20, len(centred)), len(centred)))
    if count == len(centred):
        return Nodes(centred, motions, modes.weights / modes.weights.mean())
    group = bisect(centred, count)
    weight = sum_groups(modes.weights, group, count)
    share = modes.weights / weight[group]
    places = sum_groups(share[:, None] * centred, group, count)
    square = ((centred - places[group]) ** 2).sum(axis=1)
    return Nodes(
        places,
        sum_groups(share[:, None, None] * motions, group, count),
        weight / weight.mean(),
        float(np.sqrt(modes.weights @ square / modes.weights.sum() / 3)),
    )


def molecular_volume(modes: NormalModes) -> float:
    """Volume in Å^3 that the nodes of a reference fill, whatever they stand for: from their distances."""
    from scipy.spatial import cKDTree

    distance = cKDTree(modes.coordinates).query(modes.coordinates, k=min(9, modes.n_atoms))[0][:, -1]
    per_node = 4 / 3 * np.pi * float(np.median(distance)) ** 3 / 8
    return modes.n_atoms * max(per_node, _ATOM_VOLUME_ANGST3)
