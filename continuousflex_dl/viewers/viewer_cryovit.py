"""Viewer of what Cryo-ViT has learned and found."""

from __future__ import annotations

import os

import numpy as np
import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError, read_latents, read_scores
from ..options.files import PARTICLES_FILE
from ..protocols import CflexProtCryoViTInfer, CflexProtCryoViTTrain
from . import plots, plots_training
from .viewer_modes import read_table
from .web import WebView
from .windows import FigureView

CONFORMATIONS, CURVES = "conformations.h5", "loss.csv"


def latent_figure(conformations: str, star: str):
    """First two principal components of the latents, coloured by the score of each particle."""
    latents = read_latents(conformations)
    centred = latents - latents.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    count = min(2, latents.shape[1])
    names = [f"component {number + 1} of the latent" for number in range(count)]
    return plots.scatter(centred @ axes[:count].T, names, color=read_scores(star), unit="")


def curves_figure(path: str):
    """Costs of the images during the training."""
    return plots_training.loss_curves(read_table(path, "There is nothing to show before the first validation."))


class CflexCryoViTViewer(ProtocolViewer):
    """Choices to look at a training or an inference."""

    _label = "viewer cryovit"
    _targets = [CflexProtCryoViTTrain, CflexProtCryoViTInfer]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Cryo-ViT")
        form.addParam("displayBrowser", params.LabelParam, label="Select and animate (web browser)")
        form.addParam("displayLatents", params.LabelParam, label="Latents of the particles")
        form.addParam("displayScores", params.LabelParam, label="Histogram of the scores")
        if isinstance(self.protocol, CflexProtCryoViTTrain):
            form.addParam("displayCurves", params.LabelParam, label="Costs during the training")

    def _getVisualizeDict(self):
        return {
            "displayBrowser": self._showBrowser,
            "displayLatents": self._showLatents,
            "displayScores": self._showScores,
            "displayCurves": self._showCurves,
        }

    def _showBrowser(self, paramName=None):
        if not os.path.exists(self.protocol._resultPath(PARTICLES_FILE)):
            return [self.errorMessage("There are no particles yet.")]
        return [WebView(self.protocol._resultPath())]

    def _show(self, make, title):
        try:
            return [FigureView(make(), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showLatents(self, paramName=None):
        paths = [self.protocol._resultPath(name) for name in (CONFORMATIONS, PARTICLES_FILE)]
        return self._show(lambda: latent_figure(*paths), "Latents")

    def _showScores(self, paramName=None):
        path = self.protocol._resultPath(PARTICLES_FILE)
        return self._show(lambda: plots.histogram(read_scores(path), "score", unit=""), "Scores")

    def _showCurves(self, paramName=None):
        return self._show(lambda: curves_figure(self.protocol._resultPath(CURVES)), "Training")
