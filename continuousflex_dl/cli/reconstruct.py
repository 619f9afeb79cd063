"""``cflex reconstruct``: map, half maps and resolution of a particle set with poses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError
from ..core.io.particles import read_particles, refuse_unsupported
from ..core.particles.stack import ImageStack
from ..core.reconstruction.map_files import centred_origin, write_map
from ..options.reconstruct import ReconstructOptions
from .maps import describe, is_map, model_of, read_same_size, write_curves
from .run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.reconstruction.fsc import ShellCorrelation
    from ..core.reconstruction.images import BackProjector
    from ..core.reconstruction.sums import FourierSums

_CHECKPOINT_S = 120.0
# what changes nothing in the sums
_HARMLESS = {
    "output",
    "threads",
    "resume",
    "overwrite",
    "verbose",
    "debug",
    "device",
    "half_maps",
    "regularise",
    "mask",
}
_HARMLESS |= {"auto_mask", "low_pass", "b_factor", "model", "sigma", "seed"}


def run(options: ReconstructOptions, run: Run) -> None:
    """Back-project both halves, and write the map, its correlations and what was asked for beside them."""
    if not is_map(options.output):
        raise InputError(f"{options.output}: is not the name of a map, expected one that ends in .mrc")
    if options.resume and Path(options.output).exists() and run.path(".json").exists():
        run.say(f"{options.output} is complete; nothing to do")
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        refuse_unsupported(table)
        stack = ImageStack(table)
        run.add_input(options.particles)

    import torch

    from ..core.devices import keep_freed_memory, resolve_device
    from ..core.reconstruction.filters import radial_filter
    from ..core.reconstruction.fsc import HALF_MAPS, MODEL, shell_correlation
    from ..core.reconstruction.images import BackProjector
    from ..core.reconstruction.maps import make_maps

    keep_freed_memory()
    device = resolve_device(options.device)
    run.device = str(device)
    torch.set_num_threads(run.threads)
    projector = BackProjector.make(
        table,
        stack,
        ctf_choice=options.ctf,
        symmetry=options.symmetry,
        max_resolution=options.max_resolution,
        device=device,
    )
    box, pixel_size = stack.box, projector.pixel_size
    with run.stage("read"):
        model = None if options.model is None else model_of(options.model, box, pixel_size, options.sigma, run)
        mask = _mask(options, box, pixel_size, run)
    _say_what(run, projector, len(table))
    first, second = back_project(projector, options, run)
    with run.stage("maps"):
        try:
            maps = make_maps(
                first,
                second,
                pixel_size,
                regularise=options.regularise,
                mask=mask,
                auto_mask=options.auto_mask,
                generator=torch.Generator().manual_seed(options.seed),
            )
        except ValueError as error:
            raise InputError(f"{options.particles}: {error}") from None
        del first, second
        curves: dict[str, ShellCorrelation] = {"halves": maps.plain}
        if maps.masked is not None and maps.corrected is not None:
            curves |= {"halves_masked": maps.masked, "halves_corrected": maps.corrected}
        if model is not None:
            inside = torch.ones(()) if maps.mask is None else maps.mask.cpu()
            curves["model"] = shell_correlation(maps.whole.cpu() * inside, model * inside, pixel_size)
        shown = radial_filter(maps.whole, pixel_size, low_pass=options.low_pass, b_factor=options.b_factor)
    with run.stage("write"):
        origin = centred_origin(box, pixel_size)
        if options.half_maps:
            for name, half in (("_half1.mrc", maps.first), ("_half2.mrc", maps.second)):
                write_map(run.path(name), half.cpu().numpy(), pixel_size, origin)
        if options.auto_mask and maps.mask is not None:
            write_map(run.path("_mask.mrc"), maps.mask.cpu().numpy(), pixel_size, origin)
        write_curves(run.path("_fsc.csv"), curves)
        write_map(options.output, shown.cpu().numpy(), pixel_size, origin)
        run.path("_partial.npz").unlink(missing_ok=True)
    figures: dict[str, Any] = {
        "particles": len(table),
        "box": box,
        "pixel_size": round(pixel_size, 6),
        "symmetry": options.symmetry.upper(),
        "ctf": projector.ctf_use,
        "resolution_halves_0.143_angst": _finite(maps.best.resolution(HALF_MAPS)),
        "resolution_halves_0.5_angst": _finite(maps.best.resolution(MODEL)),
    }
    print(f"resolution where the half maps correlate at 0.143: {describe(maps.best, HALF_MAPS)}"
          + ("" if maps.corrected is None else " (inside the mask, corrected for it)"))  # fmt: skip
    if model is not None:
        figures["resolution_model_0.5_angst"] = _finite(curves["model"].resolution(MODEL))
        print(f"resolution where map and model correlate at 0.5: {describe(curves['model'], MODEL)}")
    run.result(**figures)
    print(f"written: {options.output}")


def back_project(projector: BackProjector, options: ReconstructOptions, run: Run) -> tuple[FourierSums, FourierSums]:
    """Sums of the two halves, with a progress bar; a run that was killed continues from the last checkpoint."""
    from ..core.devices import one_core_each
    from ..core.reconstruction.checkpoint import load_sums, save_sums
    from ..core.reconstruction.images import half_sets, sum_halves

    halves = half_sets(projector.table)
    partial = run.path("_partial.npz")
    settings = {key: value for key, value in options.model_dump(mode="json").items() if key not in _HARMLESS}
    settings["count"] = len(projector.table)
    begin = None
    if options.resume:
        begin = load_sums(partial, projector.stack.box, projector.disc.radius, projector.device, settings)
    last = time.monotonic()

    def checkpoint(done: int, sums: tuple[FourierSums, FourierSums]) -> None:
        nonlocal last
        if time.monotonic() - last > _CHECKPOINT_S:
            save_sums(partial, done, sums, settings)
            last = time.monotonic()

    with run.stage("back-project"), one_core_each(), run.progress("back-project", "particles") as progress:
        return sum_halves(projector, halves, threads=run.threads, progress=progress, begin=begin, checkpoint=checkpoint)


def _mask(options: ReconstructOptions, box: int, pixel_size: float, run: Run) -> Tensor | None:
    import torch

    if options.mask is None:
        return None
    found = read_same_size(options.mask, box, pixel_size, run, "mask")
    if found.values.min() < -1e-3 or found.values.max() > 1.001 or not found.values.any():
        raise InputError(
            f"{options.mask}: found values from {found.values.min():.3g} to {found.values.max():.3g}, expected 0 "
            "outside and 1 inside; give a mask"
        )
    return torch.as_tensor(found.values)


def _say_what(run: Run, projector: BackProjector, count: int) -> None:
    used = {"none": "none", "flipped": "|CTF|", "signed": "in the weights", "mixed": "in the weights, some as |CTF|"}
    sizes = projector.table.pixel_size
    run.say(
        f"{count} particles of {projector.stack.box} px, {projector.pixel_size:g} Å/px, CTF "
        f"{used[projector.ctf_use]}, symmetry {projector.symmetry.upper()}, on {projector.device}, "
        f"{run.threads} thread(s)"
    )
    if np.ptp(sizes) > 1e-4 * projector.pixel_size:
        run.say(f"pixel sizes from {sizes.min():g} to {sizes.max():g} Å are brought to {projector.pixel_size:g} Å")


def _finite(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
