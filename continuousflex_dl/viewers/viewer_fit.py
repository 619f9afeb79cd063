"""Viewer of a structure fitted to maps."""

from __future__ import annotations

import numpy as np
import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError, prepare_volume
from ..protocols import CflexProtFit
from . import plots_maps, plots_modes
from .viewer_modes import read_table
from .viewer_pseudoatoms import slices_figure
from .windows import FigureView

FITS = "fits.csv"
_NOT_YET = "The structure is not fitted yet; run the protocol."


def amplitude_figure(figures: dict, position: int):
    """Amplitudes and contributions of the modes in one fit, from the figures of a run."""
    if position >= len(figures.get("maps", ())):
        raise ConversionError(f"There is no fit {position + 1}; there are {len(figures.get('maps', ()))}.")
    columns = ("amplitudes_angst", "amplitudes_std_angst", "gain")
    return plots_modes.contributions(
        np.array(figures["modes"]), *(np.array(figures[name][position]) for name in columns)
    )


def agreement_figure(path: str):
    """Correlation of map and model by resolution, before and after a fit, from the table of a run."""
    columns = read_table(path, _NOT_YET)
    curves = {"fitted": columns["fitted"], "at rest": columns["at_rest"]}
    return plots_maps.correlations(columns["frequency_per_angst"], curves)


def course_figure(path: str):
    """Amplitudes over the maps of a set, from the table of a run."""
    columns = read_table(path, _NOT_YET)
    names = [name for name in columns if name.startswith("mode_") and not name.endswith("_std")]
    values = {name.replace("_", " "): (columns[name], columns[f"{name}_std"]) for name in names}
    return plots_modes.courses(values)


class CflexFitViewer(ProtocolViewer):
    """Choices to look at the fits of a run."""

    _label = "viewer flexible fitting"
    _targets = [CflexProtFit]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Flexible fitting")
        form.addParam("fitNumber", params.IntParam, default=1, label="Map number", help="For sets of maps.")
        form.addParam("displayModes", params.LabelParam, label="Amplitudes and contributions of the modes")
        form.addParam("displaySlices", params.LabelParam, label="Slices of map, fitted model and difference")
        form.addParam("displayCurve", params.LabelParam, label="Fourier shell correlation before and after")
        form.addParam("displayCourse", params.LabelParam, label="Amplitudes over all maps")

    def _getVisualizeDict(self):
        return {
            "displayModes": lambda _: self._show(self._modes, "Modes of the fit"),
            "displaySlices": lambda _: self._show(self._slices, "Map and model"),
            "displayCurve": lambda _: self._show(self._curve, "Correlation"),
            "displayCourse": lambda _: self._show(self._course, "Amplitudes"),
        }

    def _show(self, make, title):
        try:
            return [FigureView(make(), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _position(self) -> int:
        count = len(self.protocol.fitNumbers())
        position = self.fitNumber.get() - 1
        if not 0 <= position < count:
            raise ConversionError(f"There is no map {position + 1}; there are {count}.")
        return position

    def _modes(self):
        return amplitude_figure(self.protocol._figures(), self._position())

    def _slices(self):
        position = self._position()
        ending = self.protocol.fitNumbers()[position]
        volume = prepare_volume(
            self.protocol._volumes()[position], self.protocol._inputPath(f"volume_{position + 1:04d}.mrc")
        )
        model = self.protocol._resultPath(f"model{ending}.mrc")
        return slices_figure(volume, model, self.protocol.flipHand.get(), "fitted model")

    def _curve(self):
        return agreement_figure(self.protocol._resultPath(f"fsc{self.protocol.fitNumbers()[self._position()]}.csv"))

    def _course(self):
        return course_figure(self.protocol._resultPath(FITS))
