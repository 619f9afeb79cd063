"""``cflex rank``: which normal modes the particle images ask for."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..core.dynamics.modes import NormalModes, describe_numbers
from ..core.dynamics.transition import transition_to
from ..core.errors import InputError
from ..core.io.atomic import atomic_path, atomic_text
from ..core.io.modes import read_modes, read_reference
from ..core.io.particles import read_particles
from ..core.particles.stack import ImageStack
from ..core.structure.atoms import representation
from ..core.structure.reader import read_structure
from ..options.rank import RANKED_BY_DEFAULT, RankOptions
from .alignment import hemnma_of
from .run import Run

if TYPE_CHECKING:
    from ..core.hemnma.evidence import ModeEvidence

RANKING_NAME, PICTURE_NAME = "ranking.csv", "ranking.png"
Floats = NDArray[np.float64]


def run(options: RankOptions, run: Run) -> None:
    """Align some images along all modes, write the ranking as table and picture."""
    with run.stage("read"):
        table = read_particles(options.particles, datadir=options.datadir, pixel_size=options.pixel_size)
        all_modes = read_modes(options.modes, options.structure)
        modes = all_modes.select(_chosen(options, all_modes))
        stack = ImageStack(table)
    run.add_input(options.particles)
    run.add_input(options.modes)
    with run.stage("compare"):
        overlap = None if options.target is None else _overlap(options, all_modes, modes, run)

    # torch is slow to import: bad input is said before it
    from ..core.devices import keep_freed_memory, one_core_each, resolve_device
    from ..core.hemnma.evidence import SIGMAS, rank_modes

    keep_freed_memory()
    device = resolve_device(options.device)
    run.device = str(device)
    hemnma = hemnma_of(options, table, stack, modes, all_modes, device, run.threads)
    count = min(options.n_images, len(table))
    run.say(f"modes {describe_numbers(modes.indices)} on {count} of {len(table)} particles of {stack.box} px")
    with run.stage("align"), run.progress("rank", "particles") as progress, one_core_each():
        found = rank_modes(hemnma, count, threads=run.threads, progress=progress)
    with run.stage("write"):
        atomic_text(run.path(RANKING_NAME), _table(found, modes, overlap))
        _draw(found, modes, overlap, run)
    _report(found, modes, overlap, SIGMAS, run)


def _chosen(options: RankOptions, modes: NormalModes) -> list[int]:
    """Numbers of the modes to rank."""
    if options.use != RANKED_BY_DEFAULT:
        return list(options.use)
    there = {int(number) for number in modes.indices}
    return [number for number in options.use if number in there] or sorted(there)[: len(options.use)]


def _overlap(options: RankOptions, all_modes: NormalModes, modes: NormalModes, run: Run) -> Floats:
    """Overlap (M,) of the modes with the way to the target."""
    path = Path(str(options.target))
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a structure or a map")
    from .maps import is_map

    if not is_map(path):
        reference = read_reference(options.modes, all_modes)
        target, _ = read_structure(path)
        run.add_input(path)
        one_per_residue = reference.n_residues == reference.n_atoms
        try:
            return transition_to(
                modes, reference, representation(target, "ca-p") if one_per_residue else target
            ).overlap
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    from ..core.fitting.flexible import fit_modes
    from ..core.fitting.width import own_width
    from ..core.reconstruction.map_files import read_map

    source = read_map(path)
    run.add_input(path)
    if not source.pixel_size > 0:
        raise InputError(f"{path}: its header has no pixel size; write it there")
    with run.progress(f"fit {path.name}", "steps") as progress, threadpool_limits(1):
        try:
            fit = fit_modes(source, modes, own_width(source, modes), progress=progress)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    amplitudes = np.abs(fit.placement.amplitudes)
    run.say(f"{path}: fitted with a correlation of {fit.placement.correlation:.3f}")
    return np.asarray(amplitudes / max(float(np.linalg.norm(amplitudes)), 1e-12))


def _table(found: ModeEvidence, modes: NormalModes, overlap: Floats | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["rank", "mode", "supported", "gain", "gain_error", "mean_angst", "spread_angst", "spread_rmsd_angst"]
    writer.writerow([*header, "collectivity", "eigenvalue", *([] if overlap is None else ["overlap"])])
    for rank, position in enumerate(found.order, start=1):
        numbers = [
            found.gain[position], found.error[position], found.mean[position], found.spread[position],
            found.spread[position] * modes.rmsd_per_amplitude, modes.collectivity[position],
            modes.eigenvalues[position],
        ]  # fmt: skip
        numbers += [] if overlap is None else [overlap[position]]
        writer.writerow(
            [rank, int(modes.indices[position]), int(found.supported[position]), *(f"{value:.6g}" for value in numbers)]
        )
    return text.getvalue()


def _draw(found: ModeEvidence, modes: NormalModes, overlap: Floats | None, run: Run) -> None:
    from .report.ranking import ranking_picture

    with atomic_path(run.path(PICTURE_NAME)) as temporary:
        temporary.write_bytes(ranking_picture(found, modes, overlap).png)


def _report(found: ModeEvidence, modes: NormalModes, overlap: Floats | None, sigmas: float, run: Run) -> None:
    with_overlap = "" if overlap is None else f" {'overlap':>8}"
    print(f"{'mode':>5} {'gain':>8} {'+-':>7} {'spread':>8} {'RMSD':>6} {'collectivity':>12}{with_overlap}  supported")
    for position in found.order:
        print(
            f"{modes.indices[position]:>5} {found.gain[position]:>8.3f} {found.error[position]:>7.3f} "
            f"{found.spread[position]:>8.1f} {found.spread[position] * modes.rmsd_per_amplitude:>6.2f} "
            f"{modes.collectivity[position]:>12.3f}"
            + ("" if overlap is None else f" {overlap[position]:>8.3f}")
            + f"  {'yes' if found.supported[position] else 'no'}"
        )
    print(
        "gain: log-likelihood that an image loses, on average, when the mode is held at rest (images that the "
        f"amplitudes were not learned from); supported: above {sigmas:g} standard errors"
    )
    suggested = [int(modes.indices[position]) for position in found.order if found.supported[position]]
    print(f"suggested: --use {','.join(map(str, sorted(suggested)))}" if suggested else "suggested: no mode at all")
    run.result(
        images=found.images,
        left_out=found.left_out,
        modes=[int(number) for number in modes.indices],
        gain=[round(float(value), 5) for value in found.gain],
        gain_error=[round(float(value), 5) for value in found.error],
        mean_angst=[round(float(value), 3) for value in found.mean],
        spread_angst=[round(float(value), 3) for value in found.spread],
        supported=[bool(value) for value in found.supported],
        suggested=sorted(suggested),
        overlap=None if overlap is None else [round(float(value), 4) for value in overlap],
    )
