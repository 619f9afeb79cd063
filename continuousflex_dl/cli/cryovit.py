"""``cflex cryovit train`` and ``cflex cryovit infer``: one structure per particle image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.io.conformations import CONFORMATIONS_NAME, read_labels, write_conformations
from ..core.io.modes import REFERENCE_NAME, read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles, write_star_parts
from ..core.particles.stack import ImageStack
from ..core.space.structures import DisplacedStructures
from ..core.structure.reader import read_structure
from ..core.structure.writer import write_structure
from ..options.cryovit import CryovitInferOptions, CryovitTrainOptions
from .run import Run
from .shards import run_blocks
from .stopping import asked_to_stop, stop_as_asked

if TYPE_CHECKING:
    from ..core.cryovit.direct import DirectVit
    from ..core.cryovit.images import ParticleImages
    from ..core.cryovit.model import CryoVit
    from ..core.cryovit.presets import Preset
    from ..core.cryovit.reference import FlexibleReference

MANY_PROCESSES = True  # training shares each batch among the processes, the fitting of particles their blocks

_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device"}
_PORTION = 1 << 12
_OWN_BLOCK = 64  # particles
_CENSUS = 2000  # particles whose latents and structures are judged


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
    from ..core.training.state import remove_state

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    torch.set_num_threads(run.threads)
    preset = _preset(options)
    settings = preset.settings
    reference = FlexibleReference.of(heavy, ride=preset.ride)
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
        task = Supervised(images, known + torch.as_tensor(reference.nodes).to(known), **common)
    else:
        task = Unsupervised(
            images,
            resolution=settings.resolution,
            coarse_to_fine=settings.coarse_to_fine,
            steps=steps,
            max_minutes=options.max_minutes,
            **common,
        )
    schedule = TrainingSettings(
        steps=steps,
        validate_every=max(1, min(steps, max(per_epoch, steps // 10))),
        learning_rate=options.learning_rate or preset.learning_rate,
        warmup_steps=min(20, steps // 10),
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
            progress=progress, stop=lambda: bool(stop),
        )  # fmt: skip
    if not outcome.finished:
        stop_as_asked(stop)
    if not run.place.leads:
        return
    trained, _ = load(run.path("."), device)
    polish = POLISH if settings.encoder == "vit" and settings.likelihood == "correlation" else ()
    store = BlockStore(run.path("blocks"), len(table), _OWN_BLOCK, _fingerprint(options, [run.path("model.json")]))
    with run.stage("fit"), run.progress("fit", "particles") as progress:
        store.run(lambda first, last: _fit(trained, images, first, last, polish), threads=1, progress=progress)
    figures = _write(run, store, table, trained, reference.centre)
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
    _say(figures)
    print(f"written: {run.path('model.safetensors')}, {final} and {run.path(CONFORMATIONS_NAME)}")


def run_cryovit_infer(options: CryovitInferOptions, run: Run) -> None:
    """Fit particles with a trained network; write particles.star and conformations.h5."""
    final = run.path("particles.star")
    if options.resume and final.exists() and run.path("run.json").exists():
        run.say(f"{final} is complete; nothing to do")
        return
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        stack = ImageStack(table)
    run.add_input(options.particles)

    from ..core.cryovit.checkpoint import load, refuse_other_images
    from ..core.cryovit.fitting import FROM_SCRATCH, POLISH
    from ..core.cryovit.images import ParticleImages
    from ..core.devices import keep_freed_memory, resolve_device

    keep_freed_memory()
    device = resolve_device(options.device, run.place.local_rank)
    run.device = str(device)
    folder = Path(options.model)
    model, description = load(folder, device)
    run.add_input(folder / "model.json")
    refuse_other_images(description, table, stack.box, folder)
    amortised = model.settings.encoder == "vit"
    if not options.refine and not amortised:
        raise InputError(
            f"--no-refine: the network in {folder} has no encoder, every image has to be fitted; leave it out, or "
            "train with --encoder vit"
        )
    images = ParticleImages(
        without_results(table),
        stack,
        resolution=model.settings.resolution,
        particle_radius=float(model.projector.atoms.norm(dim=-1).max()),
        ctf_choice=description["ctf"] if options.ctf == "trained" else options.ctf,
        invert_contrast=description["invert_contrast"],
        device=device,
    )
    if run.place.leads:
        run.claim_output()
        store = _infer_store(run, options, folder)
        if run.crew is not None:
            run.crew.announce(stage="ready")
    elif run.crew is not None and run.crew.wait_until_ready():
        store = _infer_store(run, options, folder)
    else:
        return
    schedule = () if not options.refine else POLISH if amortised else FROM_SCRATCH
    run.say(f"{len(table)} particles of {stack.box} px on {device}, {run.threads} thread(s)")
    with run.stage("fit"), _one_thread_per_block(), run.progress("infer", "particles") as progress:
        run_blocks(
            run,
            store,
            lambda first, last: _fit(model, images, first, last, schedule, encode=amortised),
            progress,
        )
    if not run.place.leads:
        return
    figures = _write(run, store, table, model, model.projector.centre.cpu().numpy())
    if (folder / REFERENCE_NAME).is_file():
        shutil.copyfile(folder / REFERENCE_NAME, run.path(REFERENCE_NAME))
    run.result(model=options.model, **figures)
    _say(figures)
    print(f"written: {final} and {run.path(CONFORMATIONS_NAME)}")


def without_results(table: ParticleTable) -> ParticleTable:
    """The particles without what has been estimated of their conformations: nothing to learn from by accident."""
    labels = [label for label in table.particles.labels if label.lower().startswith("cflex")]
    return ParticleTable(table.source, table.particles.without(labels), table.optics, table.locations)


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


def _fit(
    model: CryoVit | DirectVit, images: ParticleImages, first: int, last: int, schedule: Any, *, encode: bool = True
) -> Arrays:
    from ..core.cryovit.direct import DirectVit, predict
    from ..core.cryovit.fitting import fit

    rows = np.arange(first, last)
    found = (
        predict(model, images, rows)
        if isinstance(model, DirectVit)
        else fit(model, images, rows, schedule, encode=encode)
    )
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _fingerprint(options: Any, files: list[Path]) -> dict[str, Any]:
    values = {key: value for key, value in options.model_dump(mode="json").items() if key not in _HARMLESS}
    return {**values, **{path.name: path.read_text(encoding="utf-8") for path in files}, "cflex": __version__}


def _infer_store(run: Run, options: CryovitInferOptions, folder: Path) -> BlockStore:
    total = len(read_particles(options.particles, options.datadir, options.pixel_size, check_images=False))
    fingerprint = _fingerprint(options, [folder / "model.json"])
    return BlockStore(run.path("blocks"), total, options.batch_size, fingerprint, run.place.rank)


def _write(
    run: Run, store: BlockStore, table: ParticleTable, model: CryoVit | DirectVit, centre: NDArray[np.float64]
) -> dict[str, Any]:
    """Write particles and conformations; figures about both."""
    from ..core.cryovit.diagnostics import latent_dependence
    from ..core.cryovit.structure_terms import sanity

    scores, some = [], []
    every = max(1, len(table) // _CENSUS)

    def portions() -> Iterator[tuple[int, int, Arrays]]:
        yield from store.portions(_PORTION)

    with run.stage("write"):
        write_conformations(
            run.path(CONFORMATIONS_NAME),
            ((found["coordinates"] + centre, found["latent"]) for _, _, found in portions()),
            len(table),
            model.projector.node_rows.cpu().numpy(),
        )

        def parts() -> Iterator[ParticleTable]:
            for first, last, found in portions():
                scores.append(found["score"])
                keep = np.arange(first, last) % every == 0
                some.append({name: values[keep] for name, values in found.items()})
                posed = table.rows(first, last).with_poses(found["euler_deg"], found["shift_angst"])
                yield posed.with_results(score=found["score"])

        write_star_parts(run.path("particles.star"), parts())
        judged = {name: np.concatenate([part[name] for part in some]) for name in some[0]}
        ctf = table.ctf
        defocus = None if ctf is None else 0.5 * (ctf.defocus_u_angst + ctf.defocus_v_angst)[::every]
        dependence = latent_dependence(judged["latent"], judged["euler_deg"], defocus)
        nodes, chain = model.terms.nodes.cpu().double().numpy(), model.terms.chain.cpu().numpy()
        physics = {
            name: round(value, 4)
            for name, value in asdict(sanity(judged["coordinates"], nodes, chain)).items()
            if np.isfinite(value)
        }
        moved = judged["coordinates"] - judged["coordinates"].mean(0)
        figures = {
            "particles": len(table),
            "median_score": round(float(np.median(np.concatenate(scores))), 4),
            "rmsd_from_mean_angst": round(float(np.sqrt((moved**2).sum(-1).mean())), 3),
            "sigma_angst": round(float(model.projector.sigma.detach()), 3),
            "latent_correlation": dependence,
            "structures": physics,
        }
        atomic_text(run.path("diagnostics.json"), _json(figures))
    run.when_recorded(store.remove)
    return figures


def _json(figures: dict[str, Any]) -> str:
    import json

    return json.dumps(figures, indent=2, allow_nan=False) + "\n"


def _say(figures: dict[str, Any]) -> None:
    physics, dependence = figures["structures"], figures["latent_correlation"]
    print(
        f"{figures['particles']} particles, median score {figures['median_score']}, structures "
        f"{figures['rmsd_from_mean_angst']} Å (RMSD) from their mean"
    )
    if "backbone" in physics:
        print(
            f"neighbouring nodes within 0.4 Å of 3.8 Å: {100 * physics['backbone']:.1f} % (reference "
            f"{100 * physics['reference_backbone']:.1f} %); clashes per structure {physics['clashes']:.2f} (reference "
            f"{physics['reference_clashes']:.0f})"
        )
    for name, values in dependence.items():
        print(f"correlation of the latent with {name} (0 is good): {', '.join(f'{value:.2f}' for value in values)}")


class _one_thread_per_block:  # noqa: N801  (reads as a word of the with statement)
    """Blocks run side by side, each on one core: the result is then the same whatever the number of threads."""

    def __enter__(self) -> None:
        import torch

        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_num_threads(self._threads)
