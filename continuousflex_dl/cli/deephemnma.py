"""``cflex deephemnma train`` and ``cflex deephemnma infer``: amplitudes and poses read off images by a network."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.errors import InputError
from ..core.io.atomic import atomic_path
from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.io.modes import read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles, write_star_parts
from ..core.particles.stack import ImageStack
from ..options.deephemnma import DeephemnmaInferOptions, DeephemnmaTrainOptions
from .run import Run
from .shards import run_blocks
from .stopping import asked_to_stop, stop_as_asked

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..core.deephemnma.learning import Prepared
    from ..core.deephemnma.predict import Network
    from ..core.deephemnma.presets import Preset
    from ..core.training.settings import TrainingSettings

MANY_PROCESSES = True  # training shares each batch among the processes, inference the blocks

HELD_OUT = "held_out.csv"
PREDICTIONS = "predictions.star"
_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device"}
_PORTION = 1 << 13


def run_deephemnma_train(options: DeephemnmaTrainOptions, run: Run) -> None:
    """Train a network; write model.safetensors, model.json, loss.csv, tensorboard/ and held_out.csv."""
    if options.resume and run.path("run.json").exists():
        run.say(f"{run.output} holds a finished training; nothing to do")
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        wanted = _modes_wanted(options, table)
        modes = read_modes(options.modes, options.structure).select(wanted)
        stack = ImageStack(table)
    run.add_input(options.particles)
    run.add_input(options.modes)

    import torch  # slow to import: bad input is said before it

    from ..core.deephemnma.learning import Request, prepare
    from ..core.devices import keep_freed_memory, resolve_device
    from ..core.precision import product_dtype
    from ..core.training.checkpoint import count_parameters, load_weights, read_checkpoint
    from ..core.training.loop import train
    from ..core.training.parallel import group
    from ..core.training.state import remove_state

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    torch.set_num_threads(run.threads)
    preset = _preset(options)
    source = _source(options, table, wanted)
    full = options.preset == "paper" and options.precision == "auto"
    dtype = torch.float32 if full else product_dtype(device, options.precision)
    if not run.place.leads and (run.crew is None or not run.crew.wait_until_ready()):
        return  # all was done already
    request = Request(
        modes=wanted,
        source=source,
        validation=options.validation,
        test=options.test,
        ctf=options.ctf,
        invert=options.invert_contrast,
        symmetry=options.symmetry,
        max_shift_px=options.max_shift_px if options.max_shift_px is not None else stack.box / 8,
        search_rmsd=options.search_rmsd,
        seed=options.seed,
    )
    with run.stage("measure"), run.progress("measure", "particles") as progress:
        prepared = prepare(
            table, stack, modes, preset, request, batch_size=preset.batch, dtype=dtype, device=device, place=run.place,
            threads=run.threads, progress=progress,
        )  # fmt: skip
    if run.place.leads:
        run.claim_output()
        if run.crew is not None:
            run.crew.announce(stage="ready")
    torch.manual_seed(options.seed)
    description = prepared.learning.description
    model: nn.Module = preset.build(
        len(wanted), description["preparation"]["network_box"], description["radius_px"]
    ).to(device)
    if options.start_from is not None:
        record, weights = read_checkpoint(Path(options.start_from), "deephemnma")
        _check_start(Path(options.start_from), record, description)
        load_weights(model, weights, Path(options.start_from))
        description["started_from"] = options.start_from
    if device.type == "cpu":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = _settings(options, preset, prepared, dtype)
    run.say(_what_is_trained(prepared, table, source, count_parameters(model), settings, run))
    with (
        group(run.place, device, run.path(".")),
        run.stage("train"),
        run.progress("train", "steps") as progress,
        asked_to_stop() as stop,
    ):
        outcome = train(
            model, prepared.learning, settings, run.path("."), device=device, place=run.place, resume=options.resume,
            progress=progress, stop=lambda: bool(stop),
        )  # fmt: skip
    if not outcome.finished:
        stop_as_asked(stop)
    if not run.place.leads:
        return
    with run.stage("test"):
        figures = calibrate_and_write(run.path("."), prepared, model, table, dtype)
    run.when_recorded(lambda: remove_state(run.path(".")))
    run.result(
        steps=outcome.standing.step,
        ended=outcome.reason,
        best_step=outcome.standing.best_step,
        training_minutes=round(outcome.standing.minutes, 3),
        parameters=count_parameters(model),
        source=source,
        modes=options.modes,
        errors=figures,
    )
    print(f"{'':>12} {'amplitude':>10} {'angle':>8} {'shift':>8}   (mean errors: Å, degrees, Å)")
    for name, row in figures.items():
        print(f"{name:>12} {row['amplitude_angst']:>10.2f} {row['angle_deg']:>8.2f} {row['shift_angst']:>8.3f}")
    print(f"best after {outcome.standing.best_step} of {outcome.standing.step} steps ({outcome.reason})")
    print(f"written: {run.path('model.safetensors')}")


def _modes_wanted(options: DeephemnmaTrainOptions, table: ParticleTable) -> tuple[int, ...]:
    wanted = options.numbers or tuple(sorted(table.amplitudes))
    if not wanted:
        raise InputError(
            f"{table.source}: found no column _cflexModeAmplitude<m>, expected the amplitudes to learn; give the "
            "particles.star that 'cflex hemnma' writes, or name the modes by --use to train on rendered particles"
        )
    return wanted


def _preset(options: DeephemnmaTrainOptions) -> Preset:
    from dataclasses import replace

    from ..core.deephemnma.presets import PRESETS

    preset = PRESETS[options.preset]
    if options.start_from is not None:
        from ..core.deephemnma.presets import Preset
        from ..core.training.checkpoint import read_checkpoint

        before = Preset.from_dict(read_checkpoint(Path(options.start_from), "deephemnma")[0]["preset"])
        preset = replace(before, learning_rate=before.learning_rate / 3)
    asked: dict[str, Any] = {
        "batch": options.batch_size,
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "patience": options.patience,
        "network_box": options.network_box,
    }
    return replace(preset, **{name: value for name, value in asked.items() if value is not None})


def _source(options: DeephemnmaTrainOptions, table: ParticleTable, wanted: tuple[int, ...]) -> str:
    if options.source != "auto":
        return options.source
    from ..core.deephemnma.presets import PRESETS

    labelled = table.euler_deg is not None and all(mode in table.amplitudes for mode in wanted)
    return PRESETS[options.preset].source if labelled or options.preset == "paper" else "rendered"


def _check_start(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("modes", "radius_px", "box", "network_box", "filtering"):
        first, second = ({**what, **what["preparation"]}[name] for what in (before, now))
        if first != second:
            raise InputError(
                f"{folder}: was trained with {name} {first}, found {second} now; fine-tune on the same, or train anew "
                "without --from"
            )


def _settings(
    options: DeephemnmaTrainOptions, preset: Preset, prepared: Prepared, dtype: torch.dtype
) -> TrainingSettings:
    from ..core.training.settings import TrainingSettings

    per_epoch = max(1, round(prepared.epoch_images / preset.batch))
    steps = per_epoch * preset.epochs
    shared = preset.network == "polar"
    return TrainingSettings(
        steps=steps,
        validate_every=per_epoch,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        decoupled=preset.decoupled,
        schedule=preset.schedule,
        stair_steps=preset.stair_epochs * per_epoch,
        warmup_steps=min(200, steps // 10) if shared else 0,
        clip_norm=1.0 if shared else 0.0,
        average=max(0.0, min(0.99, 1.0 - 50.0 / steps)) if shared else 0.0,
        patience=preset.patience,
        max_minutes=options.max_minutes,
        seed=options.seed,
        dtype=dtype,
    )


def _what_is_trained(
    prepared: Prepared, table: ParticleTable, source: str, parameters: int, settings: TrainingSettings, run: Run
) -> str:
    learning, division = prepared.learning, prepared.division
    preparation = learning.description["preparation"]
    kinds = {"labelled": "labelled particles", "rendered": "rendered particles", "both": "both kinds of particles"}
    particles = (
        f"{len(table)} particles without labels"
        if division is None
        else f"{len(division.training)} particles to train on, {len(division.validation)} to validate, "
        f"{len(division.test)} to test"
        + (f", {prepared.left_out} left out (odd or not converged)" if prepared.left_out else "")
    )
    return (
        f"{particles}; {kinds[source]}, {preparation['network_box']} px for the network, {parameters / 1e6:.1f} "
        f"million weights, {settings.steps} steps of {learning.batch_size * run.place.size} images, {settings.dtype}, "
        f"on {run.device}, {run.threads} thread(s)"
    ).replace("torch.", "")


def calibrate_and_write(
    folder: Path, prepared: Prepared, model: nn.Module, table: ParticleTable, dtype: torch.dtype
) -> dict[str, dict[str, float]]:
    """Calibrate the expected errors on the validation particles, test on others; complete the checkpoint.

    Parameters
    ----------
    folder
        Of the checkpoint; gets held_out.csv as well.
    prepared, model, table, dtype
        Of the training that has ended.

    Returns
    -------
    Mean errors on the particles for validation and for the test, and of the best constant prediction.
    """
    from ..core.deephemnma.objective import constant_like, mean_errors
    from ..core.deephemnma.predict import ErrorScale, Network, predict_batches
    from ..core.training.checkpoint import read_checkpoint, write_checkpoint

    record, _ = read_checkpoint(folder, "deephemnma")
    held, division = prepared.learning.held, prepared.division
    network = Network(model, record, held.device, dtype)
    found, truth = predict_batches(network, held.batches())
    network.errors = ErrorScale.measured(found, truth, prepared.objective)
    found = network.errors.apply(found)
    figures = {"validation": mean_errors(found.labels, truth, prepared.objective)}
    rows = [] if division is None else _held_rows(table, "validation", division.validation, network, found, truth)
    if division is not None and len(division.test):
        found, truth = predict_batches(network, held.batches(division.test))
        figures["test"] = mean_errors(found.labels, truth, prepared.objective)
        rows += _held_rows(table, "test", division.test, network, found, truth)
    constant = mean_errors(constant_like(truth), truth, prepared.objective)
    description = {name: value for name, value in record.items() if name != "weights"}
    description |= {"errors": network.errors.to_dict(), "held_out": figures, "cflex": __version__}
    write_checkpoint(folder, model.state_dict(), description)
    if rows:
        with atomic_path(folder / HELD_OUT) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return {**figures, "constant": constant}


def _held_rows(
    table: ParticleTable, name: str, rows: NDArray[np.int64], network: Network, found: Any, truth: Any
) -> list[dict[str, str]]:
    """Rows of held_out.csv: particle, labels, predictions, and how far apart they are."""
    angle = np.rad2deg(network.objective.angle(found.labels.rotation, truth.rotation).numpy())
    columns: dict[str, NDArray[Any]] = {}
    for column, mode in enumerate(network.modes):
        columns[f"mode{mode}_label"] = truth.amplitudes[:, column].numpy()
        columns[f"mode{mode}"] = found.labels.amplitudes[:, column].numpy()
        if found.amplitude_std is not None:
            columns[f"mode{mode}_std"] = found.amplitude_std[:, column].numpy()
    for axis, letter in enumerate("xy"):
        columns[f"origin_{letter}_label"] = -truth.shift_angst[:, axis].numpy()
        columns[f"origin_{letter}"] = -found.labels.shift_angst[:, axis].numpy()
    columns["angle_error_deg"] = angle
    if found.angle_std is not None:
        columns["angle_std_deg"] = np.rad2deg(found.angle_std.numpy())
    names = [table.image_name[row] for row in rows.tolist()]
    return [
        {"image": image, "set": name, **{key: f"{values[number]:.5g}" for key, values in columns.items()}}
        for number, image in enumerate(names)
    ]


def run_deephemnma_infer(options: DeephemnmaInferOptions, run: Run) -> None:
    """Predict every particle and write predictions.star."""
    final = run.path(PREDICTIONS)
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        run.when_recorded(lambda: shutil.rmtree(run.path("blocks"), ignore_errors=True))
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        stack = ImageStack(table)
    run.add_input(options.particles)

    import torch

    from ..core.deephemnma.particles import Particles
    from ..core.deephemnma.predict import Network, as_arrays
    from ..core.devices import keep_freed_memory, resolve_device
    from ..core.precision import product_dtype

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    torch.set_num_threads(1)  # blocks run side by side
    network = Network.read(Path(options.model), device, product_dtype(device, options.precision))
    for name in ("model.safetensors", "model.json"):
        run.add_input(Path(options.model) / name)
    _check_kept(options, table, network.modes)
    ctf = network.record["ctf"] if options.ctf == "trained" else options.ctf
    particles = Particles(table, stack, network.preparation, ctf, device)
    refinement = _refinement(run, options, table, stack, network, ctf) if options.refine else None
    size = options.batch_size or (32 if options.refine else 1024)
    run.say(
        f"{len(table)} particles of {stack.box} px, modes {','.join(map(str, network.modes))}, {network.dtype}, on "
        f"{device}, {run.threads} thread(s)".replace("torch.", "")
    )
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
    run: Run, options: DeephemnmaInferOptions, table: ParticleTable, stack: ImageStack, network: Network, ctf: str
) -> Callable[[NDArray[np.int64], Arrays], Arrays]:
    from ..core.deephemnma.refine import Effort, Refinement
    from ..core.hemnma.align import Settings
    from ..core.hemnma.pipeline import Hemnma
    from ..core.precision import product_dtype

    modes = read_modes(_modes_file(options), options.structure)
    if modes.n_atoms != network.record["n_atoms"]:
        raise InputError(
            f"{_modes_file(options)}: found {modes.n_atoms} atoms, but the network was trained with modes of "
            f"{network.record['n_atoms']}; give the modes of the training"
        )
    run.add_input(_modes_file(options))
    hemnma = Hemnma(
        table,
        stack,
        modes.select(network.modes),
        Settings(
            max_shift_px=stack.box / 8,
            symmetry=network.record["symmetry"],
            dtype=product_dtype(network.device, options.precision),
        ),
        ctf_choice=ctf,
        invert_contrast=network.preparation.invert,
        device=network.device,
    )
    record = network.record
    with run.stage("calibrate"):
        return Refinement(
            hemnma,
            record["images"]["sigma"],
            record["amplitude_mean"],
            record["amplitude_covariance"],
            Effort(skip_deg=options.refine_above or 0.0, search_deg=options.search_above),
            options.estimate,
        )


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
