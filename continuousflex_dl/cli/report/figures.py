"""The pictures of the report: matplotlib figures, each drawn without global state and returned as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...core.metrics import FAILURE_ANGLE_DEG, ParticleErrors
from ...core.space.density import point_density, spread_subset
from ...core.space.result import Space
from .content import ReportContent

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

BLUE, ORANGE = "#0072b2", "#d55e00"  # Okabe-Ito colours: safe for colour-blind eyes
GREY, SOFT, DARK = "#8a8f98", "#5b6470", "#1d2530"
_MAPS = "viridis"
_SCATTER_LIMIT = 5000  # more points than this are counted in hexagons
_DPI = 170
_STYLE: list[str | Path | dict[str, Any]] = [
    "default",
    {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 9,
        "axes.edgecolor": "#5b6470",
        "axes.labelcolor": DARK,
        "text.color": DARK,
        "xtick.color": "#3c4450",
        "ytick.color": "#3c4450",
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.constrained_layout.use": True,
    },
]


def _styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Draw in the style of the report whatever a user's matplotlibrc says; the global style is left as it was."""

    @wraps(draw)
    def styled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with style.context(_STYLE):
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Picture:
    """A PNG with its description for those who cannot see it.

    Attributes
    ----------
    png
        Bytes.
    alt
        What it shows, in a sentence.
    width
        Width in CSS pixels.
    markers
        (F, 2) places of the motion's frames as fractions of width and height from the top left, or None.
    """

    png: bytes
    alt: str
    width: int
    markers: list[list[float]] | None = None


@_styled
def conformational_space(content: ReportContent) -> Picture:
    """Particles along the first two axes (or the first), with their density."""
    space = content.space
    figure, axes = _figure(5.4, 4.7)
    axis = axes[0]
    used = space.coordinates if space.converged.sum() < 2 else space.coordinates[space.converged]
    if space.n_components == 1:
        _histogram(axis, used[:, 0], BLUE)
        axis.set_ylabel("particles")
    else:
        _plane(figure, axis, space, used)
        _true_positions(axis, content)
        axis.set_ylabel(_axis_label(space, 1))
    axis.set_xlabel(_axis_label(space, 0))
    along = "PC 1" if space.n_components == 1 else "PC 1 and PC 2"
    alt = f"Conformational space: {len(space.coordinates)} particles along {along}, coloured by density."
    picture = _picture(figure, alt)
    if content.path is None:
        return picture
    ends = content.path[:, :2]
    if space.n_components == 1:
        ends = np.column_stack([ends[:, 0], np.full(len(ends), np.mean(axis.get_ylim()))])
    width, height = figure.canvas.get_width_height()
    places = axis.transData.transform(ends) / [width, height]
    markers = np.round(np.column_stack([places[:, 0], 1 - places[:, 1]]), 4)
    return Picture(picture.png, picture.alt, picture.width, markers.tolist())


def _plane(figure: Figure, axis: Axes, space: Space, used: np.ndarray) -> None:
    points = used[:, :2]
    _focus(axis, points)
    if len(points) > _SCATTER_LIMIT:
        inside = _inside(axis, points)
        x, y = points[inside].T
        extent = (*axis.get_xlim(), *axis.get_ylim())
        columns = 75
        ratio = (extent[3] - extent[2]) / (extent[1] - extent[0])
        rows = max(1, round(columns * ratio / np.sqrt(3)))  # regular hexagons
        cells = axis.hexbin(
            x, y, gridsize=(columns, rows), extent=extent, bins="log", mincnt=1, cmap=_MAPS, linewidths=0.1
        )
        figure.colorbar(cells, ax=axis, label="particles per cell", shrink=0.8, pad=0.02)
    else:
        density = point_density(points)
        order = np.argsort(density) if density is not None else np.arange(len(points))
        shade = BLUE if density is None else density[order] / density.max()
        colours = None if density is None else _MAPS
        x, y = points[order].T
        dots = axis.scatter(x, y, c=shade, s=_dot_size(len(points)), cmap=colours, linewidths=0)
        if density is not None:
            figure.colorbar(dots, ax=axis, label="density of particles (1 = highest)", shrink=0.8, pad=0.02)
        left_out = space.coordinates[~space.converged, :2]
        if len(left_out) and space.converged.sum() >= 2:
            label = f"not converged ({len(left_out)})"
            axis.scatter(left_out[:, 0], left_out[:, 1], marker="x", s=14, c=GREY, linewidths=0.8, label=label)
            axis.legend(loc="best")
    outside = int((~_inside(axis, points)).sum())
    if outside:
        said = f"{outside} of {len(points)} particles lie outside this view"
        axis.set_title(said, fontweight="normal", fontsize=8, loc="right", color=SOFT)
    axis.set_aspect("equal", adjustable="datalim")


