"""Options of ``cflex animate``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, option


class AnimateOptions(CommonOptions):
    """A motion along a normal mode, or along an axis or a path of a conformational space: structures, maps, movie."""

    input: str = option(help="Normal modes (modes.npz, .nmd, modes.xmd), or the directory of `cflex space`.", positional=True, metavar="MODES.npz|SPACE_DIR", label="Input")
    mode: int = option(7, help="With modes: the mode to animate.", ge=7, label="Mode")
    amplitude: float | None = option(None, help="Largest amplitude of the mode; default: an RMSD of 2 Å.", unit="Å", gt=0, label="Amplitude")
    axis: int | None = option(None, help="With a space directory: the axis to follow, from the 2nd to the 98th percentile of the particles; the first one where nothing else is asked for.", ge=1, label="Axis")
    start: str | None = option(None, help="With a space directory: a place to begin at, as many numbers as the space has axes, for example 120,-40.", metavar="X,Y", label="Begin at")
    end: str | None = option(None, help="A place to end at; the way from --start is straight, unless --minimum-path is given.", metavar="X,Y", label="End at")
    path: str | None = option(None, help="With a space directory: a path to follow, a text file with one point of the space per line.", metavar="FILE", label="Path")
    minimum_path: bool = option(False, help="Follow the path of least free energy from --start to --end, or between the two deepest basins, or between the ends of the first axis where there is but one.", label="Path of least free energy")
    n_frames: int = option(10, help="Structures from one end to the other.", ge=2, le=1000, label="Frames")
    format: Literal["cif", "pdb", "dcd"] = option("cif", help="Format of the structures: one model each in mmCIF or PDB, or a DCD trajectory with its first frame as mmCIF.", label="Format")
    maps: bool = option(False, help="Write a numbered map (MRC) of every structure too.", label="Maps")
    map_box: int | None = option(None, help="Size of the maps; default: that of the particles, or what the structures need.", unit="px", ge=8, le=2048, label="Box of the maps", advanced=True)
    movie: Literal["none", "gif", "mp4", "both"] = option("none", help="Draw a movie of the backbone: GIF, or MP4 where the package av is installed.", label="Movie")
    fps: float = option(20.0, help="Pictures of the movie per second.", unit="1/s", gt=0, le=60, label="Speed", advanced=True)
    movie_size: int = option(720, help="Height of the movie.", unit="px", ge=120, le=4320, label="Size of the movie", advanced=True)
    structure: str | None = option(None, help="Structure that the modes or coordinates belong to, where it is not found beside them.", metavar="STRUCTURE", label="Structure", advanced=True)

    @model_validator(mode="after")
    def _check(self) -> AnimateOptions:
        chosen = [name for name, given in (("--axis", self.axis), ("--path", self.path), ("--minimum-path", self.minimum_path or None)) if given is not None]
        if (self.start is None) != (self.end is None):
            raise ValueError("--start and --end go together; give both or none")
        if self.start is not None and not self.minimum_path:
            chosen.append("--start")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; leave one of them out")
        return self
