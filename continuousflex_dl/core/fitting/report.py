"""What a fit found, with its errors and the contributions of the modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..conventions import euler_from_matrix
from ..dynamics.modes import NormalModes
from ..pseudoatoms.gaussians import render
from ..pseudoatoms.quality import map_model_correlation
from ..reconstruction.fsc import MODEL, ShellCorrelation
from ..reconstruction.map_files import Map
from .flexible import Fit, stiffness
from .ranking import Contributions, contributions
from .uncertainty import Errors, fit_errors

Floats = NDArray[np.float64]
_REGION = 0.05  # of the largest density of the model


@dataclass(frozen=True, eq=False)
class FitReport:
    """A fit to one map and all that is said about it.

    Attributes
    ----------
    fit, errors, contributions
        The fit, its standard deviations, and what each mode contributes.
    coordinates
        (N, 3) Å in the frame of the map.
    model
        (nz, ny, nx) density of the fitted reference, scaled to the map.
    euler_deg
        rot, tilt, psi of the rotation from the reference's frame to that of the map.
    curve, rigid_curve
        Fourier shell correlation of map and model: fitted, and with the reference at rest.
    """

    fit: Fit
    errors: Errors
    contributions: Contributions
    coordinates: Floats
    model: NDArray[np.float32]
    euler_deg: Floats
    curve: ShellCorrelation
    rigid_curve: ShellCorrelation

    @property
    def resolution(self) -> float:
        """Å where the correlation of map and fitted model falls to 0.5."""
        return self.curve.resolution(MODEL)

    @property
    def rigid_resolution(self) -> float:
        """The same with the reference at rest."""
        return self.rigid_curve.resolution(MODEL)


def report_on(fit: Fit, source: Map, modes: NormalModes, own_width: float) -> FitReport:
    """Measure a fit against its map."""
    errors = fit_errors(fit.target, fit.nodes, fit.placement, stiffness(modes))
    coordinates = fit.coordinates(modes)
    rest = fit.rigid.of(modes.centred)
    model, rigid = (_density(places, modes, source, own_width) for places in (coordinates, rest))
    return FitReport(
        fit=fit,
        errors=errors,
        contributions=contributions(fit, modes),
        coordinates=coordinates,
        model=model,
        euler_deg=np.asarray(euler_from_matrix(fit.placement.rotation)),
        curve=_curve(source, model),
        rigid_curve=_curve(source, rigid),
    )


def _density(places: Floats, modes: NormalModes, source: Map, own_width: float) -> NDArray[np.float32]:
    in_voxels = (places - np.array(source.origin))[:, ::-1] / source.pixel_size
    model = render(in_voxels, modes.weights, own_width / source.pixel_size, source.values.shape)
    return (model * float((model * source.values).sum() / max(float((model**2).sum()), 1e-30))).astype(np.float32)


def _curve(source: Map, model: NDArray[np.float32]) -> ShellCorrelation:
    inside = model > _REGION * model.max()
    return map_model_correlation(source.values, model, inside, source.pixel_size)
