"""``cflex nma``: normal modes of a structure."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from ..core.dynamics.blocks import residue_blocks
from ..core.dynamics.elastic_network import is_rigid, rigid_cutoff
from ..core.dynamics.fluctuation import Fluctuations, fluctuations
from ..core.dynamics.modes import NormalModes, describe_numbers, normal_modes
from ..core.dynamics.network import check_geometry, percentile_cutoff
from ..core.dynamics.tables import FLUCTUATIONS_NAME, OVERLAP_NAME, write_fluctuations, write_overlap
from ..core.dynamics.transition import Transition, transition_to
from ..core.errors import InputError
from ..core.io.modes import write_modes
from ..core.structure.atoms import Structure, representation
from ..core.structure.reader import read_structure
from ..options.nma import NmaOptions
from .run import Run


def run(options: NmaOptions, run: Run) -> None:
    """Read, compute, write the modes and their tables, print the table of modes."""
    with run.stage("read"):
        nodes = _read(options.structure, options.model, options, run)
        target = _read(options.target, 1, options, run) if options.target else None
    # one thread: several would add up in another order, and the bits of the result would depend on their number
    with run.stage("modes"), run.progress("modes", "%") as progress, threadpool_limits(1):
        blocks = _blocks(options, nodes, run)
        cutoff = _cutoff(options, nodes, blocks, run)
        n_modes = _mode_count(options, nodes, blocks, run)
        modes = normal_modes(nodes, blocks, cutoff, n_modes, options.sigma, progress)
    with run.stage("compare"):
        moves = fluctuations(modes, nodes)
        transition = None if target is None else _transition(modes, nodes, target, options)
    with run.stage("write"):
        write_modes(run.path(""), modes, nodes)
        write_fluctuations(run.path(FLUCTUATIONS_NAME), nodes, moves)
        if transition is not None:
            write_overlap(run.path(OVERLAP_NAME), transition)
    recommended = modes.indices[modes.collectivity >= options.collectivity_threshold]
    print_table(modes, options.collectivity_threshold, transition)
    run.result(
        n_atoms=nodes.n_atoms,
        n_residues=nodes.n_residues,
        n_blocks=0 if blocks is None else int(blocks.max()) + 1,
        cutoff_angst=round(cutoff, 4),
        sigma_angst=modes.sigma,
        n_zero_modes=6,
        rmsd_per_amplitude=round(modes.rmsd_per_amplitude, 6),
        modes=[int(number) for number in modes.indices],
        eigenvalues=[float(f"{value:.6g}") for value in modes.eigenvalues],
        collectivity=[round(float(value), 4) for value in modes.collectivity],
        score=[round(float(value), 4) for value in modes.score],
        recommended=[int(number) for number in recommended],
    )
    _say_fluctuations(modes, moves, run)
    if transition is not None:
        _say_transition(transition, options, run)


def print_table(modes: NormalModes, threshold: float, transition: Transition | None = None) -> None:
    """Print one row per mode on stdout."""
    header = f"{'mode':>5} {'eigenvalue':>12} {'collectivity':>12} {'score':>7}"
    rows = [
        f"{number:>5} {eigenvalue:>12.5g} {collective:>12.3f} {score:>7.3f}"
        for number, eigenvalue, collective, score in zip(
            modes.indices, modes.eigenvalues, modes.collectivity, modes.score, strict=True
        )
    ]
    if transition is not None:
        header += f" {'overlap':>8} {'cumulative':>10} {'RMSD left':>9}"
        columns = zip(transition.overlap, transition.cumulative, transition.rmsd_left, strict=True)
        rows = [
            f"{row} {single:>8.3f} {together:>10.3f} {left:>9.2f}"
            for row, (single, together, left) in zip(rows, columns, strict=True)
        ]
    print(f"{header}  recommended")
    for row, collective in zip(rows, modes.collectivity, strict=True):
        print(f"{row}  {'yes' if collective >= threshold else 'no'}")


def _read(path: str, model: int, options: NmaOptions, run: Run) -> Structure:
    structure, notes = read_structure(path, model)
    run.add_input(path)
    for note in notes:
        run.say(note)
    return representation(structure, options.representation)


def _transition(modes: NormalModes, nodes: Structure, target: Structure, options: NmaOptions) -> Transition:
    try:
        return transition_to(modes, nodes, target)
    except InputError as error:
        raise InputError(f"{options.target}: {error}") from None


def _say_transition(found: Transition, options: NmaOptions, run: Run) -> None:
    print(
        f"RMSD to {options.target}: {found.rmsd:.2f} Å over {found.n_matched} of {found.n_atoms} atoms (matched by "
        f"{found.rule}); modes {describe_numbers(found.indices)} leave {found.rmsd_left[-1]:.2f} Å, cumulative overlap "
        f"{found.cumulative[-1]:.3f}"
    )
    run.result(
        target_rmsd_angst=round(found.rmsd, 4),
        target_atoms=found.n_matched,
        overlap=[round(float(value), 4) for value in found.overlap],
        cumulative_overlap=[round(float(value), 4) for value in found.cumulative],
        target_amplitudes_angst=[round(float(value), 3) for value in found.amplitudes],
        rmsd_left_angst=[round(float(value), 4) for value in found.rmsd_left],
    )


def _say_fluctuations(modes: NormalModes, found: Fluctuations, run: Run) -> None:
    if found.comparable:
        numbers = describe_numbers(modes.indices)
        print(f"correlation of the fluctuations in modes {numbers} with the B factors: {found.correlation:.2f}")
    run.result(b_factor_correlation=round(found.correlation, 4) if found.comparable else None)


def _blocks(options: NmaOptions, nodes: Structure, run: Run) -> np.ndarray | None:
    if options.block_size == 0:
        return None
    if nodes.is_pseudoatomic:
        run.say("pseudoatoms have no residues: no rigid blocks (--block-size is not used)")
        return None
    return residue_blocks(nodes, options.block_size)


def _cutoff(options: NmaOptions, nodes: Structure, blocks: np.ndarray | None, run: Run) -> float:
    """Take the cutoff in Å as given, or from the percentile and then raised until the network connects."""
    if options.cutoff_percentile is None:
        return options.cutoff
    check_geometry(nodes.coordinates)
    cutoff = percentile_cutoff(nodes.coordinates, options.cutoff_percentile)
    said = f"cutoff {cutoff:.2f} Å: {options.cutoff_percentile:g}th percentile of the distances to three neighbours"
    if not is_rigid(nodes.coordinates, blocks, cutoff):
        enough = rigid_cutoff(nodes.coordinates, blocks, cutoff)
        if enough is None:
            raise InputError(f"{options.structure}: no cutoff makes a connected network; check the coordinates")
        said += f"; the network is not connected there, raised to {enough:g} Å"
        cutoff = enough
    run.say(said)
    return cutoff


def _mode_count(options: NmaOptions, nodes: Structure, blocks: np.ndarray | None, run: Run) -> int:
    """Count the modes to compute: as asked for, or all there are."""
    degrees = 3 * nodes.n_atoms if blocks is None else 6 * (int(blocks.max()) + 1)
    if options.n_modes > degrees > 6:
        run.say(f"{options.n_modes} modes asked for, the network has {degrees}: all of them are computed")
    return min(options.n_modes, max(degrees, 7))
