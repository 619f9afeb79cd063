"""The pictures of the report, returned as PNG bytes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ...core.metrics import FAILURE_ANGLE_DEG, ParticleErrors
from ...core.space.density import point_density, spread_subset
from ...core.space.result import Space
from .content import ReportContent
from .drawing import (
    BLUE,
    DARK,
    GREY,
    MAPS,
    ORANGE,
    SCATTER_LIMIT,
    SOFT,
    Picture,
    axis_label,
    cloud,
    dot_size,
    finished,
    focus,
    histogram,
    inside_view,
    new_figure,
    row_width,
    stacked_histogram,
    styled,
)  # fmt: skip


@styled
def conformational_space(content: ReportContent) -> Picture:
    """Particles along the first two axes (or the first), with their density."""
    space = content.space
    figure, axes = new_figure(5.4, 4.7)
    axis = axes[0]
    used = space.coordinates if space.converged.sum() < 2 else space.coordinates[space.converged]
    if space.n_components == 1:
        histogram(axis, used[:, 0], BLUE)
        axis.set_ylabel("particles")
    else:
        _plane(figure, axis, space, used)
        _true_positions(axis, content)
        axis.set_ylabel(axis_label(space, 1))
    axis.set_xlabel(axis_label(space, 0))
    name = space.axis_name
    along = f"{name} 1" if space.n_components == 1 else f"{name} 1 and {name} 2"
    alt = f"Conformational space: {len(space.coordinates)} particles along {along}, coloured by density."
    picture = finished(figure, alt)
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
    focus(axis, points)
    if len(points) > SCATTER_LIMIT:
        inside = inside_view(axis, points)
        x, y = points[inside].T
        extent = (*axis.get_xlim(), *axis.get_ylim())
        columns = 75
        ratio = (extent[3] - extent[2]) / (extent[1] - extent[0])
        rows = max(1, round(columns * ratio / np.sqrt(3)))  # regular hexagons
        cells = axis.hexbin(
            x, y, gridsize=(columns, rows), extent=extent, bins="log", mincnt=1, cmap=MAPS, linewidths=0.1
        )
        figure.colorbar(cells, ax=axis, label="particles per cell", shrink=0.8, pad=0.02)
    else:
        density = point_density(points)
        order = np.argsort(density) if density is not None else np.arange(len(points))
        shade = BLUE if density is None else density[order] / density.max()
        colours = None if density is None else MAPS
        x, y = points[order].T
        dots = axis.scatter(x, y, c=shade, s=dot_size(len(points)), cmap=colours, linewidths=0)
        if density is not None:
            figure.colorbar(dots, ax=axis, label="density of particles (1 = highest)", shrink=0.8, pad=0.02)
        left_out = space.coordinates[~space.converged, :2]
        if len(left_out) and space.converged.sum() >= 2:
            label = f"not converged ({len(left_out)})"
            axis.scatter(left_out[:, 0], left_out[:, 1], marker="x", s=14, c=GREY, linewidths=0.8, label=label)
            axis.legend(loc="best")
    outside = int((~inside_view(axis, points)).sum())
    if outside:
        said = f"{outside} of {len(points)} particles lie outside this view"
        axis.set_title(said, fontweight="normal", fontsize=8, loc="right", color=SOFT)
    axis.set_aspect("equal", adjustable="datalim")


def _true_positions(axis: Axes, content: ReportContent) -> None:
    errors, space = content.errors, content.space
    numbers = [int(mode) for mode in space.modes]
    if errors is None or not numbers or not all(number in errors.true_amplitudes for number in numbers):
        return
    true = space.transform(np.stack([errors.true_amplitudes[number] for number in numbers], axis=1))
    some = true[spread_subset(len(true), 400)]
    axis.scatter(some[:, 0], some[:, 1], s=3, c=ORANGE, linewidths=0, label="truth")
    legend = axis.legend(loc="best", markerscale=2.5)
    legend.set_zorder(5)


@styled
def explained_variance(space: Space) -> Picture:
    """Variance along each axis, and which modes each axis is made of."""
    d = space.n_components
    if space.on == "amplitudes" and space.is_linear:
        size = min(9.0, 4.4 + 0.55 * len(space.modes)), max(2.6, 1.6 + 0.3 * d)
        figure, (left, right) = new_figure(*size, columns=2, widths=(2.2, max(1.6, 0.55 * len(space.modes))))
        _loadings(figure, right, space)
        said = " and the loading of every mode on every axis"
    else:
        figure, (left,) = new_figure(4.2, 3.0)
        said = ""
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
    axis = "principal component" if space.is_linear else f"{space.axis_name} axis"
    left.set(xlabel=axis, ylim=(0, 1.05), xlim=(0.4, d + 0.6), title="Explained variance")
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set_xticks(numbers if d <= 12 else numbers[:: -(-d // 12)])
    name = space.axis_name
    listed = ", ".join(f"{name} {number}: {100 * value:.1f} %" for number, value in zip(numbers, share, strict=True))
    return finished(figure, f"Explained variance ({listed}){said}.")


def _loadings(figure: Figure, axis: Axes, space: Space) -> None:
    d, m = space.components.shape
    image = axis.imshow(space.components, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    axis.set_xticks(range(m), [str(mode) for mode in space.modes])
    axis.set_yticks(range(d), [f"PC {number}" for number in range(1, d + 1)])
    axis.set(xlabel="normal mode", title="Share of each mode in an axis")
    if d * m <= 60:
        for (row, column), value in np.ndenumerate(space.components):
            colour = "white" if abs(value) > 0.65 else DARK
            axis.text(column, row, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axis, pad=0.03, label="loading")


@styled
def amplitude_histograms(numbers: np.ndarray, values: np.ndarray, n_atoms: int | None) -> Picture:
    """Amplitudes (n, M) of each mode, with the RMSD that they mean."""
    columns = min(4, len(numbers))
    rows = -(-len(numbers) // columns)
    figure, axes = new_figure(row_width(columns, 3.4), 2.5 * rows, columns=columns, rows=rows)
    for axis, number, amplitude in zip(axes, numbers, values.T, strict=False):
        histogram(axis, amplitude, BLUE)
        axis.set_xlabel(f"amplitude of mode {number} (Å)")
        if n_atoms:
            root = np.sqrt(n_atoms)
            top = axis.secondary_xaxis("top", functions=(partial(np.multiply, 1 / root), partial(np.multiply, root)))
            top.set_xlabel("signed RMSD (Å)", fontsize=8)
            top.tick_params(labelsize=7)
    for axis in axes[len(numbers) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("particles")
    each = zip(numbers, values.T, strict=True)
    ranges = "; ".join(f"mode {number} {a.mean():.0f} ± {a.std():.0f} Å" for number, a in each)
    return finished(figure, f"Histograms of the amplitudes (mean ± standard deviation): {ranges}.")


@styled
def amplitude_pairs(numbers: np.ndarray, values: np.ndarray) -> Picture:
    """Amplitudes (n, M) of every pair of the (at most four) modes that vary most."""
    chosen = np.sort(np.argsort(-values.std(axis=0), kind="stable")[:4])
    pairs = [(a, b) for i, a in enumerate(chosen) for b in chosen[i + 1 :]]
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, axes = new_figure(row_width(columns, 3.5), 3.0 * rows, columns=columns, rows=rows)
    for axis, (a, b) in zip(axes, pairs, strict=False):
        cloud(axis, values[:, [a, b]])
        axis.set(xlabel=f"mode {numbers[a]} (Å)", ylabel=f"mode {numbers[b]} (Å)")
    for axis in axes[len(pairs) :]:
        axis.set_visible(False)
    listed = ", ".join(str(numbers[i]) for i in chosen)
    return finished(figure, f"Amplitudes of modes {listed} against each other, coloured by density.")


@styled
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
    figure, axes = new_figure(row_width(columns, 3.5), 2.3 * rows, columns=columns, rows=rows)
    converged = content.space.converged
    for axis, (label, values) in zip(axes, panels, strict=False):
        known = np.isfinite(values)
        stacked_histogram(axis, values[known & converged], values[known & ~converged])
        axis.set_xlabel(label)
        axis.axvline(np.median(values[known]), color=DARK, linewidth=1, linestyle=":")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("particles")
    if not converged.all():
        axes[0].legend(loc="best")
    medians = "; ".join(f"{label}: median {np.nanmedian(values):.3g}" for label, values in panels)
    return finished(figure, f"Histograms of {medians}. Dotted lines are medians.")


@styled
def amplitude_errors(errors: ParticleErrors) -> Picture | None:
    """Estimated against true amplitudes, and the histogram of the errors, for each mode."""
    numbers = sorted(errors.amplitudes)[:8]
    if not numbers:
        return None
    columns = len(numbers) if len(numbers) <= 4 else 4
    blocks = -(-len(numbers) // columns)
    figure, axes = new_figure(row_width(columns, 3.5), 5.0 * blocks, columns=columns, rows=2 * blocks)
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
        cloud(upper, np.column_stack([true, estimated]))
        ends = [true.min(), true.max()]
        upper.plot(ends, ends, color=ORANGE, linewidth=1.2)
        upper.set(xlabel=f"true amplitude, mode {number} (Å)", ylabel="estimated (Å)" if column == 0 else "")
        histogram(lower, error, BLUE, tail=1.5)
        lower.axvline(0, color=ORANGE, linewidth=1.2)
        lower.set(xlabel="estimated − true (Å)", ylabel="particles" if column == 0 else "")
        lower.set_title(f"mean |error| {np.abs(error).mean():.1f} Å", fontweight="normal", fontsize=8.5)
    listed = "; ".join(f"mode {number}: {np.abs(errors.amplitudes[number]).mean():.1f} Å" for number in numbers)
    what = "Estimated against true amplitudes with the identity line, and histograms of the errors"
    return finished(figure, f"{what}. Mean absolute errors: {listed}.")


@styled
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
    figure, axes = new_figure(row_width(len(panels), 3.5), 2.5, columns=len(panels))
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
    return finished(figure, f"Histograms of errors on a logarithmic scale. {listed}.")


@styled
def along_frames(content: ReportContent, correlation: float | None) -> Picture | None:
    """First axis against the true frame of an ensemble."""
    if content.errors is None or content.errors.frame is None:
        return None
    figure, axes = new_figure(5.2, 3.4)
    points = np.column_stack([content.errors.frame, content.space.coordinates[:, 0]])
    cloud(axes[0], points)
    said = "" if correlation is None else f"rank correlation {correlation:.3f}"
    axes[0].set(xlabel="true frame of the ensemble", ylabel=axis_label(content.space, 0, share=False), title=said)
    return finished(figure, f"First coordinate of every particle against its true frame in the ensemble; {said}.")