def _true_positions(axis: Axes, content: ReportContent) -> None:
    errors, space = content.errors, content.space
    numbers = [int(mode) for mode in space.modes]
    if errors is None or not all(number in errors.true_amplitudes for number in numbers):
        return
    true = space.transform(np.stack([errors.true_amplitudes[number] for number in numbers], axis=1))
    some = true[spread_subset(len(true), 400)]
    axis.scatter(some[:, 0], some[:, 1], s=3, c=ORANGE, linewidths=0, label="truth")
    legend = axis.legend(loc="best", markerscale=2.5)
    legend.set_zorder(5)


@_styled
def explained_variance(space: Space) -> Picture:
    """Variance along each axis, and which modes each axis is made of."""
    d, m = space.components.shape
    size = min(9.0, 4.4 + 0.55 * m), max(2.6, 1.6 + 0.3 * d)
    figure, (left, right) = _figure(*size, columns=2, widths=(2.2, max(1.6, 0.55 * m)))
    numbers = np.arange(1, d + 1)
    share = space.explained_variance_ratio
    left.bar(numbers, share, color=BLUE, width=0.65)
    if d > 1:
        left.plot(numbers, np.cumsum(share), color=ORANGE, marker="o", markersize=4, label="cumulative")
        left.legend(loc="center right")
    for number, value in zip(numbers[:6], share[:6], strict=True):
        inside = value > 0.12
        place: dict[str, Any] = {
            "ha": "center",
            "va": "center" if inside else "bottom",
            "color": "white" if inside else DARK,
        }
        left.annotate(f"{100 * value:.1f} %", (number, value / 2 if inside else value + 0.01), fontsize=8, **place)
    left.set(xlabel="principal component", ylim=(0, 1.05), xlim=(0.4, d + 0.6), title="Explained variance")
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set_xticks(numbers if d <= 12 else numbers[:: -(-d // 12)])
    image = right.imshow(space.components, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    right.set_xticks(range(m), [str(mode) for mode in space.modes])
    right.set_yticks(range(d), [f"PC {number}" for number in numbers])
    right.set(xlabel="normal mode", title="Share of each mode in an axis")
    if d * m <= 60:
        for (row, column), value in np.ndenumerate(space.components):
            colour = "white" if abs(value) > 0.65 else DARK
            right.text(column, row, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=right, pad=0.03, label="loading")
    listed = ", ".join(f"PC {number}: {100 * value:.1f} %" for number, value in zip(numbers, share, strict=True))
    return _picture(figure, f"Explained variance ({listed}) and the loading of every mode on every axis.")


@_styled
def amplitude_histograms(content: ReportContent) -> Picture:
    """Amplitudes of each mode, with the RMSD that they mean."""
    numbers, values = content.space.modes, content.amplitudes
    columns = min(4, len(numbers))
    rows = -(-len(numbers) // columns)
    figure, axes = _figure(_width(columns, 3.4), 2.5 * rows, columns=columns, rows=rows)
    for axis, number, amplitude in zip(axes, numbers, values.T, strict=False):
        _histogram(axis, amplitude, BLUE)
        axis.set_xlabel(f"amplitude of mode {number} (Å)")
        if content.n_atoms:
            root = np.sqrt(content.n_atoms)
            top = axis.secondary_xaxis("top", functions=(partial(np.multiply, 1 / root), partial(np.multiply, root)))
            top.set_xlabel("signed RMSD (Å)", fontsize=8)
            top.tick_params(labelsize=7)
    for axis in axes[len(numbers) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("particles")
    each = zip(numbers, values.T, strict=True)
    ranges = "; ".join(f"mode {number} {a.mean():.0f} ± {a.std():.0f} Å" for number, a in each)
    return _picture(figure, f"Histograms of the amplitudes (mean ± standard deviation): {ranges}.")


@_styled
def amplitude_pairs(content: ReportContent) -> Picture:
    """Amplitudes of every pair of the (at most four) modes that vary most."""
    chosen = np.sort(np.argsort(-content.amplitudes.std(axis=0), kind="stable")[:4])
    pairs = [(a, b) for i, a in enumerate(chosen) for b in chosen[i + 1 :]]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, axes = _figure(_width(columns, 3.5), 3.0 * rows, columns=columns, rows=rows)
    numbers = content.space.modes
    for axis, (a, b) in zip(axes, pairs, strict=False):
        _cloud(axis, content.amplitudes[:, [a, b]])
        axis.set(xlabel=f"mode {numbers[a]} (Å)", ylabel=f"mode {numbers[b]} (Å)")
    for axis in axes[len(pairs) :]:
        axis.set_visible(False)
    listed = ", ".join(str(numbers[i]) for i in chosen)
    return _picture(figure, f"Amplitudes of modes {listed} against each other, coloured by density.")


@_styled
def quality(content: ReportContent) -> Picture | None:
    """Scores and the errors that the estimation itself predicts."""
    panels: list[tuple[str, Any]] = []
    if content.score is not None and np.isfinite(content.score).any():
        panels.append(("score (normalised correlation, 1 = perfect)", content.score))
    stds = sorted(content.amplitude_std.items())
    panels += [(f"predicted error of mode {mode} (Å)", values) for mode, values in stds]
    panels += [
        (label, values)
        for label, values in (
            ("predicted angular error (degrees)", content.angle_std_deg),
            ("predicted shift error (Å)", content.shift_std_angst),
        )
        if values is not None
    ]
    panels = [(label, values) for label, values in panels if np.isfinite(values).any()]
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _figure(_width(columns, 3.5), 2.3 * rows, columns=columns, rows=rows)
    converged = content.space.converged
    for axis, (label, values) in zip(axes, panels, strict=False):
        known = np.isfinite(values)
        _stacked(axis, values[known & converged], values[known & ~converged])
        axis.set_xlabel(label)
        axis.axvline(np.median(values[known]), color=DARK, linewidth=1, linestyle=":")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("particles")
    if not converged.all():
        axes[0].legend(loc="best")
    medians = "; ".join(f"{label}: median {np.nanmedian(values):.3g}" for label, values in panels)
    return _picture(figure, f"Histograms of {medians}. Dotted lines are medians.")


@_styled
def amplitude_errors(errors: ParticleErrors) -> Picture | None:
    """Estimated against true amplitudes, and the histogram of the errors, for each mode."""
    numbers = sorted(errors.amplitudes)[:8]
    if not numbers:
        return None
    columns = len(numbers) if len(numbers) <= 4 else 4
    blocks = -(-len(numbers) // columns)
    figure, axes = _figure(_width(columns, 3.5), 5.0 * blocks, columns=columns, rows=2 * blocks)
    grid = np.array(axes).reshape(2 * blocks, columns)
    for position in range(blocks * columns):
        block, column = divmod(position, columns)
        upper, lower = grid[2 * block : 2 * block + 2, column]
        if position >= len(numbers):
            upper.set_visible(False)
            lower.set_visible(False)
            continue
        number = numbers[position]
        true, error = errors.true_amplitudes[number], errors.amplitudes[number]
        estimated = errors.predicted_amplitudes[number]
        _cloud(upper, np.column_stack([true, estimated]))
        ends = [true.min(), true.max()]
        upper.plot(ends, ends, color=ORANGE, linewidth=1.2)
        upper.set(xlabel=f"true amplitude, mode {number} (Å)", ylabel="estimated (Å)" if column == 0 else "")
        _histogram(lower, error, BLUE, tail=1.5)
        lower.axvline(0, color=ORANGE, linewidth=1.2)
        lower.set(xlabel="estimated − true (Å)", ylabel="particles" if column == 0 else "")
        lower.set_title(f"mean |error| {np.abs(error).mean():.1f} Å", fontweight="normal", fontsize=8.5)
    listed = "; ".join(f"mode {number}: {np.abs(errors.amplitudes[number]).mean():.1f} Å" for number in numbers)
    what = "Estimated against true amplitudes with the identity line, and histograms of the errors"
    return _picture(figure, f"{what}. Mean absolute errors: {listed}.")


@_styled
def pose_errors(errors: ParticleErrors) -> Picture | None:
    """Errors of orientations, shifts and structures."""
    panels: list[tuple[str, np.ndarray, float | None]] = []
    if errors.axis_deg is not None and errors.rotation_deg is not None:
        panels.append(("rotation error (degrees)", errors.rotation_deg, FAILURE_ANGLE_DEG))
    if errors.shift_angst is not None:
        panels.append(("shift error, length (Å)", np.linalg.norm(errors.shift_angst, axis=1), None))
    labels = {"amplitudes": "RMSD, amplitudes only (Å)", "structures": "RMSD of structures (Å)"}
    panels += [(labels[kind], values, None) for kind, values in errors.rmsd.items() if kind in labels]
    panels = [panel for panel in panels if (panel[1] > 0).any()]
    if not panels:
        return None
    figure, axes = _figure(_width(len(panels), 3.5), 2.5, columns=len(panels))
    for axis, (label, values, limit) in zip(axes, panels, strict=True):
        positive = values[values > 0]
        low, high = np.percentile(positive, 0.1), positive.max()
        axis.hist(np.maximum(values, low), bins=np.geomspace(low, max(high, 1.01 * low), 50), color=BLUE)
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(f"median {np.median(values):.2g}, mean {values.mean():.2g}", fontweight="normal", fontsize=8.5)
        if limit is not None and values.max() > limit / 2:
            axis.axvline(limit, color=ORANGE, linewidth=1.2, linestyle="--")
            wrong = int((values > limit).sum())
            place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
            axis.annotate(f"{wrong} wrong", (limit, 1), (3, -3), color=ORANGE, fontsize=8, **place)
    axes[0].set_ylabel("particles")
    listed = "; ".join(f"{label}: median {np.median(values):.3g}" for label, values, _ in panels)
    return _picture(figure, f"Histograms of errors on a logarithmic scale. {listed}.")


@_styled
def along_frames(content: ReportContent, correlation: float | None) -> Picture | None:
    """First axis against the true frame of an ensemble."""
    if content.errors is None or content.errors.frame is None:
        return None
    figure, axes = _figure(5.2, 3.4)
    points = np.column_stack([content.errors.frame, content.space.coordinates[:, 0]])
    _cloud(axes[0], points)
    said = "" if correlation is None else f"rank correlation {correlation:.3f}"
    axes[0].set(xlabel="true frame of the ensemble", ylabel="PC 1 (Å)", title=said)
    return _picture(figure, f"PC 1 of every particle against its true frame in the ensemble; {said}.")


# ---------------------------------------------------------------- building blocks


def _figure(
    width: float, height: float, *, columns: int = 1, rows: int = 1, widths: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.tick_params(length=3)
    return figure, list(axes.flat)


def _width(columns: int, each: float) -> float:
    """Width of a row of panels in inches; a page is 11 wide, a single panel stands a bit wider."""
    return min(11.0, each * columns) if columns > 1 else each + 1.0


def _picture(figure: Figure, alt: str) -> Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return Picture(stream.getvalue(), alt, round(figure.get_figwidth() * 96))


def _axis_label(space: Space, axis: int) -> str:
    return f"PC {axis + 1} (Å), {100 * space.explained_variance_ratio[axis]:.1f} % of the variance"


def _histogram(axis: Axes, values: np.ndarray, colour: str, tail: float = 0.3) -> None:
    """Histogram of the bulk; `tail` percent at either end may lie outside where they would squeeze it."""
    low, high = np.percentile(values, [tail, 100 - tail])
    margin = 0.25 * (high - low) or 1.0
    ends = max(low - margin, values.min()), min(high + margin, values.max())
    ends = ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[1] + 0.5)
    axis.hist(values, bins=_bins(len(values)), range=ends, color=colour)
    outside = int(((values < ends[0]) | (values > ends[1])).sum())
    if outside:
        paper: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
        place: dict[str, Any] = {"transform": axis.transAxes, "ha": "right", "va": "top"}
        axis.text(0.99, 0.98, f"+ {outside} outside", color=SOFT, fontsize=7.5, bbox=paper, **place)


def _stacked(axis: Axes, converged: np.ndarray, others: np.ndarray) -> None:
    low, high = np.percentile(np.concatenate([converged, others]), [0.2, 99.8])
    margin = 0.03 * (high - low) or 0.01 * abs(high) or 1.0
    clipped = [np.clip(values, low - margin, high + margin) for values in (converged, others)]
    axis.hist(
        clipped,
        bins=_bins(len(converged) + len(others)),
        range=(low - margin, high + margin),
        stacked=True,
        color=[BLUE, GREY],
        label=["converged", "not converged"],
    )


def _bins(n: int) -> int:
    return int(np.clip(2.0 * n ** (1 / 3), 10, 60))


def _cloud(axis: Axes, points: np.ndarray) -> None:
    """Two-dimensional cloud, coloured by density, focused on the bulk."""
    _focus(axis, points)
    if len(points) > _SCATTER_LIMIT:
        inside = points[_inside(axis, points)]
        axis.hexbin(*inside.T, gridsize=50, bins="log", mincnt=1, cmap=_MAPS, linewidths=0.1)
        return
    density = point_density(points, limit=1500)
    order = np.argsort(density) if density is not None else np.arange(len(points))
    colours = {"c": density[order], "cmap": _MAPS} if density is not None else {"c": BLUE}
    axis.scatter(*points[order].T, s=_dot_size(len(points)) * 0.7, linewidths=0, **colours)


def _focus(axis: Axes, points: np.ndarray) -> None:
    """Set the limits to the bulk of the points: a few failed particles must not squeeze the rest into a dot."""
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    margin = 0.25 * (high - low)
    margin[margin == 0] = 1.0
    low = np.maximum(low - margin, points.min(axis=0) - 0.1 * margin)
    high = np.minimum(high + margin, points.max(axis=0) + 0.1 * margin)
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])


def _inside(axis: Axes, points: np.ndarray) -> np.ndarray:
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    return (points[:, 0] >= left) & (points[:, 0] <= right) & (points[:, 1] >= bottom) & (points[:, 1] <= top)


def _dot_size(n: int) -> float:
    return float(np.clip(16000 / n, 5, 30))
