"""Figures of trainings: loss curves, predictions against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .plots import PALETTE

Floats = NDArray[np.floating]


def loss_curves(columns: Mapping[str, Floats]) -> Figure:
    """Figures of training and validation against the steps.

    Parameters
    ----------
    columns
        Of ``loss.csv``: ``step``, then figures; those whose names begin with ``train_`` are of training. A figure that
        exists of both is drawn in one panel.
    """
    kinds = [name for name in columns if name not in ("step", "learning_rate") and not name.startswith("train_")]
    others = [
        name
        for name in columns
        if name.startswith("train_") and name.removeprefix("train_") not in (*kinds, "gradient")
    ]
    panels = [*kinds, *others]
    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(10.0, 2.8 * rows), layout="constrained")
    for number, name in enumerate(panels):
        axes = figure.add_subplot(rows, min(3, len(panels)), number + 1)
        pair = (("training", f"train_{name}"), ("validation", name)) if name in kinds else (("training", name),)
        for color, (label, column) in zip(PALETTE, pair, strict=False):
            if column in columns:
                axes.plot(columns["step"], columns[column], marker=".", label=label, color=color)
        axes.set_title(name.removeprefix("train_").replace("_", " "), fontsize=9)
        axes.set_xlabel("step")
        if not number:
            axes.legend(frameon=False)
    return figure


def predictions(labels: Sequence[Floats], predicted: Sequence[Floats], names: Sequence[str]) -> Figure:
    """Predicted values against labels, a panel each, with the line on which they agree.

    Parameters
    ----------
    labels, predicted
        (n,) for each panel.
    names
        Of the panels, with the unit.
    """
    figure = Figure(figsize=(3.2 * len(names), 3.4), layout="constrained")
    for number, (label, value, name) in enumerate(zip(labels, predicted, names, strict=True)):
        axes = figure.add_subplot(1, len(names), number + 1)
        axes.scatter(label, value, s=8, alpha=0.5, color=PALETTE[0], linewidths=0)
        low, high = float(min(label.min(), value.min())), float(max(label.max(), value.max()))
        axes.plot([low, high], [low, high], color=PALETTE[1], linewidth=1)
        axes.set_title(f"{name}: mean error {np.abs(value - label).mean():.3g}", fontsize=9)
        axes.set_xlabel("label")
        if not number:
            axes.set_ylabel("prediction")
    return figure
