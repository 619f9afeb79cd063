"""Options of ``cflex plot``."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import model_validator

from .base import CommonOptions, option


class PlotOptions(CommonOptions):
    """Figure of the particles of a conformational space, as `cflex view` shows them: points, density, selection, path."""

    output_is_file: ClassVar[bool] = True

    output: str = option(help="File to write; its ending says the format: .svg, .pdf or .png.", flags=("-o",), metavar="FILE")
    input: str = option(help="Directory of `cflex space`.", positional=True, metavar="SPACE_DIR", label="Input")
    x: str | None = option(None, help="Column along the horizontal axis: an axis of the space (cflexSpace1, or PC1 as it is called in the figure) or a column of the particle file; default: the first axis.", metavar="COLUMN", label="X")
    y: str | None = option(None, help="Column along the vertical axis; default: the second axis, of a space with one axis the next column.", metavar="COLUMN", label="Y")
    z: str | None = option(None, help="A third column makes the figure three-dimensional.", metavar="COLUMN", label="Z")
    colour: str = option("density", help="What the colour of a particle says: density, or a column. Columns of whole numbers, such as cflexGroup, get a colour for each.", metavar="COLUMN", label="Colour")
    palette: Literal["viridis", "cividis"] = option("viridis", help="Colours of density and of columns.", label="Palette")
    selection: str | None = option(None, help="Mark the particles of a selection that `cflex view` saved (JSON), with its last outline.", metavar="FILE", label="Selection of the viewer")
    keep_unconverged: bool = option(False, help="Let the selection take in particles that did not converge, and outliers.", label="Keep unconverged", advanced=True)
    beside: str | None = option(None, help="Another space of the same particles, found by their images; what --beside-selection selects there is marked by crosses here.", metavar="SPACE_DIR", label="Other space", advanced=True)
    beside_selection: str | None = option(None, help="Selection of the other space (JSON).", metavar="FILE", label="Selection of the other space", advanced=True)
    axis: int | None = option(None, help="Draw the path along this axis of the space.", ge=1, label="Axis")
    path: str | None = option(None, help="Draw a path, a text file with one point of the space per line.", metavar="FILE", label="Path")
    minimum_path: bool = option(False, help="Draw the path of least free energy.", label="Path of least free energy")
    at: str | None = option(None, help="Mark a place of the space: as many numbers as it has axes, or values of the columns of the figure (cflexSpace1=120,cflexScore=0.4).", metavar="X,Y", label="Place")
    basins: bool = option(True, help="Number the basins of the free energy, where X and Y are the first two axes.", label="Basins")
    window: str | None = option(None, help="Part that is shown: limits of X and of Y, for example -100,50,-20,80; default: all but the farthest two in ten thousand on each side.", metavar="X0,X1,Y0,Y1", label="Window")
    direction: str = option("35,45", help="In three dimensions: elevation and azimuth of the eye, in degrees.", metavar="ELEVATION,AZIMUTH", label="Direction", advanced=True)
    points: int = option(20000, help="Particles that are drawn as points, at most, over the density of all.", unit="particles", ge=1, le=2000000, label="Points drawn", advanced=True)
    dpi: int = option(300, help="Resolution of PNG, and of what is a picture in SVG and PDF (density, many points).", unit="pixels per inch", ge=50, le=1200, label="Resolution", advanced=True)

    @property
    def limits(self) -> tuple[float, float, float, float] | None:
        """Limits x0, x1, y0, y1 of the window."""
        if self.window is None:
            return None
        x0, x1, y0, y1 = _numbers(self.window, 4, "--window")
        return x0, x1, y0, y1

    @property
    def eye(self) -> tuple[float, float]:
        """Elevation and azimuth of the eye, degrees."""
        elevation, azimuth = _numbers(self.direction, 2, "--direction")
        return elevation, azimuth

    @model_validator(mode="after")
    def _check(self) -> PlotOptions:
        ways = {"--axis": self.axis, "--path": self.path, "--minimum-path": self.minimum_path or None}
        chosen = [name for name, given in ways.items() if given is not None]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other; leave one of them out")
        if (self.beside is None) != (self.beside_selection is None):
            raise ValueError("--beside and --beside-selection go together; give both or none")
        if self.limits is not None:
            x0, x1, y0, y1 = self.limits
            if x0 >= x1 or y0 >= y1:
                raise ValueError(f"--window: found {self.window!r}, expected the lower limit of X, the upper one, and those of Y")
            if self.z is not None:
                raise ValueError("--window is for two axes; leave --z out")
        _ = self.eye
        return self


def _numbers(text: str, count: int, what: str) -> list[float]:
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"{what}: found {text!r}, expected {count} numbers separated by commas")
    return values
