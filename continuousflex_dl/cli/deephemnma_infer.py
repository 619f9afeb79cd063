"""``cflex deephemnma infer``: particles through a trained network, refined on request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.errors import InputError
from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.io.modes import read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles, write_star_parts
from ..core.particles.stack import ImageStack
from ..options.deephemnma import DeephemnmaInferOptions
from ..options.files import PREDICTIONS_FILE
from .alignment import largest_shift_px
from .run import Run
from .shards import run_blocks

if TYPE_CHECKING:
    from ..core.deephemnma.particles import Particles
    from ..core.deephemnma.predict import Network

_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device"}
_PORTION = 1 << 13


def run_deephemnma_infer(options: DeephemnmaInferOptions, run: Run) -> None:
    """Predict every particle and write predictions.star."""
    final = run.path(PREDICTIONS_FILE)
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        run.when_recorded(lambda: shutil.rmtree(run.path("blocks"), ignore_errors=True))
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        stack = ImageStack(table)
    run.add_input(options.particles)

    from ..core.deephemnma.particles import Particles
    from ..core.deephemnma.predict import Network, as_arrays
    from ..core.devices import keep_freed_memory, resolve_device
    from ..core.precision import product_dtype

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    network = Network.read(Path(options.model), device, product_dtype(device, options.precision))
    for name in ("model.safetensors", "model.json"):
        run.add_input(Path(options.model) / name)
    _check_kept(options, table, network.modes)
    ctf = network.record["ctf"] if options.ctf == "trained" else options.ctf
    particles = Particles(table, stack, network.preparation, ctf, device)
    run.say(
        f"{len(table)} particles of {stack.box} px, modes {','.join(map(str, network.modes))}, {network.dtype}, on "
        f"{device}, {run.threads} thread(s)".replace("torch.", "")
    )
    refinement = _refinement(run, options, particles, network, ctf) if options.refine else None
    size = options.batch_size or (32 if options.refine else 1024)
    fingerprint = {name: value for name, value in options.model_dump(mode="json").items() if name not in _HARMLESS}
    fingerprint |= {"weights": network.record["weights"], "cflex": __version__, "number format": str(network.dtype)}
    fingerprint["particles file"] = Path(options.particles).stat().st_size

    def work(first: int, last: int) -> Arrays:
        rows = np.arange(first, last)
        found = as_arrays(network.predict_rows(particles, rows))
        return found if refinement is None else refinement(rows, found)

    if run.place.leads:
        store = BlockStore(run.path("blocks"), len(table), size, fingerprint, run.place.rank)
        run.claim_output()
        if run.crew is not None:
            run.crew.announce(stage="ready")
    elif run.crew is not None and run.crew.wait_until_ready():
        store = BlockStore(run.path("blocks"), len(table), size, fingerprint, run.place.rank)
    else:
        return
    with run.stage("predict"), run.progress("deephemnma", "particles") as progress:
        run_blocks(run, store, work, progress)
    if not run.place.leads:
        return
    seen: dict[str, list[NDArray[Any]]] = {}
    with run.stage("write"):
        learn = refinement is not None and options.estimate != "poses"
        finishing = _finishing(table, store, network) if learn else lambda found, first, last: found
        write_star_parts(final, _result(table, store, network.modes, options.estimate, finishing, seen))
    run.when_recorded(store.remove)
    columns = {name: np.concatenate(parts) for name, parts in seen.items()}
    _summarise(run, network, table, columns)
    print(f"written: {final}")


def _check_kept(options: DeephemnmaInferOptions, table: ParticleTable, modes: tuple[int, ...]) -> None:
    """What is to be kept must be there."""
    if options.estimate == "amplitudes" and (table.euler_deg is None or table.shift_angst is None):
        raise InputError(
            f"{table.source}: --estimate amplitudes keeps the poses of the file, found none; leave it out, or give "
            "particles with poses"
        )
    missing = [mode for mode in modes if mode not in table.amplitudes]
    if options.estimate == "poses" and missing:
        raise InputError(
            f"{table.source}: --estimate poses keeps the amplitudes of the file, found no _cflexModeAmplitude"
            f"{missing[0]}; leave it out, or give particles with amplitudes"
        )


def _refinement(
    run: Run, options: DeephemnmaInferOptions, particles: Particles, network: Network, ctf: str
) -> Callable[[NDArray[np.int64], Arrays], Arrays]:
    from ..core.deephemnma.predict import as_arrays
    from ..core.deephemnma.refine import Effort, Refinement
    from ..core.devices import one_core_each
    from ..core.hemnma.align import Settings
    from ..core.hemnma.pipeline import ERROR_IMAGES, PROBES, Hemnma
    from ..core.precision import product_dtype
    from ..core.space.density import spread_subset

    modes = read_modes(_modes_file(options), options.structure)
    if modes.n_atoms != network.record["n_atoms"]:
        raise InputError(
            f"{_modes_file(options)}: found {modes.n_atoms} atoms, but the network was trained with modes of "
            f"{network.record['n_atoms']}; give the modes of the training"
        )
    run.add_input(_modes_file(options))
    others = [int(number) for number in modes.indices if number not in network.modes]
    hemnma = Hemnma(
        particles.table,
        particles.stack,
        modes.select(network.modes),
        Settings(
            max_shift_px=largest_shift_px(None, particles.stack),
            symmetry=network.record["symmetry"],
            dtype=product_dtype(network.device, options.precision),
        ),
        probes=modes.select(others[-PROBES:]) if others else None,
        ctf_choice=ctf,
        invert_contrast=network.preparation.invert,
        device=network.device,
    )
    record = network.record
    with run.stage("calibrate"), one_core_each():
        refinement = Refinement(
            hemnma,
            record["images"]["sigma"],
            record["amplitude_mean"],
            record["amplitude_covariance"],
            Effort(skip_deg=options.refine_above or 0.0, search_deg=options.search_above),
            options.estimate,
        )
        if options.estimate == "all":
            rows = spread_subset(len(particles.table), ERROR_IMAGES)
            found = as_arrays(network.predict_rows(particles, rows))
            with run.progress("calibrate", "particles") as progress:
                factor = refinement.measure_error(rows, found, threads=run.threads, progress=progress)
            run.result(error_factor=round(factor, 3))
            run.say(f"amplitude errors after refinement {factor:.1f} times those of the noise alone")
    return refinement


def _modes_file(options: DeephemnmaInferOptions) -> str:
    """Modes that are given, or those that the record of the training names."""
    if options.modes is not None:
        return options.modes
    path = Path(options.model) / "run.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["options"]["modes"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: does not say which modes the network was trained with; give --modes") from None


def _finishing(table: ParticleTable, store: BlockStore, network: Network) -> Callable[[Arrays, int, int], Arrays]:
    """The distribution of all particles, learned and applied to each, as HEMNMA does."""
    from ..core.hemnma.finish import finish, learn_population
    from ..core.hemnma.prior import AmplitudePrior

    record = network.record
    prior = AmplitudePrior(np.array(record["amplitude_mean"]), np.array(record["amplitude_covariance"]))
    population = learn_population(store.portions(_PORTION), len(table), prior, float(np.sqrt(record["n_atoms"])))
    pixel_size = np.asarray(table.pixel_size, dtype=np.float64)
    return lambda found, first, last: finish(found, population, prior, pixel_size[first:last])


def _result(
    table: ParticleTable, store: BlockStore, modes: tuple[int, ...], estimate: str,
    finishing: Callable[[Arrays, int, int], Arrays], seen: dict[str, list[NDArray[Any]]],
) -> Iterator[ParticleTable]:  # fmt: skip
    """The particles with what was found, some thousand at a time; what the summary needs goes into `seen`."""
    for first, last, raw in store.portions(_PORTION):
        found = finishing(raw, first, last)
        for name in ("angle_std_deg", "shift_std_angst", "amplitudes", "amplitude_std", "converged", "refined"):
            if name in found:
                seen.setdefault(name, []).append(found[name])
        part = table.rows(first, last)
        if estimate != "amplitudes":
            part = part.with_poses(found["euler_deg"], found["shift_angst"])
            part = part.with_results(angle_std_deg=found["angle_std_deg"], shift_std_angst=found["shift_std_angst"])
        if estimate != "poses":
            values = {mode: found["amplitudes"][:, column] for column, mode in enumerate(modes)}
            std = {mode: found["amplitude_std"][:, column] for column, mode in enumerate(modes)}
            part = part.with_amplitudes(values, std)
        yield part.with_results(
            score=found.get("score"), converged=found["converged"].astype(bool), confidence=found["confidence"]
        )


def _summarise(run: Run, network: Network, table: ParticleTable, columns: dict[str, NDArray[Any]]) -> None:
    summary: dict[str, Any] = {
        "particles": len(table),
        "converged": int(columns["converged"].sum()),
        "median_angle_std_deg": round(float(np.median(columns["angle_std_deg"])), 3),
        "median_shift_std_angst": round(float(np.median(columns["shift_std_angst"])), 3),
    }
    if "refined" in columns:
        count = np.bincount(columns["refined"].astype(int), minlength=4)
        names = ("as_predicted", "polished", "refined", "searched")
        summary |= {name: int(number) for name, number in zip(names, count, strict=True)}
    run.result(**{name: value for name, value in summary.items() if value == value})
    print(
        f"{'mode':>6} {'mean':>10} {'std':>10} {'median error':>13}   (amplitudes in Å of unit-norm modes; RMSD = "
        f"amplitude / {np.sqrt(network.record['n_atoms']):.1f})"
    )
    for column, mode in enumerate(network.modes):
        values, std = columns["amplitudes"][:, column], columns["amplitude_std"][:, column]
        print(f"{mode:>6} {values.mean():>10.2f} {values.std():>10.2f} {np.median(std):>13.2f}")
    print(
        f"{summary['converged']} of {len(table)} with an orientation to trust; angle "
        f"+-{summary['median_angle_std_deg']} degrees, shift +-{summary['median_shift_std_angst']} Å (medians)"
    )
