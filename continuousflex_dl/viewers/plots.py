"""Figures of modes, amplitudes and spaces: arrays in, matplotlib Figure out; nothing is shown and nothing is global."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.floating]
PALETTE = (  # Okabe-Ito first: safe for colour-blind eyes
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#4d4d4d", "#7b3294", "#b2182b",
)  # fmt: skip
MAX_POINTS = 100_000  # more points take a window minutes to draw
_SELECTED, _LEFT_OUT = "#2a6f97", "#b8c4cc"


def mode_bars(
    numbers: Sequence[int], values: Floats, enabled: Sequence[bool], label: str, *, threshold: float | None = None
) -> Figure:
    """Bars of a quantity per mode; disabled modes are pale.

    Parameters
    ----------
    numbers
        Mode numbers (M).
    values
        Collectivity, eigenvalue or score (M,).
    enabled
        Whether a mode is recommended (M).
    label
        Of the vertical axis.
    threshold
        Drawn as a line.
    """
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    colors = [_SELECTED if flag else _LEFT_OUT for flag in enabled]
    axes.bar([str(number) for number in numbers], values, color=colors)
    if threshold is not None:
        axes.axhline(threshold, color="#9b2226", linewidth=1, linestyle="--")
    axes.set_xlabel("mode")
    axes.set_ylabel(label)
    axes.margins(x=0.01)
    return figure


def displacement_profile(vector: Floats, number: int) -> Figure:
    """Length of the displacement of every atom in a mode.

    Parameters
    ----------
    vector
        (N, 3), unit norm over 3N.
    number
        Mode number.
    """
    lengths = np.linalg.norm(np.asarray(vector, dtype=float), axis=1)
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(lengths) + 1), lengths / max(lengths.max(), 1e-30), color=_SELECTED, linewidth=1)
    axes.set_xlim(1, max(2, len(lengths)))
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("atom, in file order")
    axes.set_ylabel("displacement / largest")
    axes.set_title(f"mode {number}")
    return figure


def histogram(values: Floats, name: str, unit: str = "Å") -> Figure:
    """Histogram of one quantity, with mean and standard deviation in the title; NaN is left out."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(finite, bins=max(5, min(80, int(np.sqrt(len(finite))) * 2)), color=_SELECTED)
    axes.set_xlabel(f"{name} ({unit})" if unit else name)
    axes.set_ylabel("particles")
    if len(finite):
        axes.set_title(f"mean {finite.mean():.4g}, std {finite.std():.4g}")
    return figure


def scatter(
    values: Floats,
    names: Sequence[str],
    *,
    color: Floats | None = None,
    color_label: str = "score",
    converged: NDArray[np.bool_] | None = None,
    unit: str = "Å",
) -> Figure:
    """Particles in one, two or three dimensions.

    Parameters
    ----------
    values
        (n, d) with d of 1, 2 or 3; one dimension is drawn against the particle number.
    names
        Of the columns.
    color
        (n,), for example the score; particles without one are grey.
    color_label
        Of the colour bar.
    converged
        (n,); the others are drawn as crosses.
    unit
        Of the axes.

    Raises
    ------
    ValueError
        For another number of columns.
    """
    points = np.asarray(values, dtype=float)
    if points.ndim != 2 or points.shape[1] not in (1, 2, 3) or len(names) != points.shape[1]:
        raise ValueError(
            f"found values of shape {points.shape} with {len(names)} names, expected (n, 1), (n, 2) or (n, 3)"
        )
    kept = _thinned(len(points))
    points = points[kept]
    shades = None if color is None or not np.isfinite(color).any() else np.asarray(color, dtype=float)[kept]
    fine = np.ones(len(points), dtype=bool) if converged is None else np.asarray(converged, dtype=bool)[kept]
    labels = [f"{name} ({unit})" if unit else name for name in names]
    columns = list(points.T)
    if len(columns) == 1:
        columns, labels = [kept + 1.0, *columns], ["particle", *labels]
    figure = Figure(figsize=(6.2, 5.2), layout="constrained")
    axes = figure.add_subplot(projection="3d") if len(columns) == 3 else figure.add_subplot()
    drawn = None
    for mask, marker in ((fine, "o"), (~fine, "x")):
        if not mask.any():
            continue
        settings: dict = {"s": 10, "marker": marker, "alpha": 0.8}
        if shades is None:
            settings["color"] = _SELECTED if marker == "o" else _LEFT_OUT
        else:
            finite = shades[np.isfinite(shades)]
            settings.update(c=shades[mask], cmap="viridis", vmin=finite.min(), vmax=finite.max(), plotnonfinite=True)
        drawn = axes.scatter(*(column[mask] for column in columns), **settings)
    for setter, label in zip(("set_xlabel", "set_ylabel", "set_zlabel"), labels, strict=False):
        getattr(axes, setter)(label)
    if shades is not None and drawn is not None:
        figure.colorbar(drawn, ax=axes, label=color_label, shrink=0.8)
    title = f"{len(points)} particles" if len(kept) == len(values) else f"{len(points)} of {len(values)} particles"
    axes.set_title(title + ("" if fine.all() else f", {int((~fine).sum())} not converged (x)"))
    return figure


