"""Options of ``cflex evaluate``."""

from __future__ import annotations

from .base import CommonOptions, option


class EvaluateOptions(CommonOptions):
    """Errors of estimated poses and amplitudes against the truth, in the measures of the papers."""

    output: str | None = option(None, help="Output directory for metrics.json; without it the metrics go to stdout.", flags=("-o",), metavar="DIR")
    predicted: str = option(help="Particle file with estimated poses and amplitudes.", positional=True, metavar="PREDICTED.star")
    truth: str = option(help="Particle file with the true ones (truth.star of a simulation).", positional=True, metavar="TRUTH.star")
    modes: str | None = option(None, help="Normal modes of the amplitudes, for RMSD in Å.", metavar="MODES.npz")
    coordinates: tuple[str, str] | None = option(None, help="Predicted and true coordinates (HDF5 with a dataset 'coordinates'), for RMSD between structures; instead of the true ones a modes file, whose reference is displaced by the true amplitudes.", metavar="PRED.h5 TRUTH.h5")
