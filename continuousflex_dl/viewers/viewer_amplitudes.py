"""Viewers of the amplitudes of particles."""

from __future__ import annotations

import os

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticlesFlex
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer, Viewer

from ..convert import ConversionError
from ..options import OptionError
from ..options.base import parse_mode_list
from ..options.files import RESULT_FILES
from ..protocols import CflexProtDeepHEMNMAInfer, CflexProtHEMNMA, CflexProtSimulate
from . import plots
from .data import ParticleValues, amplitude_values
from .web import WebView
from .windows import FigureView


def chosen(found: ParticleValues, selection: str) -> list[int]:
    """Columns of the chosen modes; the first three where nothing is chosen.

    Raises
    ------
    ConversionError
        If a mode is not there or more than three are chosen.
    """
    available = [int(name.split()[1]) for name in found.names]
    if not selection.strip():
        return list(range(min(3, len(available))))
    try:
        wanted = parse_mode_list(selection)
    except (ValueError, OptionError) as error:
        raise ConversionError(f"Modes: {error}") from error
    missing = [number for number in wanted if number not in available]
    if missing:
        raise ConversionError(
            f"The particles have no amplitude of mode {', '.join(map(str, missing))}; they have "
            f"{', '.join(map(str, available))}"
        )
    if len(wanted) > 3:
        raise ConversionError("Choose one, two or three modes")
    return [available.index(number) for number in wanted]


def scatter_figure(found: ParticleValues, selection: str):
    """Scatter plot of the chosen modes, coloured by the score."""
    columns = chosen(found, selection)
    return plots.scatter(
        found.values[:, columns], [found.names[c] for c in columns], color=found.score, converged=found.converged
    )


class CflexAmplitudesViewer(Viewer):
    """Amplitudes of the first modes of any set of flexible particles that has some."""

    _label = "amplitudes plot"
    _name = "Amplitudes of the modes"
    _targets = [SetOfParticlesFlex]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj, **kwargs):
        try:
            return [FigureView(scatter_figure(amplitude_values(obj), ""), "Amplitudes")]
        except ConversionError as error:
            return [self.errorMessage(str(error))]


class CflexHEMNMAViewer(ProtocolViewer):
    """Choices to look at the amplitudes of a run, found or simulated."""

    _label = "viewer amplitudes"
    _targets = [CflexProtHEMNMA, CflexProtDeepHEMNMAInfer, CflexProtSimulate]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Amplitudes")
        form.addParam(
            "modes", params.StringParam, default="", label="Modes",
            help="One, two or three mode numbers, for example 7,8; empty: the first ones.",
        )  # fmt: skip
        form.addParam("displayBrowser", params.LabelParam, label="Select and animate (web browser)")
        form.addParam("displayScatter", params.LabelParam, label="Scatter plot")
        form.addParam("displayHistogram", params.LabelParam, label="Histogram of the first of them")
        form.addParam("displayScore", params.LabelParam, label="Histogram of the scores")

    def _getVisualizeDict(self):
        return {
            "displayBrowser": self._showBrowser,
            "displayScatter": self._showScatter,
            "displayHistogram": self._showHistogram,
            "displayScore": self._showScore,
        }

    def _showBrowser(self, paramName=None):
        if not any(os.path.exists(self.protocol._resultPath(name)) for name in RESULT_FILES):
            return [self.errorMessage("There are no particles yet.")]
        return [WebView(self.protocol._resultPath())]

    def _particles(self):
        particles = getattr(self.protocol, "outputTruth", None) or getattr(self.protocol, "outputParticles", None)
        if particles is None:
            raise ConversionError("There are no particles yet.")
        return amplitude_values(particles)

    def _show(self, make, title):
        try:
            return [FigureView(make(self._particles()), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showScatter(self, paramName=None):
        return self._show(lambda found: scatter_figure(found, self.modes.get() or ""), "Amplitudes")

    def _showHistogram(self, paramName=None):
        def make(found):
            column = chosen(found, self.modes.get() or "")[0]
            return plots.histogram(found.values[:, column], found.names[column])

        return self._show(make, "Amplitudes")

    def _showScore(self, paramName=None):
        def make(found):
            if not found.has_score:
                raise ConversionError("The particles carry no score.")
            return plots.histogram(found.score, "score", unit="")

        return self._show(make, "Scores")
