"""``cflex cryovit infer``: structures and refined poses of particles by a trained Cryo-ViT."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.errors import InputError
from ..core.io.blocks import BlockStore
from ..core.io.conformations import CONFORMATIONS_NAME
from ..core.io.modes import REFERENCE_NAME
from ..core.io.particles import read_particles
from ..core.particles.stack import ImageStack
from ..options.cryovit import CryovitInferOptions
from .cryovit_results import fingerprint_of, fit_block, say_figures, without_results, write_results
from .run import Run
from .shards import run_blocks


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
        store = _infer_store(run, options, folder, len(table))
        if run.crew is not None:
            run.crew.announce(stage="ready")
    elif run.crew is not None and run.crew.wait_until_ready():
        store = _infer_store(run, options, folder, len(table))
    else:
        return
    schedule = () if not options.refine else POLISH if amortised else FROM_SCRATCH
    run.say(f"{len(table)} particles of {stack.box} px on {device}, {run.threads} thread(s)")
    with run.stage("fit"), run.progress("infer", "particles") as progress:
        run_blocks(
            run,
            store,
            lambda first, last: fit_block(model, images, first, last, schedule, encode=amortised),
            progress,
        )
    if not run.place.leads:
        return
    figures = write_results(run, store, table, model, model.projector.centre.cpu().numpy())
    if (folder / REFERENCE_NAME).is_file():
        shutil.copyfile(folder / REFERENCE_NAME, run.path(REFERENCE_NAME))
    run.result(model=options.model, **figures)
    say_figures(figures)
    print(f"written: {final} and {run.path(CONFORMATIONS_NAME)}")


def _infer_store(run: Run, options: CryovitInferOptions, folder: Path, total: int) -> BlockStore:
    fingerprint = fingerprint_of(options, [folder / "model.json"])
    return BlockStore(run.path("blocks"), total, options.batch_size, fingerprint, run.place.rank)
