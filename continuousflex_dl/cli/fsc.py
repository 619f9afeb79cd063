"""``cflex fsc``: Fourier shell correlation of two maps, or of a map and a structure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.io.atomic import atomic_path, atomic_text
from ..core.reconstruction.map_files import read_cube
from ..options.fsc import FscOptions
from .maps import describe, is_map, model_of, read_same_size, write_curves
from .run import Run

if TYPE_CHECKING:
    from ..core.reconstruction.fsc import ShellCorrelation


def run(options: FscOptions, run: Run) -> None:
    """Print the resolutions at 0.5 and 0.143; with -o write the curves, the figures and a picture."""
    with run.stage("read"):
        first = read_cube(options.first, options.pixel_size)
        run.add_input(options.first)
        box, pixel_size = len(first.values), first.pixel_size
        mask_file = None if options.mask is None else read_same_size(options.mask, box, pixel_size, run, "mask")

    import torch

    from ..core.reconstruction.filters import automatic_mask
    from ..core.reconstruction.fsc import HALF_MAPS, MODEL, masked_correlation, shell_correlation

    torch.set_num_threads(run.threads)
    one = torch.as_tensor(first.values)
    two = model_of(options.second, box, pixel_size, options.sigma, run)
    mask = None if mask_file is None else torch.as_tensor(mask_file.values)
    with run.stage("correlate"):
        if options.auto_mask:
            try:
                mask = automatic_mask((one + two) / 2 if is_map(options.second) else two, pixel_size)
            except ValueError as error:
                raise InputError(f"{options.first}: {error}") from None
        curves: dict[str, ShellCorrelation] = {"plain": shell_correlation(one, two, pixel_size)}
        if mask is not None and is_map(options.second):
            generator = torch.Generator().manual_seed(options.seed)
            curves["masked"], curves["corrected"] = masked_correlation(one, two, mask, pixel_size, generator)
        elif mask is not None:
            curves["masked"] = shell_correlation(one * mask, two * mask, pixel_size)
    figures: dict[str, Any] = {"box": box, "pixel_size": round(pixel_size, 6)}
    lines = []
    for name, curve in curves.items():
        for threshold in (MODEL, HALF_MAPS):
            value = curve.resolution(threshold)
            figures[f"{name}_{threshold:g}_angst"] = round(value, 4) if np.isfinite(value) else None
        lines.append(f"{name:<10} 0.5: {describe(curve, MODEL):<28} 0.143: {describe(curve, HALF_MAPS)}")
    run.result(**figures)
    print("\n".join(lines))
    if run.output is not None:
        with run.stage("write"):
            from .report.curves import correlation_picture

            write_curves(run.path("fsc.csv"), curves)
            atomic_text(run.path("fsc.json"), json.dumps(figures, indent=2) + "\n")
            with atomic_path(run.path("fsc.png")) as temporary:
                temporary.write_bytes(correlation_picture(curves).png)
        print(f"written: {run.path('fsc.csv')}")
