"""``cflex hemnma``: elastic 3D-to-2D alignment of a particle set."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.io.atomic import atomic_text
from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.io.modes import read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles, write_star_parts
from ..core.particles.stack import ImageStack
from ..options.files import PARTICLES_FILE
from ..options.hemnma import HemnmaOptions
from .alignment import hemnma_of
from .calibration import CALIBRATION_NAME, read_calibration, write_calibration
from .run import Run
from .shards import run_blocks

if TYPE_CHECKING:
    from ..core.hemnma.pipeline import Calibration, Hemnma

MANY_PROCESSES = True  # under torchrun, mpirun or srun the blocks are shared among the processes

# what changes no number of the result
_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device", "calibration"}
_PORTION = 1 << 13  # particles in memory at one time when the result is written


def run(options: HemnmaOptions, run: Run) -> None:
    """Align every particle and write DIR/particles.star."""
    final = run.path(PARTICLES_FILE)
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        run.when_recorded(lambda: shutil.rmtree(run.path("blocks"), ignore_errors=True))
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        all_modes = read_modes(options.modes, options.structure)
        modes = all_modes.select(options.use)
        stack = ImageStack(table)
    run.add_input(options.particles)
    run.add_input(options.modes)

    # torch is slow to import: bad input is said before it
    from ..core.devices import keep_freed_memory, one_core_each, resolve_device

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    hemnma = hemnma_of(options, table, stack, modes, all_modes, device, run.threads)
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

    given = None if options.calibration is None else read_calibration(Path(options.calibration), hemnma)
    if run.place.leads:
        store = _store(run, options, hemnma)
        run.claim_output()
    elif run.crew is not None and run.crew.wait_until_ready():
        store = _store(run, options, hemnma)
    else:
        return  # all was done already
    with run.stage("calibrate"), one_core_each():
        calibration = _calibration(run, options, hemnma, store, given)
    with run.stage("align"), run.progress("hemnma", "particles") as progress:
        run_blocks(run, store, lambda first, last: hemnma.align(np.arange(first, last)), progress)
    if not run.place.leads:
        return
    numbers = [int(number) for number in modes.indices]
    columns = _Columns(numbers)
    with run.stage("learn"):
        finishing = _finishing(options, table, store, hemnma, calibration)
    with run.stage("write"):
        write_star_parts(final, _result(table, store, columns, finishing))
        atomic_text(run.path(CALIBRATION_NAME), (store.folder / CALIBRATION_NAME).read_text(encoding="utf-8"))
    run.when_recorded(store.remove)
    summary = {
        "particles": len(table),
        "converged": columns.converged,
        "median_score": round(float(np.median(columns["score"])), 4),
        "median_angle_std_deg": round(float(np.median(columns["angle_std_deg"])), 3),
        "median_shift_std_angst": round(float(np.median(columns["shift_std_angst"])), 3),
        "sigma_angst": round(calibration.sigma, 3),
        "error_inflation": round(calibration.inflation, 2),
        "better_inverted": round(calibration.inverted, 2),
        "better_mirrored": None if calibration.mirrored is None else round(calibration.mirrored, 2),
        "modes": options.modes,
    }
    run.result(**summary)
    print(
        f"{'mode':>6} {'mean':>10} {'std':>10} {'median error':>13}   "
        f"(amplitudes in Å of unit-norm modes; RMSD = amplitude / {np.sqrt(modes.n_atoms):.1f})"
    )
    for column, number in enumerate(numbers):
        values, std = columns["amplitudes"][:, column], columns["amplitude_std"][:, column]
        print(f"{number:>6} {values.mean():>10.2f} {values.std():>10.2f} {np.median(std):>13.2f}")
    print(
        f"{summary['converged']} of {len(table)} converged; score {summary['median_score']}, "
        f"angle +-{summary['median_angle_std_deg']} degrees, shift +-{summary['median_shift_std_angst']} Å (medians)"
    )
    print(f"written: {final}")


def _store(run: Run, options: HemnmaOptions, hemnma: Hemnma) -> BlockStore:
    """The blocks, tied to every option and input that changes the result."""
    fingerprint = {key: value for key, value in options.model_dump(mode="json").items() if key not in _HARMLESS}
    contents = [options.particles, options.modes, options.structure, options.calibration]
    fingerprint |= {f"the content of {path}": _digest(Path(path)) for path in contents if path is not None}
    fingerprint["cflex"] = __version__
    fingerprint["number format"] = str(hemnma.settings.dtype)  # processors differ in what "auto" means
    return BlockStore(run.path("blocks"), len(hemnma.table), options.batch_size, fingerprint, run.place.rank)


def _digest(path: Path) -> str:
    path = path / CALIBRATION_NAME if path.is_dir() else path
    digest = hashlib.sha256()
    if path.is_file():  # what is missing is said by whoever reads it
        with open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()[:16]


def _calibration(
    run: Run, options: HemnmaOptions, hemnma: Hemnma, store: BlockStore, given: Calibration | None
) -> Calibration:
    """Measure what the alignment needs, or take what this run or an earlier one has measured."""
    kept = store.folder / CALIBRATION_NAME
    if kept.exists() or given is not None:
        calibration = read_calibration(kept, hemnma) if given is None else given
        hemnma.use(calibration)
    else:
        with run.progress("calibrate", "particles") as progress:
            calibration = hemnma.calibrate(
                measure=options.calibrate, learn=options.learn_prior, threads=run.threads, progress=progress
            )
    if run.place.leads:
        if not kept.exists():
            write_calibration(kept, calibration, hemnma)
        if run.crew is not None:
            run.crew.announce(stage="ready")
        _say_calibration(run, calibration, options)
    return calibration


class _Columns:
    """What the summary needs to know of all particles: a few numbers each."""

    _NAMES = ("score", "angle_std_deg", "shift_std_angst", "amplitudes", "amplitude_std")

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.converged = 0
        self._parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._NAMES}

    def add(self, found: dict[str, NDArray[Any]]) -> None:
        """Take note of some particles."""
        self.converged += int(found["converged"].sum())
        for name, parts in self._parts.items():
            parts.append(found[name].astype(np.float32))

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.concatenate(self._parts[name]).astype(np.float64)


def _finishing(
    options: HemnmaOptions, table: ParticleTable, store: BlockStore, hemnma: Hemnma, calibration: Calibration
) -> Callable[[Arrays, int, int], Arrays]:
    """What turns the results of some particles, given their range, into the final ones."""
    from ..core.hemnma.finish import finish, learn_population

    prior = calibration.prior
    learn = options.calibrate and options.learn_prior and prior.covariance is not None
    unit = float(np.sqrt(hemnma.modes.n_atoms))
    population = learn_population(store.portions(_PORTION), len(table), prior, unit) if learn else None
    pixel_size = np.asarray(table.pixel_size, dtype=np.float64)
    return lambda found, first, last: finish(found, population, prior, pixel_size[first:last])


def _result(
    table: ParticleTable, store: BlockStore, columns: _Columns, finishing: Callable[[Arrays, int, int], Arrays]
) -> Iterator[ParticleTable]:
    """The particles with what was found, some thousand at a time."""
    for first, last, aligned in store.portions(_PORTION):
        found = finishing(aligned, first, last)
        columns.add(found)
        amplitudes, std = (
            {number: found[name][:, column] for column, number in enumerate(columns.numbers)}
            for name in ("amplitudes", "amplitude_std")
        )
        yield (
            table.rows(first, last)
            .with_poses(found["euler_deg"], found["shift_angst"])
            .with_amplitudes(amplitudes, std)
            .with_results(
                score=found["score"],
                converged=found["converged"],
                confidence=found["confidence"],
                angle_std_deg=found["angle_std_deg"],
                shift_std_angst=found["shift_std_angst"],
            )
        )


def _say_calibration(run: Run, calibration: Calibration, options: HemnmaOptions) -> None:
    from ..core.hemnma.checks import SUSPECT

    if not options.calibrate:
        return
    run.say(
        f"width of an atom {calibration.sigma:.2f} Å; amplitude errors {calibration.inflation:.1f} times those of the "
        "noise alone" + (" (motions that these modes cannot follow)" if calibration.inflation > 1.5 else "")
    )
    if calibration.inverted >= SUSPECT:
        opposite = "leave out --invert-contrast" if options.invert_contrast else "give --invert-contrast"
        run.say(
            f"WARNING: {100 * calibration.inverted:.0f}% of the images tried fit better with inverted contrast: the "
            f"particles seem to be {'brighter' if options.invert_contrast else 'darker'} than their surroundings; "
            f"{opposite} and run again"
        )
    if calibration.mirrored is not None and calibration.mirrored >= SUSPECT:
        run.say(
            f"WARNING: {100 * calibration.mirrored:.0f}% of the images tried fit the mirror image of the reference "
            "better at the given poses: one of the two has the wrong hand; mirror the reference (or the map that the "
            "poses were refined with) and run again"
        )
    if options.learn_prior and calibration.covariance is not None:
        spread = np.sqrt(np.diag(calibration.covariance))
        run.say(
            "amplitudes expected: "
            + ", ".join(f"{m:.0f} +- {s:.0f}" for m, s in zip(calibration.mean, spread, strict=True))
        )
