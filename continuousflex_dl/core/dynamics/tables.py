"""Tables about modes as text files (CSV with a header line), one row per mode or per node."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence

import numpy as np

from ..io.atomic import atomic_text
from ..structure.atoms import Structure
from .fluctuation import Fluctuations
from .transition import Transition

FLUCTUATIONS_NAME, OVERLAP_NAME = "fluctuations.csv", "overlap.csv"


def write_overlap(path: str | os.PathLike[str], found: Transition) -> None:
    """Write overlap, cumulative overlap, amplitude and remaining RMSD per mode."""
    rows = zip(found.indices, found.overlap, found.cumulative, found.amplitudes, found.rmsd_left, strict=True)
    header = ("mode", "overlap", "cumulative_overlap", "amplitude_angst", "rmsd_left_angst")
    _write(path, header, ((int(number), *(f"{value:.6g}" for value in values)) for number, *values in rows))


def write_fluctuations(path: str | os.PathLike[str], structure: Structure, found: Fluctuations) -> None:
    """Write mean-square fluctuation, predicted and measured B factor per node."""
    header = ("node", "chain", "residue", "residue_name", "atom", "mean_square", "b_predicted", "b_in_file")
    names = (structure.chain, structure.residue_number, structure.residue_name, structure.atom_name)
    predicted = ("" if np.isnan(value) else f"{value:.4f}" for value in found.b_factor)
    rows = zip(*(values.tolist() for values in names), found.mean_square, predicted, structure.b_factor, strict=True)
    _write(
        path,
        header,
        (
            (position, chain, residue, name, atom, f"{value:.6g}", b_factor, f"{in_file:.2f}")
            for position, (chain, residue, name, atom, value, b_factor, in_file) in enumerate(rows, start=1)
        ),
    )


def _write(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic_text(path, text.getvalue())
