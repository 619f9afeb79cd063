"""Viewer of a conformational space."""

from __future__ import annotations

import os

import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError
from ..protocols import CflexProtSpace
from . import plots
from .data import space_values
from .maps import read_energy
from .web import WebView
from .windows import FigureView, ReportView

SPACE_FILE, REPORT, LANDSCAPE = "space.npz", "report.html", "landscape.npz"


def space_figure(particles, dimensions: int):
    """Particles in the first axes of their space, coloured by the score."""
    found = space_values(particles)
    count = min(dimensions, found.values.shape[1])
    return plots.scatter(
        found.values[:, :count], found.names[:count], color=found.score, converged=found.converged, unit=""
    )


def energy_figure(path: str):
    """Free energy of a space, from its file."""
    found = read_energy(path)
    names = [f"axis {number}" for number in range(1, len(found.grid) + 1)]
    return plots.free_energy(found.grid, found.energy, found.std, found.minima, found.path, names)


class CflexSpaceViewer(ProtocolViewer):
    """Choices to look at the space of a run."""

    _label = "viewer conformational space"
    _targets = [CflexProtSpace]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Conformational space")
        form.addParam(
            "dimensions", params.EnumParam, choices=["1", "2", "3"], default=1,
            display=params.EnumParam.DISPLAY_HLIST, label="Dimensions",
        )  # fmt: skip
        form.addParam("displayBrowser", params.LabelParam, label="Select and animate (web browser)")
        form.addParam("displaySpace", params.LabelParam, label="Scatter plot")
        form.addParam("displayEnergy", params.LabelParam, label="Free energy along the first axes")
        form.addParam("displayReport", params.LabelParam, label="Report (web browser)")

    def _getVisualizeDict(self):
        return {
            "displayBrowser": self._showBrowser,
            "displaySpace": self._showSpace,
            "displayEnergy": self._showEnergy,
            "displayReport": self._showReport,
        }

    def _showBrowser(self, paramName=None):
        if not os.path.exists(self.protocol._resultPath(SPACE_FILE)):
            return [self.errorMessage("The space is not computed yet.")]
        return [WebView(self.protocol._resultPath())]

    def _showSpace(self, paramName=None):
        particles = getattr(self.protocol, "outputParticles", None)
        if particles is None:
            return [self.errorMessage("The space is not computed yet.")]
        try:
            return [FigureView(space_figure(particles, self.dimensions.get() + 1), "Conformational space")]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showEnergy(self, paramName=None):
        try:
            return [FigureView(energy_figure(self.protocol._resultPath(LANDSCAPE)), "Free energy")]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showReport(self, paramName=None):
        path = self.protocol._resultPath(REPORT)
        if not os.path.exists(path):
            return [self.errorMessage("There is no report yet.")]
        return [ReportView(path)]
