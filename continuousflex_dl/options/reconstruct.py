"""Options of ``cflex reconstruct``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from .base import CommonOptions, CtfChoice, option
from .shared import POINT_GROUP


class ReconstructOptions(CommonOptions):
    """Map from particle images whose poses are known: CTF-weighted Fourier back-projection."""

    output_is_file: ClassVar[bool] = True

    output: str = option(help="Map to write (.mrc); correlations, half maps and the record of the run lie beside it.", flags=("-o",), metavar="MAP.mrc")
    particles: str = option(help="Particle file with poses, and CTF where there is one (RELION STAR, cryoSPARC .cs or Xmipp .xmd).", positional=True, metavar="PARTICLES.star", label="Input particles")
    ctf: CtfChoice = option("auto", help="How the CTF enters: in the weights, as |CTF| for phase-flipped images, or not at all; auto follows the particle file.", label="CTF")
    symmetry: str = option("C1", help="Point group of the particle (Cn, Dn, T, O, I).", pattern=POINT_GROUP, label="Symmetry")
    half_maps: bool = option(False, help="Write the two half maps too.", label="Half maps")
    max_resolution: float | None = option(None, help="Finest resolution that is reconstructed; default: Nyquist. Coarser is faster.", unit="Å", gt=0, label="Finest resolution", advanced=True)
    regularise: bool = option(True, help="Weigh every shell with its signal-to-noise ratio (Wiener filter). The half maps never are.", label="Regularise")
    mask: str | None = option(None, help="Soft mask for the correlations (MRC, 0 to 1).", metavar="MASK.mrc", label="Mask")
    auto_mask: bool = option(False, help="Make a soft mask around the density for the correlations, and write it.", label="Automatic mask")
    low_pass: float | None = option(None, help="Low-pass the map at this resolution.", unit="Å", gt=0, label="Low-pass")
    b_factor: float | None = option(None, help="B-factor applied to the map; negative values sharpen.", unit="Å^2", label="B-factor")
    model: str | None = option(None, help="Map or structure to compare the map with (correlation of 0.5). A structure is put with the mean of its atoms in the centre of the box.", metavar="MAP.mrc|STRUCTURE", label="Model")
    sigma: float | None = option(None, help="Gaussian width of an atom in the map of a model structure; default: 1.0 for atoms, that of its file for pseudoatoms.", unit="Å", gt=0, label="Atom width", advanced=True)

    @model_validator(mode="after")
    def _check(self) -> ReconstructOptions:
        if self.mask and self.auto_mask:
            raise ValueError("--mask and --auto-mask exclude each other; leave one of them out")
        return self
