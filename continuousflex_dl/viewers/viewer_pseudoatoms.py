"""Viewer of pseudoatoms beside their map."""

from __future__ import annotations

import mrcfile
import numpy as np
import pyworkflow.protocol.params as params
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from ..convert import ConversionError, prepare_volume
from ..protocols import CflexProtPseudoAtoms
from . import plots_maps
from .viewer_modes import read_table
from .windows import FigureView

MODEL, CURVE = "model.mrc", "fsc.csv"


def slices_figure(map_path: str, model_path: str, mirrored: bool = False, model_name: str = "pseudoatoms"):
    """Central slices of a map and of its model, both as they lie in their files."""
    volumes = []
    for path in (map_path, model_path):
        try:
            with mrcfile.open(path, permissive=True) as opened:
                volumes.append(np.asarray(opened.data, dtype=np.float32))
        except (OSError, ValueError) as error:
            raise ConversionError(f"{path}: the map cannot be read ({error})") from error
    if mirrored:
        flipped = volumes[0][:, :, ::-1]
        volumes[0] = np.roll(flipped, 1, axis=2) if flipped.shape[2] % 2 == 0 else flipped
    if volumes[0].shape != volumes[1].shape:
        raise ConversionError("The map is stored in another order of its axes than the model; open both in a viewer.")
    return plots_maps.map_and_model(*volumes, model_name)


def curve_figure(path: str):
    """Correlation of map and model, from the table of a run."""
    columns = read_table(path, "There is no correlation yet; run the protocol again.")
    return plots_maps.correlations(columns["frequency_per_angst"], {"map and pseudoatoms": columns["correlation"]})


class CflexPseudoAtomsViewer(ProtocolViewer):
    """Choices to look at the pseudoatoms of a run."""

    _label = "viewer pseudoatoms"
    _targets = [CflexProtPseudoAtoms]
    _environments = [DESKTOP_TKINTER]

    def _defineParams(self, form):
        form.addSection(label="Pseudoatoms")
        form.addParam("displaySlices", params.LabelParam, label="Slices of map, pseudoatoms and difference")
        form.addParam("displayCurve", params.LabelParam, label="Fourier shell correlation of map and pseudoatoms")

    def _getVisualizeDict(self):
        return {"displaySlices": self._showSlices, "displayCurve": self._showCurve}

    def _show(self, make, title):
        try:
            return [FigureView(make(), title)]
        except ConversionError as error:
            return [self.errorMessage(str(error))]

    def _showSlices(self, paramName=None):
        def make():
            volume = prepare_volume(self.protocol.inputVolume.get(), self.protocol._inputPath("volume.mrc"))
            return slices_figure(volume, self.protocol._resultPath(MODEL), self.protocol.flipHand.get())

        return self._show(make, "Map and pseudoatoms")

    def _showCurve(self, paramName=None):
        return self._show(lambda: curve_figure(self.protocol._resultPath(CURVE)), "Correlation")
