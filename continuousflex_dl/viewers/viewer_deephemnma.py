"""Viewer of a training of DeepHEMNMA."""

from __future__ import annotations

import re

import numpy as np
import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError
from ..protocols import CflexProtDeepHEMNMATrain
from . import plots_training
from .viewer_modes import read_table
from .windows import FigureView

CURVES, HELD_OUT = "loss.csv", "held_out.csv"


def training_figure(path: str):
    """Loss curves from the table of a run, also of one that is still going on."""
    return plots_training.loss_curves(read_table(path, "There is nothing to show before the first validation."))


def held_out_figure(path: str):
    """Amplitudes and shifts that were predicted for held-out particles, against their labels."""
    columns = read_table(path, "No labelled particles were held out, or the training is not over.")
    numbers = [int(found[1]) for name in columns if (found := re.fullmatch(r"mode(\d+)_label", name))]
    if not numbers:
        raise ConversionError(f"{path}: holds no labels; train again")
    names = [*(f"mode{number}" for number in numbers), "origin_x", "origin_y"]
    titles = [*(f"mode {number} (Å)" for number in numbers), "shift x (Å)", "shift y (Å)"]
    return plots_training.predictions([columns[f"{n}_label"] for n in names], [columns[n] for n in names], titles)


def angle_figure(path: str):
    """How far predicted orientations are off, against what the network expected."""
    columns = read_table(path, "No labelled particles were held out, or the training is not over.")
    if "angle_std_deg" not in columns:
        raise ConversionError("This network says nothing of its errors.")
    expected = columns["angle_std_deg"] * np.sqrt(8 / np.pi)  # mean angle of a turn with this deviation about each axis
    return plots_training.predictions([columns["angle_error_deg"]], [expected], ["expected error (degrees)"])


class CflexDeepHEMNMAViewer(ProtocolViewer):
    """Loss curves, and predictions against labels of particles that were held out."""

    _label = "viewer deep hemnma train"
    _targets = [CflexProtDeepHEMNMATrain]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Training")
        form.addParam("displayCurves", params.LabelParam, label="Loss curves")
        form.addParam("displayHeldOut", params.LabelParam, label="Predictions against labels (held-out particles)")
        form.addParam("displayAngles", params.LabelParam, label="Expected against actual errors of the orientation")

    def _getVisualizeDict(self):
        return {
            "displayCurves": lambda _=None: self._show(training_figure, CURVES, "Training"),
            "displayHeldOut": lambda _=None: self._show(held_out_figure, HELD_OUT, "Held-out particles"),
            "displayAngles": lambda _=None: self._show(angle_figure, HELD_OUT, "Errors of the orientation"),
        }

    def _show(self, make, name, title):
        try:
            return [FigureView(make(self.protocol._resultPath(name)), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]
