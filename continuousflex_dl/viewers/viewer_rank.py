"""Viewer of a ranking of modes."""

from __future__ import annotations

import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError
from ..protocols import CflexProtRank
from . import plots_modes
from .viewer_modes import read_table
from .windows import FigureView

RANKING = "ranking.csv"


def evidence_figure(path: str):
    """What images gain by each mode, with collectivity and overlap, from the table of a run."""
    columns = read_table(path, "The modes are not ranked yet; run the protocol.")
    order = columns["mode"].argsort()
    names = ("mode", "gain", "gain_error", "supported", "collectivity")
    overlap = columns["overlap"][order] if "overlap" in columns else None
    return plots_modes.evidence_bars(*(columns[name][order] for name in names), overlap)


class CflexRankViewer(ProtocolViewer):
    """The evidence for the modes of a run."""

    _label = "viewer ranked modes"
    _targets = [CflexProtRank]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Ranked modes")
        form.addParam("displayEvidence", params.LabelParam, label="Evidence, collectivity and overlap of the modes")

    def _getVisualizeDict(self):
        return {"displayEvidence": self._showEvidence}

    def _showEvidence(self, paramName=None):
        try:
            return [FigureView(evidence_figure(self.protocol._resultPath(RANKING)), "Evidence for the modes")]
        except ConversionError as error:
            return [self.errorMessage(str(error))]
