"""Options of ``cflex fsc``."""

from __future__ import annotations

from pydantic import model_validator

from .base import CommonOptions, option


class FscOptions(CommonOptions):
    """Fourier shell correlation of two maps, or of a map and a structure."""

    output: str | None = option(None, help="Output directory for fsc.csv, fsc.json and fsc.png; without it the figures go to stdout.", flags=("-o",), metavar="DIR")
    first: str = option(help="Map.", positional=True, metavar="A.mrc", label="First map")
    second: str = option(help="Map of the same size, or a structure, which is put with the mean of its atoms in the centre of the box.", positional=True, metavar="B.mrc|STRUCTURE", label="Second map or structure")
    mask: str | None = option(None, help="Soft mask (MRC, 0 to 1), applied to both; half maps are then also corrected for it.", metavar="MASK.mrc", label="Mask")
    auto_mask: bool = option(False, help="Make a soft mask around the density of the mean of both maps.", label="Automatic mask")
    sigma: float | None = option(None, help="Gaussian width of an atom in the map of a structure; default: 1.0 for atoms, that of its file for pseudoatoms.", unit="Å", gt=0, label="Atom width", advanced=True)

    @model_validator(mode="after")
    def _check(self) -> FscOptions:
        if self.mask and self.auto_mask:
            raise ValueError("--mask and --auto-mask exclude each other; leave one of them out")
        return self
