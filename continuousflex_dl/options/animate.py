"""Options of ``cflex animate``."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, option, parse_mode_list
from .shared import STRUCTURE_BESIDE


class AnimateOptions(CommonOptions):
    """A motion along a normal mode, or along an axis or a path of a conformational space: structures, maps, movie; or one structure."""

    input: str = option(help="Normal modes (modes.npz, .nmd, modes.xmd), or the directory of `cflex space`.", positional=True, metavar="MODES.npz|SPACE_DIR", label="Input")
    mode: int = option(7, help="With modes: the mode to animate.", ge=7, label="Mode")
    amplitude: float | None = option(None, help="Largest amplitude of the mode; default: an RMSD of 2 Å.", unit="Å", gt=0, label="Amplitude")
    axis: int | None = option(None, help="With a space directory: the axis to follow, from the 2nd to the 98th percentile of the particles; the first one where nothing else is asked for.", ge=1, label="Axis")
    start: str | None = option(None, help="With a space directory: a place to begin at, as many numbers as the space has axes, for example 120,-40.", metavar="X,Y", label="Begin at")
    end: str | None = option(None, help="A place to end at; the way from --start is straight, unless --minimum-path is given.", metavar="X,Y", label="End at")
    path: str | None = option(None, help="With a space directory: a path to follow, a text file with one point of the space per line.", metavar="FILE", label="Path")
    minimum_path: bool = option(False, help="Follow the path of least free energy from --start to --end, or between the two deepest basins, or between the ends of the first axis where there is but one.", label="Path of least free energy")
    at: str | None = option(None, help="With a space directory: one structure instead of a motion, at this place: as many numbers as the space has axes (120,-40), or values by column (cflexSpace1=120,cflexScore=0.4); where a column is no axis, the mean of the 30 nearest particles.", metavar="X,Y", label="One place")
    amplitudes: str | None = option(None, help="One structure instead of a motion, of these amplitudes in Å by mode number, for example 7=120,9=-40; the other modes stay at 0.", metavar="MODE=A,...", label="Amplitudes of one structure")
    n_frames: int = option(10, help="Structures from one end to the other.", ge=2, le=1000, label="Frames")
    format: Literal["cif", "pdb", "dcd"] = option("cif", help="Format of the structures: one model each in mmCIF or PDB, or a DCD trajectory with its first frame as mmCIF.", label="Format")
    maps: bool = option(False, help="Write a numbered map (MRC) of every structure too.", label="Maps")
    map_box: int | None = option(None, help="Size of the maps; default: that of the particles, or what the structures need.", unit="px", ge=8, le=2048, label="Box of the maps", advanced=True)
    movie: Literal["none", "gif", "mp4", "both"] = option("none", help="Draw a movie of the backbone: GIF, or MP4 where the package av is installed.", label="Movie")
    fps: float = option(20.0, help="Pictures of the movie per second.", unit="1/s", gt=0, le=60, label="Speed", advanced=True)
    movie_size: int = option(720, help="Height of the movie.", unit="px", ge=120, le=4320, label="Size of the movie", advanced=True)
    structure: str | None = STRUCTURE_BESIDE

    @property
    def one(self) -> str | None:
        """Flag of the option that asks for one structure, where there is one."""
        return "--at" if self.at is not None else "--amplitudes" if self.amplitudes is not None else None

    @property
    def amplitude_of(self) -> dict[int, float]:
        """Amplitudes in Å of one structure by mode number."""
        return {} if self.amplitudes is None else parse_amplitudes(self.amplitudes)

    @model_validator(mode="after")
    def _check(self) -> AnimateOptions:
        ways = {"--axis": self.axis, "--path": self.path, "--minimum-path": self.minimum_path or None, "--at": self.at, "--amplitudes": self.amplitudes}
        chosen = [name for name, given in ways.items() if given is not None]
        if (self.start is None) != (self.end is None):
            raise ValueError("--start and --end go together; give both or none")
        if self.start is not None and not self.minimum_path:
            chosen.append("--start")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; leave one of them out")
        if self.one:
            several = ("mode", "amplitude", "start", "n_frames", "movie")
            if given := next((name for name in several if getattr(self, name) != type(self).model_fields[name].default), None):
                raise ValueError(f"--{given.replace('_', '-')} is for a motion, {self.one} asks for one structure; leave one of them out")
            if self.format == "dcd":
                raise ValueError(f"--format dcd is for a motion, {self.one} asks for one structure; take cif or pdb")
        if self.amplitudes is not None:
            parse_amplitudes(self.amplitudes)
        return self


def parse_amplitudes(text: str) -> dict[int, float]:
    """Turn ``7=120,9=-40`` into ``{7: 120.0, 9: -40.0}``: amplitudes in Å by mode number."""
    found: dict[int, float] = {}
    for part in re.split(r"[,\s]+", text.strip()):
        mode, equals, amplitude = part.partition("=")
        try:
            value = float(amplitude)
        except ValueError:
            value = math.nan
        if not equals or not mode.isdigit() or not math.isfinite(value):
            raise ValueError(f"--amplitudes: found {part!r}, expected modes and their amplitudes in Å such as 7=120,9=-40")
        parse_mode_list(mode)
        if int(mode) in found:
            raise ValueError(f"--amplitudes: mode {mode} is given twice")
        found[int(mode)] = value
    return found
