"""Viewers of normal modes."""

from __future__ import annotations

import csv
import os

import numpy as np
import pyworkflow.protocol.params as params
from pwem.objects import SetOfNormalModes
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer, Viewer

from ..convert import ConversionError, read_modes
from ..protocols import CflexProtNMA
from . import plots, plots_modes
from .web import WebView
from .windows import FigureView

QUANTITIES = ("collectivity", "eigenvalue", "score")
OVERLAP, FLUCTUATIONS = "overlap.csv", "fluctuations.csv"


def mode_figure(modes: SetOfNormalModes, quantity: str, threshold: float | None = None):
    """Bars of a quantity of the non-rigid modes of a set."""
    listed = [mode for mode in read_modes(modes) if not mode.rigid and getattr(mode, quantity) is not None]
    if not listed:
        raise ConversionError(f"The set of normal modes has no {quantity}")
    return plots.mode_bars(
        [mode.number for mode in listed],
        np.array([getattr(mode, quantity) for mode in listed]),
        [mode.enabled for mode in listed],
        quantity,
        threshold=threshold if quantity == "collectivity" else None,
    )


def profile_figure(modes: SetOfNormalModes, number: int, table: str | None = None):
    """Displacement of every atom in one mode of a set; of every residue where a table of a run names them."""
    found = {mode.number: mode.file for mode in read_modes(modes)}
    if number not in found:
        raise ConversionError(f"The set has no mode {number}; it has {', '.join(map(str, found))}")
    vector = np.loadtxt(found[number], ndmin=2)
    residues = [] if table is None or not os.path.exists(table) else residues_of(table)
    if len(residues) != len(vector):
        return plots.displacement_profile(vector, number)
    return plots_modes.residue_profile(vector, residues, number)


def residues_of(path: str) -> list[tuple[str, str]]:
    """Chain and residue of every node, from the table of a run."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [(row["chain"], row["residue"]) for row in csv.DictReader(stream)]


def overlap_figure(path: str):
    """Overlap of the modes with the target, from the table of a run."""
    columns = read_table(path, "There is no comparison: the run had no target structure.")
    names = ("mode", "overlap", "cumulative_overlap", "rmsd_left_angst")
    return plots_modes.overlap_bars(*(columns[name] for name in names))


def fluctuation_figure(path: str):
    """B factors predicted by the modes beside those of the file, from the table of a run."""
    columns = read_table(path, "There are no fluctuations; run the protocol again.")
    if not np.isfinite(columns["b_predicted"]).all():
        raise ConversionError("The structure has no B factors to compare with.")
    return plots_modes.fluctuation_profile(columns["b_predicted"], columns["b_in_file"])


def read_table(path: str, absent: str) -> dict[str, np.ndarray]:
    """Columns of a CSV table; NaN where there is no number.

    Raises
    ------
    ConversionError
        With the text `absent` if the file is not there.
    """
    if not os.path.exists(path):
        raise ConversionError(absent)

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([number(row[name]) for row in rows]) for name in (rows[0] if rows else ())}


class CflexModesViewer(Viewer):
    """Collectivity of the modes of any set."""

    _label = "normal modes plot"
    _name = "Collectivity of the modes"
    _targets = [SetOfNormalModes]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj, **kwargs):
        return [FigureView(mode_figure(obj, "collectivity"), "Normal modes")]


class CflexNMAViewer(ProtocolViewer):
    """Choices to look at the modes of a run."""

    _label = "viewer normal modes"
    _targets = [CflexProtNMA]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Normal modes")
        form.addParam(
            "quantity", params.EnumParam, choices=list(QUANTITIES), default=0, display=params.EnumParam.DISPLAY_HLIST,
            label="Quantity", help="Collectivity near 1: all atoms move. Small eigenvalue: an easy motion. "
            "Small score: both.",
        )  # fmt: skip
        form.addParam("displayBrowser", params.LabelParam, label="Watch the modes move (web browser)")
        form.addParam("displayModes", params.LabelParam, label="Plot it for all modes")
        form.addParam("modeNumber", params.IntParam, default=7, label="Mode number")
        form.addParam("displayProfile", params.LabelParam, label="Plot the displacement of every residue")
        form.addParam("displayOverlap", params.LabelParam, label="Plot the overlap with the target structure")
        form.addParam("displayFluctuations", params.LabelParam, label="Plot the fluctuations and the B factors")

    def _getVisualizeDict(self):
        return {
            "displayBrowser": self._showBrowser,
            "displayModes": self._showModes,
            "displayProfile": self._showProfile,
            "displayOverlap": lambda _: self._showTable(overlap_figure, OVERLAP, "Overlap"),
            "displayFluctuations": lambda _: self._showTable(fluctuation_figure, FLUCTUATIONS, "Fluctuations"),
        }

    def _showBrowser(self, paramName=None):
        if not os.path.exists(self.protocol._resultPath("modes.npz")):
            return [self.errorMessage("The modes are not computed yet.")]
        return [WebView(self.protocol._resultPath())]

    def _showTable(self, make, name, title):
        try:
            return [FigureView(make(self.protocol._resultPath(name)), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showModes(self, paramName=None):
        modes = getattr(self.protocol, "outputModes", None)
        if modes is None:
            return [self.errorMessage("The modes are not computed yet.")]
        try:
            figure = mode_figure(modes, QUANTITIES[self.quantity.get()], self.protocol.collectivityThreshold.get())
        except ConversionError as error:
            return [self.errorMessage(str(error))]
        return [FigureView(figure, "Normal modes")]

    def _showProfile(self, paramName=None):
        modes = getattr(self.protocol, "outputModes", None)
        if modes is None:
            return [self.errorMessage("The modes are not computed yet.")]
        try:
            figure = profile_figure(modes, self.modeNumber.get(), self.protocol._resultPath(FLUCTUATIONS))
        except ConversionError as error:
            return [self.errorMessage(str(error))]
        return [FigureView(figure, f"Mode {self.modeNumber.get()}")]
