"""Where the inputs of ``cflex space`` are found: particles, modes, conformations and structure of a result."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, REFERENCE_NAME, read_modes, read_reference
from ..core.space.features import CONFORMATIONS_NAME
from ..core.structure.atoms import Structure
from ..core.structure.reader import read_structure
from ..options.files import PARTICLES_FILE, RESULT_FILES
from .run import RECORD_NAME, Run

log = logging.getLogger(__name__)


def find_particles(given: str) -> Path:
    """Find the particle file: what was given, or particles.star (of a network, predictions.star) in a directory."""
    path = Path(given)
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; give a particle file or a result directory")
    if not path.is_dir():
        return path
    inside = next((path / name for name in RESULT_FILES if (path / name).is_file()), None)
    if inside is None:
        raise InputError(f"{path}: holds no {PARTICLES_FILE}; expected the result of a command such as cflex hemnma")
    return inside


def find_conformations(particles: Path, given: str | None = None) -> Path:
    """Find the file with the coordinates or latents of particles."""
    return Path(given) if given else particles.parent / CONFORMATIONS_NAME


def find_modes(folder: Path) -> tuple[Path | None, str | None]:
    """Find the modes of a result, and the structure that they were given with.

    The modes are modes.npz in its directory, or what its run.json names: modes, or the network whose training has them.
    None where there are none.
    """
    if (folder / MODES_NAME).is_file():
        return folder / MODES_NAME, None
    record_path = folder / RECORD_NAME
    if not record_path.is_file():
        return None, None
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        inputs = [Path(path) for path in record.get("inputs", {})]
        named = {name: record["options"].get(name) for name in ("modes", "structure")}
        network = record["options"].get("model")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        log.warning("%s: cannot be read (%s), the modes are not taken from it", record_path, error)
        return None, None
    if (
        not named["modes"]
        and isinstance(network, str)
        and (model := _existing(network, folder, [path.parent for path in inputs])) is not None
    ):
        return find_modes(model) if model.resolve() != folder.resolve() else (None, None)
    modes, structure = (_existing(name, folder, inputs) for name in named.values())
    if isinstance(named["modes"], str) and named["modes"] and modes is None:
        log.warning("%s: names modes %s, which are not there any more; give --modes", record_path, named["modes"])
    return modes, None if structure is None else str(structure)


def _existing(named: Any, folder: Path, inputs: list[Path]) -> Path | None:
    if not isinstance(named, str) or not named:
        return None
    # options keep the path as typed, relative to a folder that may not be the current one; inputs are absolute
    same_name = [path for path in inputs if path.name == Path(named).name]
    return next((path for path in (*same_name, Path(named), folder / named) if path.exists()), None)


def read_modes_and_atoms(
    given: str | None, structure: str | None, folder: Path, run: Run
) -> tuple[NormalModes, Structure] | None:
    """Modes and their atoms: those given, else those of a result directory; None where there are none.

    Parameters
    ----------
    given, structure
        Options ``--modes`` and ``--structure``.
    folder
        Of the particles.
    run
        Notes the inputs.
    """
    path, beside = (Path(given), None) if given else find_modes(folder)
    if path is None:
        return None
    structure = structure or beside
    modes = read_modes(path, structure)
    file = path / MODES_NAME if path.is_dir() else path
    run.add_input(file)
    if structure is None:
        return modes, read_reference(file, modes)
    run.add_input(structure)
    return modes, atoms_of(structure, modes.n_atoms)


def atoms_of(path: str | Path, count: int) -> Structure:
    """Read the structure whose heavy atoms, nodes or records are `count`.

    Raises
    ------
    InputError
        If it has another number.
    """
    from ..core.structure.atoms import representation

    heavy, _ = read_structure(path)
    found = [len(heavy)]
    if len(heavy) == count:
        return heavy
    if not heavy.is_pseudoatomic:
        for make in (lambda: representation(heavy, "ca-p"), lambda: read_structure(path, keep_all=True)[0]):
            try:
                other = make()
            except InputError:
                continue
            if len(other) == count:
                return other
            found.append(len(other))
    raise InputError(
        f"{path}: has {' or '.join(map(str, found))} atoms, expected {count}; give the structure of the conformations"
    )


def read_atoms(structure: str | None, folder: Path, count: int, run: Run) -> Structure | None:
    """Atoms of stored coordinates: ``--structure``, else reference.cif beside the particles; None without either."""
    path = Path(structure) if structure else folder / REFERENCE_NAME
    if structure is None and not path.is_file():
        return None
    run.add_input(path)
    return atoms_of(path, count)
