"""One-sigma errors of a fit, from what it leaves of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..pseudoatoms.gaussians import render
from .nodes import Nodes
from .objective import Placement, unexplained
from .target import Target

Floats = NDArray[np.float64]
_REGION = 0.05  # of the largest density of the model: where the residual counts
_LEAST_CORRELATION = 0.02


@dataclass(frozen=True, eq=False)
class Errors:
    """Standard deviations of a placement.

    Attributes
    ----------
    amplitudes
        (M,) Å.
    angle
        Of the rotation, root of the summed variances about the three axes, radians.
    shift
        Likewise of the shift, Å.
    """

    amplitudes: Floats
    angle: float
    shift: float


def fit_errors(target: Target, nodes: Nodes, placement: Placement, stiffness: Floats) -> Errors:
    """Errors of the pose and the amplitudes of a fit.

    What is left of the map is taken as noise of one strength and one correlation length, both measured where the
    molecule is, so that what the modes cannot describe counts as well. Its effect on the least-squares optimum follows
    from the overlaps of the derivatives of the Gaussians, in closed form.

    Parameters
    ----------
    target, nodes, placement
        What was fitted, and where it ended.
    stiffness
        (M,) of the modes, as in the fit.
    """
    moved = nodes.moved(placement.amplitudes)
    places = placement.of(moved)
    derivatives = _derivatives(nodes, placement, places)  # (n, 3, 6 + M) in Å
    model = render((places - target.origin)[:, ::-1] / target.voxel, nodes.weights, target.sigma, target.values.shape)
    power = float((model.astype(np.float64) ** 2).sum())
    scale = float((target.values * model).sum()) / power
    variance, blur = _noise(target.values - scale * model, model > _REGION * model.max())
    sigma = target.sigma
    pairs = target.pairs(moved)
    grid, jump = places / target.voxel, derivatives / target.voxel
    curvature = scale**2 * _overlaps(grid, nodes.weights, jump, pairs, sigma, 1.0)
    along = scale * _along_model(target, nodes, moved, placement, pairs)
    curvature -= np.outer(along, along) / power  # the scale of the densities is free
    held = np.zeros(len(curvature))
    left = target.signal**2 * unexplained(target, placement.correlation)
    held[6:] = 2 * np.where(np.isfinite(stiffness), stiffness, 0.0) * left
    # white noise of this density, blurred, has the variance and the correlation found
    density = variance * (4 * np.pi * blur**2) ** 1.5 if blur > 0 else variance
    wider = np.sqrt(sigma**2 + blur**2)
    spread = density * scale**2 * _overlaps(grid, nodes.weights, jump, pairs, wider, (sigma / wider) ** 6)
    inverse = np.linalg.pinv(curvature + np.diag(held), hermitian=True)
    covariance = inverse @ spread @ inverse
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Errors(deviation[6:], float(np.linalg.norm(deviation[:3])), float(np.linalg.norm(deviation[3:6])))


def _derivatives(nodes: Nodes, placement: Placement, places: Floats) -> Floats:
    """How the nodes move (n, 3, 6 + M) with a rotation, the shift and the amplitudes."""
    n = len(nodes)
    turn = np.stack([np.cross(axis, places - placement.shift) for axis in np.eye(3)], axis=2)
    shift = np.broadcast_to(np.eye(3), (n, 3, 3))
    bend = np.einsum("ij,njm->nim", placement.rotation, nodes.motions)
    return np.concatenate([turn, shift, bend], axis=2)


def _overlaps(
    places: Floats, weights: Floats, motions: Floats, pairs: NDArray[np.int64], sigma: float, height: float
) -> Floats:
    """Overlaps (K, K) of the changes of a sum of Gaussians as its places (n, 3) move along motions (n, 3, K).

    In voxels. Gaussians of width `sigma` and squared height `height`: those of a sum that was blurred to that width.
    """
    n, _, count = motions.shape
    apart = places[pairs[:, 0]] - places[pairs[:, 1]]
    common = np.exp(-np.einsum("pi,pi->p", apart, apart) / (4 * sigma**2)) * np.prod(weights[pairs], axis=1)
    blocks = np.eye(3) / (2 * sigma**2) - apart[:, :, None] * apart[:, None, :] / (4 * sigma**4)
    blocks *= common[:, None, None]
    own = weights[:, None, None] ** 2 * np.eye(3) / (2 * sigma**2)
    rows = np.concatenate([pairs[:, 0], pairs[:, 1], np.arange(n)])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0], np.arange(n)])
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    data = np.concatenate([blocks, blocks, own])[order]
    matrix = sparse.bsr_matrix((data, columns[order], indptr), shape=(3 * n, 3 * n))
    flat = motions.reshape(3 * n, count)
    return height * (np.pi * sigma**2) ** 1.5 * (flat.T @ (matrix @ flat))


def _along_model(target: Target, nodes: Nodes, moved: Floats, placement: Placement, pairs: NDArray[np.int64]) -> Floats:
    """Overlap (6 + M,) of the model with its own change: only deformations change its power."""
    _, slope = target.self_overlap(moved, nodes.weights, pairs)
    return np.concatenate([np.zeros(6), 0.5 * np.einsum("ni,nim->m", slope, nodes.motions)])


def _noise(residual: Floats, inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Variance of a residual map inside a region, and the width in voxels of the blur that correlates it so."""
    mean = float(residual[inside].mean())
    variance = float(((residual[inside] - mean) ** 2).mean())
    products, count = 0.0, 0
    for axis in range(3):
        both = inside & np.roll(inside, -1, axis=axis)
        both[tuple(slice(-1, None) if k == axis else slice(None) for k in range(3))] = False
        products += float(((residual - mean) * (np.roll(residual, -1, axis=axis) - mean))[both].sum())
        count += int(both.sum())
    correlation = products / max(count, 1) / max(variance, 1e-300)
    if correlation < _LEAST_CORRELATION:
        return variance, 0.0
    return variance, float(1 / (2 * np.sqrt(-np.log(min(correlation, 0.999)))))
