"""``cflex deephemnma train``: a network that learns from labelled and rendered particles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.io.modes import read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles
from ..core.particles.stack import ImageStack
from ..options.deephemnma import DeephemnmaTrainOptions
from .alignment import largest_shift_px
from .held_out import calibrate_and_write
from .run import Run
from .stopping import asked_to_stop, in_common, stop_as_asked

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..core.deephemnma.learning import Prepared
    from ..core.deephemnma.presets import Preset
    from ..core.training.settings import TrainingSettings


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
    start = None if options.start_from is None else read_checkpoint(Path(options.start_from), "deephemnma")
    preset = _preset(options, None if start is None else start[0])
    source = _source(options, preset, table, wanted)
    full = preset.network == "separate" and options.precision == "auto"
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
        max_shift_px=largest_shift_px(options.max_shift_px, stack),
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
    if start is not None:
        _check_start(Path(str(options.start_from)), start[0], description)
        load_weights(model, start[1], Path(str(options.start_from)))
        description["started_from"] = options.start_from
    if device.type == "cpu" and preset.network == "polar":  # the others are a third slower with it
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
            options=in_common(options, options.particles, options.modes), progress=progress, stop=lambda: bool(stop),
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


def _preset(options: DeephemnmaTrainOptions, start: dict[str, Any] | None) -> Preset:
    """What is asked for; where a network is trained further, what it was trained with, and a third of the rate."""
    from ..core.deephemnma.presets import PRESETS, Preset

    preset = PRESETS[options.preset]
    if start is not None:
        before = Preset.from_dict(start["preset"])
        preset = replace(before, learning_rate=before.learning_rate / 3)
    asked: dict[str, Any] = {
        "batch": options.batch_size,
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "patience": options.patience,
        "network_box": options.network_box,
    }
    return replace(preset, **{name: value for name, value in asked.items() if value is not None})


def _source(options: DeephemnmaTrainOptions, preset: Preset, table: ParticleTable, wanted: tuple[int, ...]) -> str:
    if options.source != "auto":
        return options.source
    from ..core.deephemnma.labels import has_labels

    return preset.source if has_labels(table, wanted) or preset.source == "labelled" else "rendered"


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
