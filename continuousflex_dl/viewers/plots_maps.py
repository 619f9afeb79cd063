"""Figures of maps: central slices, Fourier shell correlations; arrays in, Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .plots import PALETTE

Floats = NDArray[np.floating]


def map_and_model(values: Floats, model: Floats, model_name: str = "pseudoatoms") -> Figure:
    """Central slices of a map, of its model and of what is left.

    Parameters
    ----------
    values, model
        (nz, ny, nx).
    model_name
        Title of its column.

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
        for column, (cut, title) in enumerate(zip(cuts, ("map", model_name, "difference"), strict=True)):
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


def correlations(frequency: Floats, values: Mapping[str, Floats]) -> Figure:
    """Fourier shell correlations.

    Parameters
    ----------
    frequency
        (S,) 1/Å.
    values
        Name -> (S,).
    """
    figure = Figure(figsize=(6.2, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, curve) in zip(PALETTE, values.items(), strict=False):
        axes.plot(frequency, curve, color=color, label=name.replace("_", " "))
    for threshold in (0.143, 0.5):
        axes.axhline(threshold, color="#b8c4cc", linewidth=1, linestyle="--")
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xlim(0, float(frequency[-1]))
    axes.set_ylim(min(-0.1, *(float(np.min(curve)) for curve in values.values())), 1.02)
    ticks = [tick for tick in axes.get_xticks() if 0 < tick <= frequency[-1]]
    axes.set_xticks(ticks, [f"{1 / tick:.2g}" for tick in ticks])
    axes.set_xlabel("resolution (Å)")
    axes.set_ylabel("Fourier shell correlation")
    axes.legend(frameon=False)
    return figure


def slices(images: Sequence[Floats], pixel_size: float) -> Figure:
    """Slices through a map, perpendicular to z, y and x; pixel size in Å."""
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    low = min(float(np.percentile(image, 1)) for image in images)
    high = max(float(np.percentile(image, 99.9)) for image in images)
    for number, (image, across) in enumerate(zip(images, (("x", "y"), ("x", "z"), ("y", "z")), strict=True), start=1):
        axes = figure.add_subplot(1, 3, number)
        half = [size * pixel_size / 2 for size in image.shape]
        extent = (-half[1], half[1], -half[0], half[0])
        axes.imshow(image, cmap="gray", origin="lower", vmin=low, vmax=high, extent=extent)
        axes.set_xlabel(f"{across[0]} (Å)")
        axes.set_ylabel(f"{across[1]} (Å)")
    return figure
