"""How the example files of this folder were derived from public data; kept for the record, not needed to use them.

Usage: derive_examples.py MMCIF_4AKE DIMS_PSF DIMS_DCD EMPIAR_10028_CTF_NPZ

The inputs are the mmCIF of PDB entry 4AKE, the DIMS trajectory of adenylate kinase as MDAnalysisTests has it
(``adk.psf``, ``adk_dims.dcd``), and the CTF parameters of EMPIAR-10028 as a table (n, 9).
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import gemmi
import numpy as np

FOLDER = Path(__file__).resolve().parent
STRUCTURE, TRAJECTORY, CTF = "adk_4ake_A.pdb", "adk_dims_heavy.dcd", "empiar10028_ctf_2000.npz"
CHAIN = "A"
FRAME_STEP = 2
CTF_ROWS = 2000


def derive_structure(mmcif: str) -> gemmi.Structure:
    """Write the heavy atoms of chain A of 4AKE, waters left out, and return them."""
    structure = gemmi.read_structure(mmcif)
    structure.remove_waters()
    structure.remove_hydrogens()
    for name in [chain.name for chain in structure[0] if chain.name != CHAIN]:
        structure[0].remove_chain(name)
    for atom in structure[0].all():
        atom.atom.b_iso = 0.0
    structure.setup_entities()
    lines = structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True)).splitlines()
    kept = [line for line in lines if line[:6].strip() in ("ATOM", "TER", "END")]
    (FOLDER / STRUCTURE).write_text("\n".join(kept) + "\n", encoding="ascii")
    return structure


def derive_trajectory(structure: gemmi.Structure, psf: str, dcd: str) -> None:
    """Write every second frame with the atoms of the structure, in its order."""
    import MDAnalysis

    warnings.simplefilter("ignore")
    universe = MDAnalysis.Universe(psf, dcd)
    rows = {(int(atom.resid), _pdb_name(atom)): int(atom.index) for atom in universe.atoms}
    keys = [(atom.residue.seqid.num, atom.atom.name) for atom in structure[0].all()]
    missing = [key for key in keys if key not in rows]
    if missing:
        raise SystemExit(f"{psf}: {len(missing)} atoms of the structure are not there, first {missing[0]}")
    selected = np.array([rows[key] for key in keys])
    with MDAnalysis.Writer(str(FOLDER / TRAJECTORY), n_atoms=len(selected)) as writer:
        atoms = universe.atoms[selected]
        for _ in universe.trajectory[::FRAME_STEP]:
            writer.write(atoms)


def derive_ctf(table: str) -> None:
    """Write evenly spaced rows of the CTF table."""
    with np.load(table, allow_pickle=False) as archive:
        rows = archive["ctf"]
    index = np.linspace(0, len(rows) - 1, CTF_ROWS).round().astype(int)
    np.savez_compressed(FOLDER / CTF, ctf=rows[index].astype(np.float32))


def _pdb_name(atom: object) -> str:
    """Name of an atom in the PDB's spelling; the PSF has CHARMM's."""
    name, residue = str(atom.name), str(atom.resname)  # type: ignore[attr-defined]
    if residue == "ILE" and name == "CD":
        return "CD1"
    return {"OT1": "O", "OT2": "OXT"}.get(name, name)


def main(arguments: list[str]) -> int:
    """Write the three files."""
    if len(arguments) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    mmcif, psf, dcd, ctf = arguments
    derive_trajectory(derive_structure(mmcif), psf, dcd)
    derive_ctf(ctf)
    for name in (STRUCTURE, TRAJECTORY, CTF):
        print(f"{(FOLDER / name).stat().st_size:>8} bytes  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
