"""Picture of a ranking of modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.dynamics.modes import NormalModes
from .drawing import BLUE, DARK, GREY, ORANGE, Picture, finished, new_figure, styled

if TYPE_CHECKING:
    from ...core.hemnma.evidence import ModeEvidence


@styled
def ranking_picture(found: ModeEvidence, modes: NormalModes, overlap: NDArray[np.float64] | None) -> Picture:
    """Draw what the images gain by each mode, beside its collectivity and its overlap (M,) with a target."""
    figure, (above, below) = new_figure(6.4, 4.6, rows=2)
    places = np.arange(len(modes))
    colours = [BLUE if supported else GREY for supported in found.supported]
    above.bar(places, found.gain, yerr=found.error, color=colours, error_kw={"ecolor": DARK, "capsize": 2})
    above.axhline(0, color=DARK, linewidth=0.6)
    above.set_ylabel("log-likelihood gained\nper image")
    above.set_title("blue: the images ask for the mode")
    width = 0.4 if overlap is not None else 0.7
    below.bar(places - (0.2 if overlap is not None else 0), modes.collectivity, width, color=GREY, label="collectivity")
    if overlap is not None:
        below.bar(places + 0.2, overlap, width, color=ORANGE, label="overlap with the target")
    below.set_ylim(0, 1)
    below.legend(loc="best")
    below.set_xlabel("mode")
    for axis in (above, below):
        axis.set_xticks(places, [str(int(number)) for number in modes.indices])
    numbers = [str(int(number)) for number, ok in zip(modes.indices, found.supported, strict=True) if ok]
    return finished(figure, f"Modes that the images ask for: {', '.join(numbers) or 'none'}.")
