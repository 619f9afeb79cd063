"""Options of ``cflex space`` and ``cflex animate``."""

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


class AnimateOptions(CommonOptions):
    """A multi-model structure along a normal mode or along an axis of a conformational space."""

    input: str = option(help="Normal modes (modes.npz, .nmd, modes.xmd), or the directory of `cflex space`.", positional=True, metavar="MODES.npz|SPACE_DIR", label="Input")
    mode: int = option(7, help="With modes: the mode to animate.", ge=7, label="Mode")
    axis: int = option(1, help="With a space directory: the axis to follow.", ge=1, label="Axis")
    amplitude: float | None = option(None, help="Largest amplitude of the mode; default: an RMSD of 2 Å.", unit="Å", gt=0, label="Amplitude")
    n_frames: int = option(10, help="Structures from one end to the other.", ge=2, le=1000, label="Frames")
    pdb: bool = option(False, help="Write PDB instead of mmCIF.", label="PDB format")
