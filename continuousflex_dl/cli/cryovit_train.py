"""``cflex cryovit train``: learn from particle images how a structure moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.io.blocks import BlockStore
from ..core.io.conformations import CONFORMATIONS_NAME, read_labels
from ..core.io.modes import REFERENCE_NAME, read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles
from ..core.particles.stack import ImageStack
from ..core.space.structures import DisplacedStructures
from ..core.structure.reader import read_structure
from ..core.structure.writer import write_structure
from ..options.cryovit import CryovitTrainOptions
from .cryovit_results import fingerprint_of, fit_block, say_figures, without_results, write_results
from .run import Run
from .stopping import asked_to_stop, in_common, stop_as_asked

if TYPE_CHECKING:
    from ..core.cryovit.presets import Preset
    from ..core.cryovit.reference import FlexibleReference

_BLOCK = 64  # particles that are fitted together


def run_cryovit_train(options: CryovitTrainOptions, run: Run) -> None:
    """Train; write the network, and structures and poses of the particles it was trained on."""
    final = run.path("particles.star")
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        stack = ImageStack(table)
        heavy, notes = read_structure(options.reference)
    for note in notes:
        run.say(note)
    run.add_input(options.particles)
    run.add_input(options.reference)
    if options.supervised is not None and Path(options.supervised).is_file():  # else said when it is read
        run.add_input(options.supervised)

    import torch  # slow to import: bad input is said before it

    from ..core.cryovit.checkpoint import describe, load
    from ..core.cryovit.direct import DirectVit, Supervised
    from ..core.cryovit.fitting import POLISH
    from ..core.cryovit.images import ParticleImages
    from ..core.cryovit.learning import Unsupervised, division
    from ..core.cryovit.model import CryoVit
    from ..core.cryovit.reference import FlexibleReference
    from ..core.devices import keep_freed_memory, resolve_device
    from ..core.precision import product_dtype
    from ..core.training.checkpoint import count_parameters
    from ..core.training.loop import train
    from ..core.training.parallel import group
    from ..core.training.settings import TrainingSettings
    from ..core.training.state import minutes_spent, remove_state

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    torch.set_num_threads(run.threads)
    preset = _preset(options)
    settings = preset.settings
    reference = FlexibleReference.of(heavy, blobs=preset.blobs)
    labels = None if options.supervised is None else _labels(options.supervised, table, len(heavy), reference)
    rows, held = division(len(table), options.validation if settings.encoder == "vit" else 0.0, options.seed)
    if run.place.leads:
        run.claim_output()
        if run.crew is not None:
            run.crew.announce(stage="ready")
    elif run.crew is None or not run.crew.wait_until_ready():
        return
    images = ParticleImages(
        without_results(table) if labels is None else table,
        stack,
        resolution=settings.resolution,
        particle_radius=reference.radius,
        ctf_choice=options.ctf,
        invert_contrast=options.invert_contrast,
        device=device,
    )
    torch.manual_seed(options.seed)
    known = None if labels is None else torch.as_tensor(labels, device=device)
    model: CryoVit | DirectVit
    if settings.direct:
        model = DirectVit(reference, settings, stack.box).to(device)
    else:
        model = CryoVit(reference, settings, stack.box, len(table), labels=known).to(device)
    if isinstance(model, CryoVit) and settings.likelihood == "mse":
        model.fit_scale(images.batch(held[:_BLOCK]))
    batch_size = options.batch_size or int(np.clip(len(rows) // 20, 8, 64))
    per_epoch = max(1, round(len(rows) / (batch_size * run.place.size)))
    steps = per_epoch * (options.epochs or preset.epochs)
    common: dict[str, Any] = {
        "batch_size": batch_size,
        "seed": options.seed,
        "description": describe(settings, images, "unsupervised" if labels is None else "supervised", len(table)),
        "train_rows": rows,
        "validation_rows": held,
        "place": run.place,
    }
    task: Unsupervised | Supervised
    if known is not None and settings.direct:
        structures = known + torch.as_tensor(reference.nodes).to(known)
        task = Supervised(images, structures, **common)
    else:
        task = Unsupervised(
            images,
            resolution=settings.resolution,
            coarse_to_fine=settings.coarse_to_fine,
            steps=steps,
            max_minutes=options.max_minutes,
            minutes_spent=minutes_spent(run.path(".")) if options.resume else 0.0,
            **common,
        )
    schedule = TrainingSettings(
        steps=steps,
        validate_every=max(1, min(steps, max(per_epoch, steps // 10))),
        learning_rate=options.learning_rate or preset.learning_rate,
        warmup_steps=min(per_epoch, steps // 10),
        max_minutes=options.max_minutes,
        seed=options.seed,
        dtype=product_dtype(device, options.precision) if settings.encoder == "vit" else torch.float32,
    )
    run.say(
        f"{len(rows)} particles of {stack.box} px to train on, {len(reference.nodes)} nodes, "
        f"{len(reference.atoms)} atoms, {'known structures, ' if labels is not None else ''}decoder "
        f"{settings.decoder}, encoder {settings.encoder}, {settings.latent} numbers per particle, {steps} steps of "
        f"{batch_size * run.place.size} images, on {device}, {run.threads} thread(s)"
    )
    with (
        group(run.place, device, run.path(".")),
        run.stage("train"),
        run.progress("train", "steps") as progress,
        asked_to_stop() as stop,
    ):
        outcome = train(
            model, task, schedule, run.path("."), device=device, place=run.place, resume=options.resume,
            options=in_common(options, options.particles, options.reference), progress=progress,
            stop=lambda: bool(stop),
        )  # fmt: skip
    if not outcome.finished:
        stop_as_asked(stop)
    if not run.place.leads:
        return
    trained, _ = load(run.path("."), device)
    polish = POLISH if settings.encoder == "vit" and settings.likelihood == "correlation" else ()
    store = BlockStore(run.path("blocks"), len(table), _BLOCK, fingerprint_of(options, [run.path("model.json")]))
    with run.stage("fit"), run.progress("fit", "particles") as progress:
        store.run(lambda first, last: fit_block(trained, images, first, last, polish), threads=1, progress=progress)
    figures = write_results(run, store, table, trained, reference.centre)
    write_structure(run.path(REFERENCE_NAME), reference.structure)
    run.when_recorded(lambda: remove_state(run.path(".")))
    best = outcome.standing.best
    run.result(
        variant=task.description["variant"],
        steps=outcome.standing.step,
        ended=outcome.reason,
        best_step=outcome.standing.best_step,
        training_minutes=round(outcome.standing.minutes, 3),
        parameters=count_parameters(model),
        reference=options.reference,
        validation={name: value for name, value in best.items() if not name.startswith("train_")},
        **figures,
    )
    say_figures(figures)
    print(f"written: {run.path('model.safetensors')}, {final} and {run.path(CONFORMATIONS_NAME)}")


def _preset(options: CryovitTrainOptions) -> Preset:
    from ..core.cryovit.presets import PRESETS

    direct = options.preset == "thesis" and options.supervised is not None
    preset = PRESETS["thesis supervised" if direct else options.preset]
    vit = {"patch": options.patch, "width": options.vit_width}
    asked: dict[str, Any] = {
        "decoder": None if options.decoder == "preset" else options.decoder,
        "encoder": None if options.encoder == "preset" else options.encoder,
        "latent": options.latent_size,
        "beta": options.beta,
        "vit": replace(preset.settings.vit, **{name: value for name, value in vit.items() if value is not None}),
    }
    return replace(
        preset,
        settings=replace(
            preset.settings,
            resolution=options.max_resolution,
            refine_poses=options.refine_poses,
            angle_std=options.angle_std,
            shift_std=options.shift_std,
            spread=options.search_rmsd,
            bond_scale=options.bond_scale,
            clash_std=options.clash_std,
            **{name: value for name, value in asked.items() if value is not None},
        ),
    )


def _labels(path: str, table: ParticleTable, atoms: int, reference: FlexibleReference) -> NDArray[np.float32]:
    """Displacements (n, N, 3) of the nodes from the reference, after superposition on it."""
    from ..core.structure.superpose import superpose

    file = Path(path)
    if file.is_dir() or file.suffix in (".npz", ".nmd", ".xmd"):
        structures = _displaced(path, table, atoms, reference.node_rows)
    else:
        structures = read_labels(path, len(table), atoms, reference.node_rows)
    known = structures - reference.centre.astype(np.float32)
    for row, places in enumerate(known):
        rotation, translation, _ = superpose(places, reference.nodes)
        known[row] = places @ rotation.T + translation - reference.nodes
    return known


def _displaced(path: str, table: ParticleTable, atoms: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Structures (n, N, 3) that the mode amplitudes of the particles make."""
    modes = read_modes(path)
    if not table.amplitudes:
        raise InputError(
            f"{table.source}: --supervised {path} needs the amplitudes of these modes (_cflexModeAmplitude<m>), found "
            "none; give the particles.star of cflex hemnma, or structures (.h5)"
        )
    if modes.n_atoms not in (atoms, len(rows)):
        raise InputError(
            f"{path}: found modes of {modes.n_atoms} atoms, expected the {len(rows)} nodes or the {atoms} heavy atoms "
            "of the reference; give the structure that the modes were computed from"
        )
    numbers = sorted(table.amplitudes)
    amplitudes = np.stack([np.asarray(table.amplitudes[number]) for number in numbers], axis=1)
    structures = DisplacedStructures(modes.select(numbers), amplitudes, rows if modes.n_atoms == atoms else None)
    return np.asarray(structures[:], dtype=np.float32)