def free_energy(
    grid: Sequence[Floats], energy: Floats, std: Floats, minima: Floats, path: Floats, names: Sequence[str]
) -> Figure:
    """Free energy along one axis (with its errors) or two, in kT.

    Parameters
    ----------
    grid
        Places along each axis.
    energy, std
        In the shape of the grid; NaN where not known.
    minima
        (K, d) basins.
    path
        (k, d), drawn in two dimensions.
    names
        Of the axes.
    """
    figure = Figure(figsize=(6.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(names[0])
    if len(grid) == 1:
        axes.plot(grid[0], energy, color=_SELECTED)
        axes.fill_between(grid[0], energy - std, energy + std, color=_SELECTED, alpha=0.3, linewidth=0)
        axes.set_ylabel("free energy (kT)")
        return figure
    top = float(np.clip(np.nanmax(energy), 1.0, 6.0))
    levels = np.linspace(0, top, 13)
    drawn = axes.contourf(*grid, np.minimum(energy, top).T, levels=levels, cmap="viridis_r", extend="max")
    figure.colorbar(drawn, ax=axes, label="free energy (kT)", shrink=0.85)
    if len(path):
        axes.plot(path[:, 0], path[:, 1], color=PALETTE[1], linewidth=1.6)
    for number, place in enumerate(minima, start=1):
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "black"}
        axes.annotate(str(number), place, ha="center", va="center", fontsize=8, bbox=box)
    axes.set_ylabel(names[1])
    return figure


def grouped(values: Floats, names: Sequence[str], labels: NDArray[np.integer], groups: Sequence[str]) -> Figure:
    """Particles in one or two dimensions, coloured by group.

    Parameters
    ----------
    values
        (n, 1) or (n, 2); one dimension is drawn against the particle number.
    names
        Of the axes.
    labels
        (n,) group from 1, 0 for none.
    groups
        Names of the groups.
    """
    kept = _thinned(len(values))
    columns, titles = [column[kept] for column in np.asarray(values, dtype=float).T], list(names)
    if len(columns) == 1:
        columns, titles = [kept + 1.0, *columns], ["particle", *titles]
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    for number, name in enumerate(["none", *groups]):
        mask = labels[kept] == number
        if mask.any():
            color = _LEFT_OUT if number == 0 else PALETTE[(number - 1) % len(PALETTE)]
            axes.scatter(columns[0][mask], columns[1][mask], s=8, color=color, label=f"{name} ({mask.sum()})")
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    figure.legend(loc="outside right upper", frameon=False, markerscale=1.5)
    return figure


def _thinned(count: int) -> NDArray[np.int64]:
    """Rows to draw: all, or evenly spaced ones where there are too many."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.linspace(0, count - 1, MAX_POINTS).astype(np.int64)
