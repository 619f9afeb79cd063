"""Figures of how modes compare with a second structure and with B factors; arrays in, matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .plots import PALETTE

Floats = NDArray[np.floating]
_STRONG, _PALE, _LINE = "#2a6f97", "#b8c4cc", "#9b2226"


def overlap_bars(numbers: Floats, overlap: Floats, cumulative: Floats, rmsd_left: Floats) -> Figure:
    """Overlap of each mode (M,) with the way to a target, and what the modes reach together.

    Parameters
    ----------
    numbers
        Mode numbers.
    overlap, cumulative
        0 to 1.
    rmsd_left
        Å, that the first modes leave.
    """
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(numbers))
    axes.bar(places, overlap, color=_STRONG, label="overlap")
    axes.plot(places, cumulative, color=_LINE, marker=".", label="cumulative")
    axes.set_xticks(places, [str(int(number)) for number in numbers])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("mode")
    axes.set_ylabel("overlap with the target")
    axes.legend(loc="center right")
    axes.set_title(f"all modes leave an RMSD of {rmsd_left[-1]:.2f} Å")
    return figure


def fluctuation_profile(predicted: Floats, in_file: Floats) -> Figure:
    """Predicted and measured B factors (N,) in Å^2 along the chain; NaN where there is nothing to compare with."""
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    nodes = np.arange(1, len(predicted) + 1)
    axes.plot(nodes, in_file, color=_PALE, linewidth=1, label="in the file")
    axes.plot(nodes, predicted, color=_STRONG, linewidth=1, label="from the modes")
    axes.set_xlim(1, max(2, len(nodes)))
    axes.set_ylim(0, 1.5 * max(float(np.percentile(np.concatenate([predicted, in_file]), 99)), 1e-6))
    axes.set_xlabel("atom, in file order")
    axes.set_ylabel("B factor (Å²)")
    axes.legend()
    axes.set_title(f"correlation {np.corrcoef(predicted, in_file)[0, 1]:.2f}")
    return figure


def residue_profile(vector: Floats, residues: Sequence[tuple[str, str]], number: int) -> Figure:
    """Root mean square displacement of every residue in a mode, chains apart.

    Parameters
    ----------
    vector
        (N, 3), unit norm over 3N.
    residues
        Chain and residue number of every atom (N); atoms of a residue follow one another.
    number
        Mode number.
    """
    begins = [place for place, one in enumerate(residues) if not place or one != residues[place - 1]]
    square = np.add.reduceat((np.asarray(vector, dtype=float) ** 2).sum(axis=1), begins)
    lengths = np.sqrt(square / np.diff([*begins, len(residues)]))
    chains = [residues[place][0] for place in begins]
    breaks = [place for place in range(1, len(chains)) if chains[place] != chains[place - 1]]
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for first, last in zip([0, *breaks], [*breaks, len(chains)], strict=True):
        axes.plot(
            np.arange(first, last) + 1, lengths[first:last] / max(lengths.max(), 1e-30), color=_STRONG, linewidth=1
        )
        if breaks:
            axes.text((first + last) / 2, 1.07, chains[first], ha="center", fontsize=8)
    for place in breaks:
        axes.axvline(place + 0.5, color=_PALE, linewidth=0.8)
    axes.set_xlim(0.5, len(chains) + 0.5)
    axes.set_ylim(0, 1.15 if breaks else 1.05)
    axes.set_xlabel("residue, in file order")
    axes.set_ylabel("displacement / largest")
    axes.set_title(f"mode {number}")
    return figure


def contributions(numbers: Floats, amplitudes: Floats, errors: Floats, gain: Floats) -> Figure:
    """Amplitudes (M,) in Å of a fit with one-sigma errors, and what the correlation loses without each mode.

    Parameters
    ----------
    numbers
        Mode numbers.
    amplitudes, errors
        Å.
    gain
        Correlation lost when a mode is held at rest.
    """
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(numbers))
    above.bar(places, amplitudes, yerr=errors, color=_STRONG, error_kw={"ecolor": _LINE, "capsize": 3})
    above.axhline(0, color="black", linewidth=0.6)
    above.set_ylabel("amplitude (Å)")
    below.bar(places, gain, color=_STRONG)
    below.axhline(0, color="black", linewidth=0.6)
    below.set_ylabel("correlation lost without it")
    below.set_xticks(places, [str(int(number)) for number in numbers])
    below.set_xlabel("mode")
    return figure


def courses(values: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    """Amplitudes over a set of maps: name -> values (n,) and one-sigma errors (n,), Å."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, (amplitudes, errors)) in zip(cycle(PALETTE), values.items(), strict=False):
        maps = np.arange(1, len(amplitudes) + 1)
        axes.errorbar(maps, amplitudes, errors, color=color, marker=".", linewidth=1, capsize=2, label=name)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(maps if len(maps) <= 20 else maps[:: len(maps) // 10])
    axes.set_xlabel("map")
    axes.set_ylabel("amplitude (Å)")
    axes.legend(frameon=False, ncols=2)
    return figure


def evidence_bars(
    numbers: Floats, gain: Floats, errors: Floats, supported: Floats, collectivity: Floats, overlap: Floats | None
) -> Figure:
    """What images say of modes (M,), beside their collectivity and, with a target, their overlap.

    Parameters
    ----------
    numbers
        Mode numbers.
    gain, errors
        Log-likelihood gained by an image, and its standard error.
    supported
        1 for modes that the images ask for, drawn darker.
    collectivity, overlap
        0 to 1; no overlap without a target.
    """
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    places = np.arange(len(numbers))
    colors = [_STRONG if value else _PALE for value in supported]
    above.bar(places, gain, yerr=errors, color=colors, error_kw={"ecolor": _LINE, "capsize": 3})
    above.axhline(0, color="black", linewidth=0.6)
    above.set_ylabel("log-likelihood gained per image")
    above.set_title("dark: the images ask for the mode")
    shift, width = (0.2, 0.4) if overlap is not None else (0.0, 0.7)
    below.bar(places - shift, collectivity, width, color=_PALE, label="collectivity")
    if overlap is not None:
        below.bar(places + shift, overlap, width, color=_LINE, label="overlap with the target")
    below.set_ylim(0, 1)
    below.legend()
    below.set_xticks(places, [str(int(number)) for number in numbers])
    below.set_xlabel("mode")
    return figure
