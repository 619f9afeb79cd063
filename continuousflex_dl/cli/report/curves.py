"""Pictures of Fourier shell correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .drawing import BLUE, DARK, GREY, ORANGE, Picture, finished, new_figure, styled

if TYPE_CHECKING:
    from ...core.reconstruction.fsc import ShellCorrelation

_COLOURS = (BLUE, ORANGE, DARK, "#009e73", "#cc79a7")


@styled
def correlation_picture(curves: dict[str, ShellCorrelation]) -> Picture:
    """Draw curves of one box over resolution, with the usual thresholds.

    Parameters
    ----------
    curves
        Name for the legend -> curve.
    """
    figure, (axis,) = new_figure(5.4, 3.4)
    for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
        axis.plot(curve.frequency, curve.correlation, color=colour, linewidth=1.5, label=name.replace("_", " "))
    for threshold in (0.143, 0.5):
        axis.axhline(threshold, color=GREY, linewidth=0.8, linestyle="--")
        axis.annotate(f"{threshold:g}", (0, threshold), (3, 2), textcoords="offset points", fontsize=7.5, color=GREY)
    axis.axhline(0, color=DARK, linewidth=0.6)
    end = max(float(curve.frequency[-1]) for curve in curves.values())
    lowest = min(float(np.nanmin(curve.correlation)) for curve in curves.values())
    axis.set(xlim=(0, end), ylim=(min(-0.1, lowest), 1.02), ylabel="Fourier shell correlation")
    ticks = axis.get_xticks()
    ticks = ticks[(ticks > 0) & (ticks <= end)]
    axis.set_xticks(ticks, [f"{1 / tick:.2g}" for tick in ticks])
    axis.set_xlabel("resolution (Å)")
    if len(curves) > 1:
        axis.legend(loc="best")
    listed = "; ".join(f"{name}: 0.5 at {curve.resolution(0.5):.2f} Å" for name, curve in curves.items())
    return finished(figure, f"Fourier shell correlation over resolution. {listed}.")
