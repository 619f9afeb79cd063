"""``cflex nma``: normal modes of a structure."""

from __future__ import annotations

import numpy as np

from ..core.dynamics.blocks import residue_blocks
from ..core.dynamics.elastic_network import is_rigid, rigid_cutoff
from ..core.dynamics.modes import NormalModes, normal_modes
from ..core.dynamics.network import check_geometry, percentile_cutoff
from ..core.errors import InputError
from ..core.io.modes import write_modes
from ..core.structure.atoms import Structure, representation
from ..core.structure.reader import read_structure
from ..options.nma import NmaOptions
from .run import Run


def run(options: NmaOptions, run: Run) -> None:
    """Read, compute, write modes.npz, modes.nmd and reference.cif, print the table."""
    with run.stage("read"):
        structure, notes = read_structure(options.structure, options.model)
        run.add_input(options.structure)
        for note in notes:
            run.say(note)
        nodes = representation(structure, options.representation)
    with run.stage("modes"), run.progress("modes", "steps") as progress:
        blocks = _blocks(options, nodes, run)
        cutoff = _cutoff(options, nodes, blocks, run)
        n_modes = _mode_count(options, nodes, blocks, run)
        modes = normal_modes(nodes, blocks, cutoff, n_modes, options.sigma, progress)
    with run.stage("write"):
        write_modes(run.path(""), modes, nodes)
    recommended = modes.indices[modes.collectivity >= options.collectivity_threshold]
    print_table(modes, options.collectivity_threshold)
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


def print_table(modes: NormalModes, threshold: float) -> None:
    """Print one row per mode on stdout."""
    print(f"{'mode':>5} {'eigenvalue':>12} {'collectivity':>12} {'score':>7}  recommended")
    for row in zip(modes.indices, modes.eigenvalues, modes.collectivity, modes.score, strict=True):
        number, eigenvalue, collective, score = row
        mark = "yes" if collective >= threshold else "no"
        print(f"{number:>5} {eigenvalue:>12.5g} {collective:>12.3f} {score:>7.3f}  {mark}")


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
