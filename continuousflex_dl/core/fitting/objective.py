"""Correlation of a moved reference with a map, its gradient, and its maximum near a start."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from .nodes import Nodes
from .target import Target

Floats = NDArray[np.float64]
_STEPS = 200
_GRADIENT = 1e-5  # per Å, at which an optimum is reached
_SLACK = 0.5  # widths that nodes may move before pairs are looked for again
MISFIT = 0.01  # share of the map that no model is expected to explain


@dataclass(frozen=True, eq=False)
class Placement:
    """Where and in which conformation a reference lies in a map: ``x = rotation @ (centred + modes) + shift``.

    Attributes
    ----------
    rotation
        (3, 3).
    shift
        (3,) place of the reference's centre, Å.
    amplitudes
        (M,) Å.
    correlation
        With the map, -1 to 1; that of a perfect fit may exceed 1 by 0.001 (closed form here, voxels there).
    cost
        What `climb` minimises; the less the better, comparable at one width of the blur.
    """

    rotation: Floats
    shift: Floats
    amplitudes: Floats
    correlation: float = 0.0
    cost: float = np.inf

    def of(self, moved: Floats) -> Floats:
        """Places (n, 3) in the map of nodes (n, 3) that are moved along the modes already."""
        return moved @ self.rotation.T + self.shift


@dataclass(frozen=True)
class Units:
    """What makes a step of one in every variable a displacement of about 1 Å (root mean square) of the reference."""

    turn: float  # radians
    amplitude: float  # Å

    @classmethod
    def of(cls, nodes: Nodes, n_atoms: int) -> Units:
        """Units for a reference of so many atoms."""
        radius = float(np.sqrt((nodes.places**2).sum(axis=1).mean()))
        return cls(1 / max(radius, 1.0), float(np.sqrt(n_atoms)))


def correlation(target: Target, nodes: Nodes, placement: Placement, own: tuple[float, Floats]) -> tuple[float, Floats]:
    """Correlation of nodes with a map, and its gradient.

    Parameters
    ----------
    target, nodes, placement
        The map, the reference and where it is.
    own
        Summed square of the Gaussians, and its gradient by their places (`Target.self_overlap`).

    Returns
    -------
    correlation
        Between -1 and 1.
    gradient
        (6 + M,) by a further rotation (vector, radians) about the centre, by the shift and by the amplitudes (Å).
    """
    places = placement.of(nodes.moved(placement.amplitudes))
    near, slope = target.overlap(places)
    slope = slope * nodes.weights[:, None]
    shared = float(nodes.weights @ near)
    power, own_slope = own
    factor = 1 / (np.sqrt(power) * target.norm)
    turn = np.cross(places - placement.shift, slope).sum(axis=0)
    bend = np.einsum("ni,nim->m", slope @ placement.rotation, nodes.motions)
    bend -= 0.5 * shared / power * np.einsum("ni,nim->m", own_slope, nodes.motions)
    return shared * factor, factor * np.concatenate([turn, slope.sum(axis=0), bend])


def climb(target: Target, nodes: Nodes, start: Placement, units: Units, stiffness: Floats | None = None) -> Placement:
    """Find the nearest optimum: of the correlation, held back by the elastic energy of the deformation.

    What is minimised is `misfit` plus ``sum(stiffness * amplitude^2)``, the posterior of a map that no model explains
    fully, with Gaussian amplitudes: the better the map fits, the less the energy counts.

    Parameters
    ----------
    target, nodes
        The map and the reference.
    start
        Where to begin.
    units
        Scale of the variables.
    stiffness
        (M,) per unit amplitude squared, infinite for modes that stay as they are; None keeps the reference rigid.
    """
    stiffness = np.full(len(start.amplitudes), np.inf) if stiffness is None else stiffness
    moving = np.isfinite(stiffness)
    held = stiffness[moving] * units.amplitude**2
    scale = np.concatenate([np.full(3, units.turn), np.ones(3), np.full(int(moving.sum()), units.amplitude)])
    kept = np.concatenate([np.ones(6, dtype=bool), moving])
    power = _Power(target, nodes)

    def placed(variables: Floats) -> Placement:
        step = variables * scale
        amplitudes = start.amplitudes.copy()
        amplitudes[moving] += step[6:]
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ start.rotation
        return Placement(rotation, start.shift + step[3:6], amplitudes)

    def cost(variables: Floats) -> tuple[float, Floats]:
        here = placed(variables)
        value, gradient = correlation(target, nodes, here, power.of(here.amplitudes))
        gradient[:3] = _by_vector(variables[:3] * scale[:3]).T @ gradient[:3]
        misfit, left = _misfit(target, value)
        slope = -value * (target.norm / target.signal) ** 2 / left * gradient[kept] * scale
        bent = here.amplitudes[moving] / units.amplitude
        slope[6:] += 2 * held * bent
        return misfit + float(held @ bent**2), slope

    found = minimize(
        cost, np.zeros(len(scale)), jac=True, method="BFGS", options={"maxiter": _STEPS, "gtol": _GRADIENT}
    )
    end = placed(found.x)
    return replace(end, correlation=correlation(target, nodes, end, power.of(end.amplitudes))[0], cost=float(found.fun))


def unexplained(target: Target, value: float) -> float:
    """Share of the signal in a map that a model of this correlation leaves, and `MISFIT`."""
    return _misfit(target, value)[1]


def _misfit(target: Target, value: float) -> tuple[float, float]:
    """``log(1 + MISFIT - explained) / 2`` and the argument of that logarithm.

    What is explained is a share of the signal, not of the map: noise, which only a finer blur lets in, has no say in
    how much the energy counts. Where the noise was overestimated and more than all is explained, it goes on straight.
    """
    explained = (value * target.norm / target.signal) ** 2
    if explained <= 1:
        left = 1 + MISFIT - explained
        return 0.5 * float(np.log(left)), left
    return 0.5 * float(np.log(MISFIT) - (explained - 1) / MISFIT), MISFIT


class _Power:
    """Summed square of the Gaussians at given amplitudes; pairs that overlap are looked for again as they move."""

    def __init__(self, target: Target, nodes: Nodes) -> None:
        self._target, self._nodes = target, nodes
        self._pairs = np.empty((0, 2), dtype=np.int64)
        self._at: Floats | None = None
        self._amplitudes = np.full(nodes.motions.shape[2], np.nan)
        self._last: tuple[float, Floats] = (0.0, np.empty(0))

    def of(self, amplitudes: Floats) -> tuple[float, Floats]:
        if (amplitudes == self._amplitudes).all():
            return self._last  # a rigid reference stays as it is
        moved = self._nodes.moved(amplitudes)
        slack = _SLACK * self._target.width
        if self._at is None or np.abs(moved - self._at).max() > slack:
            self._pairs, self._at = self._target.pairs(moved), moved
        self._amplitudes = amplitudes
        self._last = self._target.self_overlap(moved, self._nodes.weights, self._pairs)
        return self._last


def _by_vector(vector: Floats) -> Floats:
    """Left Jacobian of the rotation group: turns a change of a rotation vector into a further rotation (3, 3)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-8:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + (1 - np.cos(angle)) / angle * cross + (1 - np.sin(angle) / angle) * cross @ cross
