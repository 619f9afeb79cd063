"""``cflex simulate``: particle images of known conformations, poses, CTF and noise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.atomic import atomic_path
from ..core.io.modes import read_modes
from ..core.io.mrc import write_stack
from ..core.io.particle_table import CtfParameters, ParticleTable
from ..core.io.particles import write_star
from ..options.files import PARTICLES_FILE
from ..options.simulate import SimulateOptions
from .run import Run

_BLOCK_BYTES = 256 << 20  # of the largest array of a block
_STACK, _TRUTH = "particles.mrcs", "truth.star"


def run(options: SimulateOptions, run: Run) -> None:
    """Draw, project, and write DIR/particles.star, particles.mrcs and truth.star (truth.h5 for an ensemble)."""
    modes = read_modes(options.modes, options.structure)
    run.add_input(options.modes)
    frames, matched = _read_frames(options, run, modes) if options.ensemble else (None, np.arange(modes.n_atoms))
    selected = modes.select(options.use) if frames is None else modes
    weights = modes.weights[matched]

    from ..core.devices import resolve_device
    from ..core.simulation.ctf_rows import constant_ctf, read_ctf_table
    from ..core.simulation.laws import draw_amplitudes
    from ..core.simulation.particles import Drawn, Microscope, draw_poses, simulate_block

    device = resolve_device(options.device)
    run.device = str(device)
    count = options.n_particles
    generator = np.random.default_rng([options.seed, 1])
    amplitudes = frame = None
    if frames is None:
        amplitudes = draw_amplitudes(options.law, count, len(options.use), options.amplitude, generator)
    else:
        frame = generator.integers(len(frames), size=count)
    ctf: CtfParameters | None = None
    if options.ctf_table:
        rows = read_ctf_table(options.ctf_table)
        run.add_input(options.ctf_table)
        ctf = rows.take(generator.integers(len(rows), size=count))
    elif not options.no_ctf:
        ctf = constant_ctf(
            count,
            voltage=options.voltage,
            cs=options.cs,
            amplitude_contrast=options.amplitude_contrast,
            defocus=options.defocus,
        )
    euler, shift = draw_poses(count, options.shift_px * options.pixel_size, options.seed)
    drawn = Drawn(euler, shift, amplitudes, frame)
    microscope = Microscope(
        options.box,
        options.pixel_size,
        options.sigma or modes.sigma,
        None if options.noiseless else options.snr,
        options.phase_flip,
        options.downsample,
    )
    _warn_if_cut(run, modes, microscope, options)

    centre = modes.coordinates.mean(axis=0)

    def structures(index: np.ndarray) -> np.ndarray:
        """Coordinates (k, N, 3) of particles, about the centre of the reference."""
        if frames is not None and drawn.frame is not None:
            return frames[drawn.frame[index]] - centre
        return selected.displace(np.asarray(drawn.amplitudes)[index]) - centre

    size = options.downsample or options.box
    block = max(1, min(256, _BLOCK_BYTES // (8 * len(weights) * (options.box + 1))))
    run.claim_output()
    with (
        run.stage("simulate"),
        run.progress("simulate", "particles") as progress,
        write_stack(run.path(_STACK), count, size, microscope.final_pixel_size) as writer,
    ):
        for first in range(0, count, block):
            index = np.arange(first, min(count, first + block))
            images = simulate_block(
                structures(index),
                weights,
                drawn.euler_deg[index],
                drawn.shift_angst[index],
                None if ctf is None else ctf.take(index),
                microscope,
                _block_seed(options.seed, first // block),
                device,
            )
            writer.append(images)
            progress(int(index[-1]) + 1, count)
    with run.stage("write"):
        names = [f"{number + 1:06d}@{_STACK}" for number in range(count)]
        folder = run.path(_STACK).parent
        table = ParticleTable.create(
            names, microscope.final_pixel_size, folder=folder, box=size, ctf=ctf, phase_flipped=options.phase_flip
        )
        truth = table.with_poses(drawn.euler_deg, drawn.shift_angst)
        if drawn.amplitudes is not None:
            truth = truth.with_amplitudes(
                {number: drawn.amplitudes[:, column] for column, number in enumerate(options.use)}, None
            )
        if drawn.frame is not None:
            truth = truth.with_results(frame=drawn.frame + 1)
            _write_coordinates(run.path("truth.h5"), structures, centre, count, len(weights), matched, block)
        write_star(run.path(_TRUTH), truth)
        write_star(run.path(PARTICLES_FILE), table)
    run.result(
        particles=count,
        box=size,
        pixel_size=microscope.final_pixel_size,
        conformations="ensemble" if frames is not None else options.law,
    )
    print(
        f"{count} particles of {size} px, {microscope.final_pixel_size:g} Å/px, "
        f"{'no noise' if options.noiseless else f'SNR {options.snr:g}'}, {'no CTF' if ctf is None else 'CTF'}"
    )
    print(f"written: {run.path(PARTICLES_FILE)} and {run.path(_TRUTH)}")


def _block_seed(seed: int, block: int) -> int:
    return int(np.random.SeedSequence([seed, 2, block]).generate_state(1, np.uint64)[0]) >> 1


def _read_frames(options: SimulateOptions, run: Run, modes: NormalModes) -> tuple[np.ndarray, np.ndarray]:
    """Frames (F, n, 3) of the ensemble in the reference's frame, and the reference atoms that they hold."""
    from ..core.structure.ensemble import read_ensemble
    from ..core.structure.reader import read_structure

    beside = Path(options.modes).parent / "reference.cif"
    source = options.structure or (str(beside) if beside.exists() else None)
    if source is None:
        raise InputError(
            f"{options.modes}: an ensemble is matched to the reference by atom names, and there is no reference.cif "
            "beside the modes; give --structure"
        )
    reference, _ = read_structure(source)
    if len(reference) != modes.n_atoms:
        raise InputError(
            f"{source}: has {len(reference)} atoms, the modes have {modes.n_atoms}; "
            "give the structure that the modes were computed from"
        )
    with run.stage("ensemble"):
        frames, matched, notes = read_ensemble(options.ensemble, options.topology, reference)
    for note in notes:
        run.say(note)
    run.add_input(options.ensemble)
    return frames, matched


def _warn_if_cut(run: Run, modes: NormalModes, microscope: Any, options: SimulateOptions) -> None:
    reach = float(np.linalg.norm(modes.centred, axis=1).max()) + options.shift_px * options.pixel_size
    half = microscope.box * microscope.pixel_size / 2
    if reach > half:
        run.say(
            f"warning: the particle reaches {reach:.0f} Å from the centre (shifts included), the box {half:.0f} Å; "
            "images may be cut: use a larger --box or --pixel-size"
        )


def _write_coordinates(
    path: Path,
    structures: Callable[[np.ndarray], np.ndarray],
    centre: np.ndarray,
    count: int,
    atoms: int,
    matched: np.ndarray,
    block: int,
) -> None:
    """True coordinates (n, N, 3) in the reference's frame, and which atoms of the reference they are."""
    import h5py

    with atomic_path(path) as temporary, ExitStack() as stack:
        handle = stack.enter_context(h5py.File(temporary, "w", track_order=False))
        data = handle.create_dataset(
            "coordinates", (count, atoms, 3), dtype="f4", chunks=(1, atoms, 3), compression="gzip", compression_opts=1
        )
        handle.create_dataset("atom_index", data=matched.astype(np.int64))
        for first in range(0, count, block):
            index = np.arange(first, min(count, first + block))
            data[first : first + len(index)] = structures(index) + centre
