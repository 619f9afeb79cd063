"""``cflex hemnma``: elastic 3D-to-2D alignment of a particle set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ..core.io.atomic import atomic_text
from ..core.io.blocks import BlockStore
from ..core.io.modes import read_modes
from ..core.io.particles import read_particles, write_star
from ..core.particles.stack import ImageStack
from ..options.hemnma import HemnmaOptions
from .run import Run

if TYPE_CHECKING:
    from ..core.hemnma.pipeline import Calibration

# what changes no number of the result
_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device"}


def run(options: HemnmaOptions, run: Run) -> None:
    """Align every particle and write DIR/particles.star."""
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        all_modes = read_modes(options.modes, options.structure)
        modes = all_modes.select(options.use)
        stack = ImageStack(table)
    run.add_input(options.particles)
    run.add_input(options.modes)
    final = run.path("particles.star")
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        return

    from ..core.devices import keep_freed_memory, resolve_device  # torch is slow to import: bad input is said before it
    from ..core.hemnma.align import Settings
    from ..core.hemnma.pipeline import PROBES, Calibration, Hemnma

    keep_freed_memory()
    device = resolve_device(options.device)
    run.device = str(device)
    max_shift = options.max_shift_px if options.max_shift_px is not None else stack.box / 8
    settings = Settings(
        angular_step=options.angular_step,
        max_shift_px=max_shift,
        hypotheses=options.hypotheses,
        max_resolution=options.max_resolution,
        symmetry=options.symmetry,
        local_range_deg=options.local_range,
        local_shift_px=options.local_shift,
    )
    others = [int(number) for number in all_modes.indices if number not in options.use]
    hemnma = Hemnma(
        table,
        stack,
        modes,
        settings,
        probes=all_modes.select(others[-PROBES:]) if others else None,
        search_rmsd=options.search_rmsd,
        ctf_choice=options.ctf,
        initial_poses=options.initial_poses,
        device=device,
    )
    used = (
        "none"
        if options.ctf == "none" or table.ctf is None
        else "|CTF|"
        if options.ctf == "flipped" or table.phase_flipped.all()
        else "in the model"
    )
    run.say(
        f"{len(table)} particles of {stack.box} px, {modes.n_atoms} atoms, modes {','.join(map(str, modes.indices))}, "
        f"CTF {used}, on {device}, {run.threads} thread(s)"
    )

    fingerprint = {key: value for key, value in options.model_dump(mode="json").items() if key not in _HARMLESS}
    store = BlockStore(run.path("blocks"), len(table), options.batch_size, fingerprint)
    run.claim_output()
    calibration_file = store.folder / "calibration.json"
    with run.stage("calibrate"), _one_thread_per_block(), run.progress("calibrate", "particles") as progress:
        if calibration_file.exists():
            calibration = Calibration(**json.loads(calibration_file.read_text(encoding="utf-8")))
            hemnma.use(calibration)
        else:
            calibration = hemnma.calibrate(
                measure=options.calibrate, learn=options.learn_prior, threads=run.threads, progress=progress
            )
            atomic_text(calibration_file, json.dumps(calibration.as_dict()))
    _say_calibration(run, calibration, options)
    with run.stage("align"), _one_thread_per_block(), run.progress("hemnma", "particles") as progress:
        store.run(
            lambda first, last: hemnma.align(np.arange(first, last)),
            threads=run.threads,
            progress=progress,
        )
    with run.stage("write"):
        found = store.collect()
        numbers = [int(number) for number in modes.indices]
        result = (
            table.with_poses(found["euler_deg"], found["shift_angst"])
            .with_amplitudes(
                {number: found["amplitudes"][:, column] for column, number in enumerate(numbers)},
                {number: found["amplitude_std"][:, column] for column, number in enumerate(numbers)},
            )
            .with_results(
                score=found["score"],
                converged=found["converged"],
                angle_std_deg=found["angle_std_deg"],
                shift_std_angst=found["shift_std_angst"],
            )
        )
        write_star(final, result)
    store.remove()
    summary = {
        "particles": len(table),
        "converged": int(found["converged"].sum()),
        "median_score": round(float(np.median(found["score"])), 4),
        "median_angle_std_deg": round(float(np.median(found["angle_std_deg"])), 3),
        "median_shift_std_angst": round(float(np.median(found["shift_std_angst"])), 3),
        "sigma_angst": round(calibration.sigma, 3),
        "error_inflation": round(calibration.inflation, 2),
        "modes": options.modes,
    }
    run.result(**summary)
    print(
        f"{'mode':>6} {'mean':>10} {'std':>10} {'median error':>13}   "
        f"(amplitudes in Å of unit-norm modes; RMSD = amplitude / {np.sqrt(modes.n_atoms):.1f})"
    )
    for column, number in enumerate(numbers):
        values, std = found["amplitudes"][:, column], found["amplitude_std"][:, column]
        print(f"{number:>6} {values.mean():>10.2f} {values.std():>10.2f} {np.median(std):>13.2f}")
    print(
        f"{summary['converged']} of {len(table)} converged; score {summary['median_score']}, "
        f"angle +-{summary['median_angle_std_deg']} degrees, shift +-{summary['median_shift_std_angst']} Å (medians)"
    )
    print(f"written: {final}")


def _say_calibration(run: Run, calibration: Calibration, options: HemnmaOptions) -> None:
    if not options.calibrate:
        return
    run.say(
        f"width of an atom {calibration.sigma:.2f} Å; amplitude errors {calibration.inflation:.1f} times those of the "
        "noise alone" + (" (motions that these modes cannot follow)" if calibration.inflation > 1.5 else "")
    )
    if options.learn_prior and calibration.covariance is not None:
        spread = np.sqrt(np.diag(calibration.covariance))
        run.say(
            "amplitudes expected: "
            + ", ".join(f"{m:.0f} +- {s:.0f}" for m, s in zip(calibration.mean, spread, strict=True))
        )


class _one_thread_per_block:  # noqa: N801  (reads as a word of the with statement)
    """Blocks run side by side, each on one core: the result is then the same whatever the number of threads."""

    def __enter__(self) -> None:
        import torch

        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_num_threads(self._threads)
