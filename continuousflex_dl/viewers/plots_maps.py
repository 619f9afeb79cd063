"""Figures of maps: central slices of a map and of its model, Fourier shell correlation; arrays in, Figure out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def map_and_model(values: Floats, model: Floats) -> Figure:
    """Central slices of a map, of its model and of what is left.

    Parameters
    ----------
    values, model
        (nz, ny, nx).

    Raises
    ------
    ValueError
        If they differ in size.
    """
    if values.shape != model.shape or values.ndim != 3:
        raise ValueError(f"found a map of shape {values.shape} and a model of shape {model.shape}, expected one shape")
    figure = Figure(figsize=(8.4, 8.4), layout="constrained")
    axes = figure.subplots(3, 3)
    high = max(float(np.percentile(model[model > 0.01 * model.max()], 99.5)), 1e-30) if model.max() > 0 else 1.0
    for row, across in enumerate("zyx"):
        cuts = [np.take(volume, volume.shape[row] // 2, axis=row) for volume in (values, model, values - model)]
        for column, (cut, title) in enumerate(zip(cuts, ("map", "pseudoatoms", "difference"), strict=True)):
            panel = axes[row, column]
            if column < 2:
                panel.imshow(cut, cmap="gray", vmin=-high / 4, vmax=high, origin="lower")
            else:
                panel.imshow(cut, cmap="RdBu", vmin=-high / 2, vmax=high / 2, origin="lower")
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                panel.set_title(title)
        axes[row, 0].set_ylabel(f"across {across}")
    return figure


def shell_correlation(frequency: Floats, correlation: Floats, threshold: float = 0.5) -> Figure:
    """Fourier shell correlation (S,) over frequency in 1/Å."""
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(frequency, correlation, color="#2a6f97")
    axes.axhline(threshold, color="#9b2226", linewidth=1, linestyle="--")
    axes.set_ylim(min(0.0, float(np.min(correlation))), 1.02)
    axes.set_xlim(0, float(frequency[-1]))
    axes.set_xlabel("frequency (1/Å)")
    axes.set_ylabel("Fourier shell correlation")
    return figure
