"""Conformations of one molecule: multi-model files and molecular-dynamics trajectories, brought onto a reference."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, MissingDependencyError, NonFiniteError
from .atoms import Structure, dense_index
from .reader import read_models, weight_of_names
from .superpose import match_atoms, superpose

_TRAJECTORY_SUFFIXES = (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".crd", ".mdcrd")
_HYDROGEN_MASS = 2.5  # below: hydrogen or deuterium


def read_ensemble(
    path: str | os.PathLike[str], topology: str | os.PathLike[str] | None, reference: Structure
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read conformations and superpose each on the reference by least squares.

    Parameters
    ----------
    path
        A PDB or mmCIF file with several models, or a trajectory (DCD, XTC, TRR ...).
    topology
        PSF, PDB ... that names the atoms of a trajectory; None for a file with models.
    reference
        The structure to match the atoms with (`superpose.match_atoms`) and to superpose on.

    Returns
    -------
    frames
        (F, N_matched, 3) Å, in the frame of `reference`.
    index
        (N_matched,) atoms of `reference` that the columns of `frames` belong to, ascending.
    notes
        What was matched and what was left out, one sentence each.

    Raises
    ------
    InputError
        If a file cannot be read or the molecule is not that of the reference.
    MissingDependencyError
        If MDAnalysis is needed and not installed.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{file}: no such file; expected a multi-model PDB or mmCIF, or a trajectory (DCD, XTC)")
    if file.suffix.lower() in _TRAJECTORY_SUFFIXES:
        atoms, selected, universe = _open_trajectory(file, topology)
        index, columns, notes = _match(file, reference, atoms)
        rows = selected[columns]
        raw = np.array([step.positions[rows] for step in universe.trajectory], dtype=np.float64)
    else:
        models, notes = read_models(file)
        index, columns, match_notes = _match(file, reference, models[0])
        notes = notes + match_notes
        raw = np.array([_model_coordinates(file, k, model, models[0])[columns] for k, model in enumerate(models)])
    return _superposed(file, raw, reference.coordinates[index]), index, notes


def _match(path: Path, reference: Structure, atoms: Structure) -> tuple[np.ndarray, np.ndarray, list[str]]:
    try:
        match = match_atoms(reference, atoms)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    note = f"{path.name}: {len(match.first)} atoms matched by {match.rule}"
    if match.unmatched_first or match.unmatched_second:
        note += f"; dropped {match.unmatched_first} atoms of the reference and {match.unmatched_second} of the ensemble"
    return match.first, match.second, [note]


def _model_coordinates(path: Path, position: int, model: Structure, first: Structure) -> np.ndarray:
    same = len(model) == len(first) and (model.atom_name == first.atom_name).all()
    if not (same and (model.residue_name == first.residue_name).all()):
        raise InputError(
            f"{path}: model {position + 1} has {len(model)} atoms, model 1 has {len(first)} or other names; expected "
            "the same atoms in the same order in every model"
        )
    return model.coordinates


def _superposed(path: Path, frames: np.ndarray, target: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
    if len(bad):
        raise NonFiniteError(f"{path}: frame {bad[0] + 1} has a coordinate that is not finite; repair the trajectory")
    if not len(frames):
        raise InputError(f"{path}: found no frame, expected at least one")
    placed = np.empty_like(frames)
    for position, frame in enumerate(frames):
        rotation, translation, _ = superpose(frame, target)
        placed[position] = frame @ rotation.T + translation
    return placed


def _open_trajectory(path: Path, topology: str | os.PathLike[str] | None) -> tuple[Structure, np.ndarray, Any]:
    """Heavy atoms of a trajectory as a structure, their rows in it, and the MDAnalysis universe."""
    if topology is None:
        raise InputError(f"{path}: a trajectory does not name its atoms; give its PSF or PDB with --topology")
    if not Path(topology).exists():
        raise InputError(f"{topology}: no such file; expected the topology (PSF, PDB ...) of {path}")
    try:
        import MDAnalysis
    except ImportError:
        raise MissingDependencyError(
            f"{path}: reading a trajectory needs MDAnalysis, which is not installed; install it: "
            'pip install "scipion-em-continuousflex-dl[trajectories]", or give a multi-model PDB or mmCIF'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing masses and cells of a CA topology are not needed
            universe = MDAnalysis.Universe(os.fspath(topology), os.fspath(path))
    except (OSError, ValueError, EOFError, IndexError, TypeError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"{path} with topology {topology}: cannot be read as a trajectory ({message})") from None
    return (*_heavy_atoms(universe), universe)


def _heavy_atoms(universe: Any) -> tuple[Structure, np.ndarray]:
    atoms = universe.atoms
    names = [str(name) for name in atoms.names]
    hydrogen = weight_of_names(names) == 1
    if hasattr(atoms, "masses") and (np.asarray(atoms.masses) > 0).all():
        hydrogen = np.asarray(atoms.masses) < _HYDROGEN_MASS
    selected = np.flatnonzero(~hydrogen)
    n_atoms = len(atoms)

    def attribute(name: str, default: object) -> np.ndarray:
        values = getattr(atoms, name, None)
        return (np.full(n_atoms, default) if values is None else np.asarray(values))[selected]

    chain = attribute("chainIDs", "").astype(str)
    if not (chain != "").all():
        chain = attribute("segids", "").astype(str)
    residue = dense_index(attribute("resindices", 0))
    chain_index = dense_index(chain)
    weights = weight_of_names(names)[selected]
    return Structure(
        coordinates=np.zeros((len(selected), 3)),
        element=np.full(len(selected), "X"),
        atom_name=np.array(names)[selected],
        residue_name=attribute("resnames", "").astype(str),
        residue_number=attribute("resids", 0).astype(np.int64),
        insertion_code=attribute("icodes", "").astype(str),
        chain=chain,
        residue_index=residue,
        chain_index=chain_index,
        segment_index=chain_index,
        b_factor=np.zeros(len(selected)),
        occupancy=np.ones(len(selected)),
        weights=weights,
        hetero=np.zeros(len(selected), dtype=bool),
    ), selected
