"""Viewers of maps, their correlations, and groups."""

from __future__ import annotations

import csv
import os

import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError, read_groups, read_space
from ..options.files import PARTICLES_FILE
from ..protocols import CflexProtGroup, CflexProtReconstruct
from . import plots, plots_maps
from .maps import central_slices, read_curves
from .windows import FigureView

GROUPS, SPACE = "groups.csv", "space.npz"


def curves_figure(path: str):
    """Correlations of a table."""
    found = read_curves(path)
    return plots_maps.correlations(found.frequency, found.values)


def slices_figure(path: str):
    """Central slices of a map."""
    slices, pixel_size = central_slices(path)
    return plots_maps.slices(slices, pixel_size)


class CflexReconstructViewer(ProtocolViewer):
    """Choices to look at a reconstruction."""

    _label = "viewer reconstruct"
    _targets = [CflexProtReconstruct]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Map")
        form.addParam("displaySlices", params.LabelParam, label="Slices through the centre")
        form.addParam("displayCurves", params.LabelParam, label="Fourier shell correlations")

    def _getVisualizeDict(self):
        return {
            "displaySlices": lambda _name=None: self._show(slices_figure, "map.mrc", "Map"),
            "displayCurves": lambda _name=None: self._show(curves_figure, "map_fsc.csv", "Correlations"),
        }

    def _show(self, make, name: str, title: str):
        try:
            return [FigureView(make(self.protocol._resultPath(name)), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]


class CflexGroupViewer(ProtocolViewer):
    """Choices to look at the groups of a run."""

    _label = "viewer groups"
    _targets = [CflexProtGroup]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Groups")
        form.addParam("displayGroups", params.LabelParam, label="Particles, coloured by group")
        form.addParam(
            "groupNumber", params.IntParam, default=1, label="Group",
            help="Number of the group whose map is shown.",
        )  # fmt: skip
        form.addParam("displaySlices", params.LabelParam, label="Slices through its map")
        form.addParam("displayCurves", params.LabelParam, label="Correlations of its map")

    def _getVisualizeDict(self):
        return {
            "displayGroups": self._showGroups,
            "displaySlices": lambda _name=None: self._showMap(slices_figure, ".mrc", "Map"),
            "displayCurves": lambda _name=None: self._showMap(curves_figure, "_fsc.csv", "Correlations"),
        }

    def _showGroups(self, paramName=None):
        try:
            space = read_space(os.path.join(self.protocol._inputPath("space"), SPACE))
            labels = read_groups(self.protocol._resultPath(PARTICLES_FILE))
        except (ConversionError, OSError) as error:
            return [self.errorMessage(str(error))]
        count = min(2, space.coordinates.shape[1])
        names = [f"axis {number}" for number in range(1, count + 1)]
        figure = plots.grouped(space.coordinates[:, :count], names, labels, self._names())
        return [FigureView(figure, "Groups")]

    def _names(self) -> list[str]:
        with open(self.protocol._resultPath(GROUPS), encoding="utf-8") as handle:
            return [row["group"].replace("_", " ") for row in csv.DictReader(handle)]

    def _showMap(self, make, ending: str, title: str):
        try:
            names = self._names()
            number = self.groupNumber.get()
            if not 1 <= number <= len(names):
                raise ConversionError(f"There is no group {number}; there are {len(names)}")
            name = names[number - 1].replace(" ", "_")
            if not os.path.exists(self.protocol._resultPath(name + ending)):
                raise ConversionError("The group has no map; set 'Reconstruct' to Yes and run again")
            return [FigureView(make(self.protocol._resultPath(name + ending)), f"{title}, group {number}")]
        except (ConversionError, OSError) as error:
            return [self.errorMessage(str(error))]
