"""Options of ``cflex space``."""

from __future__ import annotations

from typing import Literal

from .base import CommonOptions, option


class SpaceOptions(CommonOptions):
    """Dimension reduction of conformations and an HTML report."""

    input: str = option(help="Particle file with amplitudes, or the result directory of another command.", positional=True, metavar="PARTICLES.star|RESULT_DIR", label="Input particles")
    method: Literal["pca"] = option("pca", help="Method of dimension reduction.", label="Method")
    n_components: int = option(2, help="Dimensions to keep; fewer where the data have fewer.", ge=1, le=50, label="Dimensions")
    on: Literal["amplitudes"] = option("amplitudes", help="What is reduced: the mode amplitudes.", label="Reduce")
    modes: str | None = option(None, help="Normal modes of the amplitudes, for structures along the axes (found by itself in a result directory).", metavar="MODES.npz", label="Normal modes")
    truth: str | None = option(None, help="truth.star of a simulation: the report then shows the errors.", metavar="TRUTH.star", label="Truth")
    n_frames: int = option(10, help="Structures along the first axis.", ge=2, le=1000, label="Frames", advanced=True)
    keep_unconverged: bool = option(False, help="Let particles whose alignment did not converge take part in the fit of the axes.", label="Keep unconverged", advanced=True)
