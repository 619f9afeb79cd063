"""Options of ``cflex nma``."""

from __future__ import annotations

from typing import Literal

from .base import CommonOptions, option


class NmaOptions(CommonOptions):
    """Normal modes of an atomic or pseudoatomic structure."""

    structure: str = option(help="Atomic or pseudoatomic structure (PDB or mmCIF, .gz too).", positional=True, metavar="STRUCTURE", label="Input structure")
    n_modes: int = option(20, help="Number of modes to compute, the six rigid-body ones counted; modes 7 to this number are stored.", ge=7, le=1000, label="Number of modes")
    cutoff: float = option(8.0, help="Interaction cutoff of the elastic network.", unit="Å", gt=0, label="Cutoff distance")
    cutoff_percentile: float | None = option(
        None,
        help="Take the cutoff from this percentile of the distances to the three nearest neighbours instead; raised until the network is connected. Suits pseudoatoms.",
        unit="%", gt=0, le=100, label="Cutoff percentile", advanced=True,
    )
    block_size: int = option(10, help="Residues per rigid block (rotation-translation blocks); 0 for no blocks.", ge=0, unit="residues", label="Block size", advanced=True)
    representation: Literal["all-atom", "ca-p"] = option("all-atom", help="All heavy atoms, or one node per residue (CA of proteins, P of nucleic acids).", label="Representation")
    collectivity_threshold: float = option(0.15, help="Modes below this collectivity are marked as not recommended.", ge=0, le=1, label="Collectivity threshold", advanced=True)
    target: str | None = option(
        None, help="Another conformation of the molecule (PDB or mmCIF): a table says how well each mode, and the modes together, describe the way there.",
        metavar="STRUCTURE", label="Target structure",
    )
    model: int = option(1, help="Model number to take from a file with several models.", ge=1, label="Model", advanced=True)
    sigma: float | None = option(
        None, help="Gaussian width of one (pseudo)atom in projections; default 1.0 for atoms, from the file for pseudoatoms, 3.0 for one node per residue.",
        unit="Å", gt=0, label="Atom width", advanced=True,
    )
