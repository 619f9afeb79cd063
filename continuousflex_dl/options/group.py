"""Options of ``cflex group``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, option
from .shared import POINT_GROUP, STRUCTURE_BESIDE

_WAYS = ("clusters", "axis", "path", "minimum_path", "where", "outline", "column", "selection")


class GroupOptions(CommonOptions):
    """Groups of the particles of a conformational space: subsets, centroid structures, and maps."""

    input: str = option(help="Directory of `cflex space`.", positional=True, metavar="SPACE_DIR", label="Input")
    clusters: Literal["none", "kmeans", "gmm", "hdbscan"] = option("none", help="Groups that an algorithm finds in the space.", label="Clusters")
    axis: int | None = option(None, help="Slices along this axis of the space; along the first one where nothing else is asked for.", ge=1, label="Axis")
    path: str | None = option(None, help="Slices along a path, a text file with one point of the space per line.", metavar="FILE", label="Path")
    minimum_path: bool = option(False, help="Slices along the path of least free energy between the two deepest basins, or between the ends of the first axis where there is but one.", label="Path of least free energy")
    where: tuple[str, ...] = option((), help="A condition on the columns of the particle file, for example 'cflexSpace1 > 10 and cflexScore > 0.3'; may be repeated, one group each.", metavar="CONDITION", label="Condition")
    outline: tuple[str, ...] = option((), help="A closed outline in two axes of the space, a text file with one corner per line; may be repeated, one group each.", metavar="FILE", label="Outline")
    axes: str = option("1,2", help="The two axes that outlines are drawn in.", metavar="X,Y", label="Axes of outlines", advanced=True)
    column: str | None = option(None, help="Groups of equal whole numbers in a column, for example cflexGroup, cflexSet or rlnClassNumber.", metavar="NAME", label="Column")
    selection: tuple[str, ...] = option((), help="A selection that `cflex view` saved (JSON); may be repeated, one group each.", metavar="FILE", label="Selection of the viewer")
    n_groups: int | None = option(None, help="Number of groups: slices (10 by default), or clusters (the number that fits best by default).", unit="groups", ge=1, le=1000, label="Number of groups")
    equal_lengths: bool = option(False, help="Slices of equal length along the path, instead of equal numbers of particles.", label="Equal lengths")
    reach: float | None = option(None, help="Particles farther from the path than this are in no group, in units of the space.", unit="units of the space", gt=0, label="Reach", advanced=True)
    keep_unconverged: bool = option(False, help="Take in particles that did not converge, and outliers.", label="Keep unconverged", advanced=True)
    reconstruct: bool = option(False, help="Reconstruct a map of every group, compared with the map of its centroid structure.", label="Reconstruct")
    half_maps: bool = option(False, help="Write the half maps of every group too.", label="Half maps")
    ctf: CtfChoice = option("auto", help="How the CTF enters the maps: in the weights, as |CTF| for phase-flipped images, or not at all; auto follows the particle file.", label="CTF")
    symmetry: str = option("C1", help="Point group of the particle (Cn, Dn, T, O, I).", pattern=POINT_GROUP, label="Symmetry", advanced=True)
    max_resolution: float | None = option(None, help="Finest resolution that is reconstructed; default: Nyquist.", unit="Å", gt=0, label="Finest resolution", advanced=True)
    low_pass: float | None = option(None, help="Low-pass the maps at this resolution.", unit="Å", gt=0, label="Low-pass", advanced=True)
    structure: str | None = STRUCTURE_BESIDE

    @property
    def way(self) -> str:
        """Name of the option that says how particles are grouped: slices along the first axis where none does."""
        return next((name for name in _WAYS if getattr(self, name) not in (None, False, (), "none")), "axis")

    @model_validator(mode="after")
    def _check(self) -> GroupOptions:
        chosen = [name for name in _WAYS if getattr(self, name) not in (None, False, (), "none")]
        flags = ["--" + name.replace("_", "-") for name in chosen]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(flags)} exclude each other; give one of them")
        if self.n_groups is not None and (self.way in ("where", "outline", "column", "selection") or self.clusters == "hdbscan"):
            raise ValueError(f"--n-groups has no meaning with {'--clusters hdbscan' if self.clusters == 'hdbscan' else flags[0]}; leave it out")
        return self
