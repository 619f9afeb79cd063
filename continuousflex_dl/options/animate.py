"""Options of ``cflex animate``."""

from __future__ import annotations

from .base import CommonOptions, option


class AnimateOptions(CommonOptions):
    """A multi-model structure along a normal mode or along an axis of a conformational space."""

    input: str = option(help="Normal modes (modes.npz, .nmd, modes.xmd), or the directory of `cflex space`.", positional=True, metavar="MODES.npz|SPACE_DIR", label="Input")
    mode: int = option(7, help="With modes: the mode to animate.", ge=7, label="Mode")
    axis: int = option(1, help="With a space directory: the axis to follow.", ge=1, label="Axis")
    amplitude: float | None = option(None, help="Largest amplitude of the mode; default: an RMSD of 2 Å.", unit="Å", gt=0, label="Amplitude")
    n_frames: int = option(10, help="Structures from one end to the other.", ge=2, le=1000, label="Frames")
    pdb: bool = option(False, help="Write PDB instead of mmCIF.", label="PDB format")
