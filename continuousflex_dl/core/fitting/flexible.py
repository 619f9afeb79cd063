"""Rigid-body and elastic fit of a reference to a map, from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..dynamics.modes import NormalModes
from ..errors import InputError
from ..progress import Progress, silent
from ..reconstruction.map_files import Map
from .nodes import Nodes, make_nodes, molecular_volume
from .objective import Placement, Units, climb
from .search import centre_of_mass, distinct, rigid_only, rigid_search
from .target import Target

_FIRST_ANGST, _LAST_ANGST = 10.0, 2.5  # widths of the blur
_FINER = 0.7  # from one width to the next
_OVER_OWN = 1.1  # the last width, of that of a point in the map
_ELASTIC = 3e-3  # weight of the elastic energy: that of an RMSD of 1 Å along a mode of mean stiffness
_SPACING = 0.8  # between nodes, of the width
_MOST_NODES = 4000  # the last width of larger structures is larger
_CANDIDATES = (8, 4, 2)  # placements that are fitted elastically at the first width, the second, and the others
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted reference.

    Attributes
    ----------
    placement
        Pose, amplitudes and correlation (map and model blurred to the last width).
    rigid
        The same for the reference at rest.
    target, nodes, units
        What the last fit was made with.
    """

    placement: Placement
    rigid: Placement
    target: Target
    nodes: Nodes
    units: Units

    def coordinates(self, modes: NormalModes) -> Floats:
        """Fitted coordinates (N, 3) in Å in the frame of the map."""
        moved = modes.displace(self.placement.amplitudes) - modes.coordinates.mean(axis=0)
        return self.placement.of(moved)


def fit_modes(
    source: Map, modes: NormalModes, own_width: float, *, placed: bool = False, progress: Progress = silent
) -> Fit:
    """Fit a reference with modes to a map.

    Map and reference are blurred alike, first so much that only the overall shape counts, then less and less, down to
    `_LAST_ANGST`: a few modes do not reproduce finer detail, and trying to would draw the amplitudes away.

    Parameters
    ----------
    source
        The map.
    modes
        Reference and the modes to use.
    own_width
        Width in Å of a point in the map (`width.own_width`).
    placed
        The reference lies in the map already: it is only moved to the nearest maximum.
    progress
        Receives finished and total steps.

    Raises
    ------
    InputError
        If the map holds no density, or the reference is said to lie in it and does not.
    """
    last = max(_LAST_ANGST, _OVER_OWN * own_width, (molecular_volume(modes) / _MOST_NODES) ** (1 / 3) / _SPACING)
    widths = [max(_FIRST_ANGST, 1.5 * own_width, 1.2 * last)]
    while widths[-1] * _FINER > 1.1 * last:
        widths.append(widths[-1] * _FINER)
    widths.append(last)
    target, nodes = _at_width(source, modes, widths[0], own_width)
    units = Units.of(nodes, modes.n_atoms)
    rest = Placement(np.eye(3), modes.coordinates.mean(axis=0), np.zeros(len(modes)))
    centre = centre_of_mass(target)
    if placed:
        if not target.overlap(rest.of(nodes.places))[0] @ nodes.weights > 0:
            raise InputError("the reference does not lie in the density of the map; leave out --placed")
        candidates = [rest]
    else:
        candidates = rigid_search(target, nodes, centre, len(modes), units, _CANDIDATES[0])
        candidates = distinct([*candidates, climb(target, nodes, rest, units)], 1.0)
    total = len(widths) + 1
    progress(1, total)
    held = stiffness(modes)
    for number, width in enumerate(widths):
        if number:
            target, nodes = _at_width(source, modes, width, own_width)
        most = _CANDIDATES[min(number + 1, len(_CANDIDATES) - 1)]
        candidates = distinct([climb(target, nodes, one, units, held) for one in candidates], 1.0)[:most]
        progress(number + 2, total)
    best = candidates[0]
    return Fit(best, climb(target, nodes, rigid_only(best), units), target, nodes, units)


def _at_width(source: Map, modes: NormalModes, width: float, own_width: float) -> tuple[Target, Nodes]:
    """Map and reference for Gaussians of a width in Å: where a node stands for several atoms, they blur it already."""
    nodes = make_nodes(modes, _SPACING * width)
    return Target.make(source, width, float(np.hypot(own_width, nodes.spread))), nodes


def stiffness(modes: NormalModes) -> Floats:
    """How much each mode (M,) is held back, per amplitude squared: by its elastic energy, relative to their mean."""
    return _ELASTIC * modes.eigenvalues / modes.eigenvalues.mean() / modes.n_atoms
