"""`cflex nma` on structures as they come: a right answer, or one clear error."""

import csv
import json

import numpy as np
import pytest

from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.writer import write_structure

NETWORK = ("--representation", "ca-p", "--cutoff", "15", "--block-size", "0")


def results(folder):
    return json.loads((folder / "run.json").read_text())["results"]


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def copies(structure, count, step):
    """Many copies side by side, as one structure."""
    moved = [structure.coordinates + step * np.array([k % 3, k // 3 % 3, k // 9]) for k in range(count)]
    tiled = structure.take(np.tile(np.arange(len(structure)), count))
    per_copy = {name: int(getattr(structure, name).max()) + 1 for name in ("residue_index", "chain_index")}
    copy = np.repeat(np.arange(count), len(structure))
    from dataclasses import replace

    return replace(
        tiled,
        coordinates=np.concatenate(moved),
        residue_index=np.tile(structure.residue_index, count) + copy * per_copy["residue_index"],
        chain_index=np.tile(structure.chain_index, count) + copy * per_copy["chain_index"],
        segment_index=np.tile(structure.chain_index, count) + copy * per_copy["chain_index"],
        chain=np.array([f"{chain}{k}" for k in range(count) for chain in structure.chain.tolist()]),
    )


def test_target_makes_a_table(shared_data, tmp_path, cflex):
    adk = shared_data / "structures/adk"
    ended = cflex("nma", adk / "4AKE_A.pdb", "--target", adk / "1AKE_A.pdb", *NETWORK, "-o", tmp_path / "n")
    assert ended.code == 0
    assert "RMSD to" in ended.out
    assert "7.13 Å over 214 of 214 atoms" in ended.out
    rows = table(tmp_path / "n/overlap.csv")
    assert [int(row["mode"]) for row in rows] == list(range(7, 21))
    assert float(rows[0]["overlap"]) == pytest.approx(0.80, abs=0.01)
    assert float(rows[2]["cumulative_overlap"]) == pytest.approx(0.85, abs=0.01)
    found = results(tmp_path / "n")
    assert found["cumulative_overlap"][9] == pytest.approx(0.966, abs=0.01)
    assert found["rmsd_left_angst"] == sorted(found["rmsd_left_angst"], reverse=True)
    # the amplitudes lead to the target
    modes = read_modes(tmp_path / "n")
    moved = modes.displace(found["target_amplitudes_angst"])
    from continuousflex_dl.core.structure.atoms import representation
    from continuousflex_dl.core.structure.superpose import superpose

    end = representation(read_structure(adk / "1AKE_A.pdb")[0], "ca-p")
    assert superpose(moved, end.coordinates)[2] <= found["rmsd_left_angst"][-1] + 1e-3


def test_target_that_is_another_molecule_is_refused(shared_data, tmp_path, refused):
    structures = shared_data / "structures"
    target = structures / "ubiquitin/pdb1ubi.pdb"
    line = refused("nma", structures / "adk/4AKE_A.pdb", "--target", target, *NETWORK, "-o", tmp_path / "n")
    assert "pdb1ubi.pdb" in line
    assert "same molecule" in line


def test_fluctuations_name_the_residues(shared_data, tmp_path, cflex):
    ended = cflex("nma", shared_data / "structures/ubiquitin/pdb1ubi.pdb", *NETWORK, "-o", tmp_path / "n")
    assert "with the B factors: 0." in ended.out
    rows = table(tmp_path / "n/fluctuations.csv")
    assert len(rows) == 76
    assert (rows[0]["residue_name"], rows[0]["residue"], rows[0]["atom"]) == ("MET", "1", "CA")
    assert float(rows[0]["b_in_file"]) > 0
    assert float(rows[0]["b_predicted"]) > 0


def test_protein_and_dna_of_a_nucleosome(shared_data, tmp_path, cflex):
    ended = cflex("nma", shared_data / "structures/nucleosome/1kx5.pdb", "--n-modes", "12", "-o", tmp_path / "n")
    assert ended.code == 0
    assert "3130 waters dropped" in ended.err
    assert "ions of a single atom dropped" in ended.err
    found = results(tmp_path / "n")
    # the reference program for rigid blocks needs 12 GiB here; these are those of SciPy on the projected matrix
    assert found["n_zero_modes"] == 6
    assert found["eigenvalues"][:3] == pytest.approx([5.53148e-4, 1.72749e-3, 3.66226e-3], rel=1e-4)


def test_two_molecules_apart_name_the_connecting_cutoff(shared_data, tmp_path, refused):
    one, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    write_structure(tmp_path / "two.cif", copies(one, 2, 60.0))
    line = refused("nma", tmp_path / "two.cif", "-o", tmp_path / "n")
    assert "disconnected (2 parts)" in line
    assert "give --cutoff" in line


@pytest.mark.slow
def test_more_than_100_000_atoms(shared_data, tmp_path, cflex):
    one, _ = read_structure(shared_data / "structures/nucleosome/1kx5.pdb")
    many = copies(one, 8, 96.0)  # neighbours touch
    assert len(many) > 100_000
    write_structure(tmp_path / "many.cif", many)
    again, _ = read_structure(tmp_path / "many.cif")
    assert len(again) == len(many)
    assert again.n_residues == many.n_residues
    ended = cflex("nma", tmp_path / "many.cif", "--cutoff", "10", "-o", tmp_path / "n")
    assert ended.code == 0, ended.err
    assert results(tmp_path / "n")["n_atoms"] == len(many)


def pdb_line(serial, name, residue, number, place, altloc=" ", occupancy=1.0, element="C", record="ATOM  "):
    x, y, z = place
    return (
        f"{record}{serial:5d} {name:<4}{altloc}{residue:>3} A{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}"
        f"{10.0:6.2f}          {element:>2}\n"
    )


@pytest.fixture
def helix():
    """CA places of an ideal helix of 40 residues."""
    turn = np.radians(100) * np.arange(40)
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(40)], axis=1)


def backbone(places, skip=()):
    """N, CA and C of each residue; `skip` residues have no CA."""
    lines, serial = [], 0
    for number, place in enumerate(places, start=1):
        for name, shift, element in (("N", -0.9, "N"), ("CA", 0.0, "C"), ("C", 0.9, "C")):
            if name == "CA" and number in skip:
                continue
            serial += 1
            spread = [0.3 * shift, shift**2 - 0.4, shift]
            lines.append(pdb_line(serial, f" {name}", "ALA", number, place + spread, element=element))
    return lines


def test_alternative_places_count_once(helix, tmp_path, cflex):
    lines = backbone(helix)
    extra = [pdb_line(900, " CA", "ALA", 5, helix[4] + 0.5, altloc="B", occupancy=0.3)]
    first = [
        line[:16] + "A" + line[17:54] + "  0.70" + line[60:] if " CA  ALA A   5" in line else line for line in lines
    ]
    (tmp_path / "a.pdb").write_text("".join(lines))
    (tmp_path / "b.pdb").write_text("".join(first[:14] + extra + first[14:]))
    for name in "ab":
        assert cflex("nma", tmp_path / f"{name}.pdb", *NETWORK, "-o", tmp_path / name).code == 0
    assert results(tmp_path / "a")["eigenvalues"] == results(tmp_path / "b")["eigenvalues"]


def test_residues_without_ca_are_left_out_and_said(helix, tmp_path, cflex, caplog):
    (tmp_path / "a.pdb").write_text("".join(backbone(helix, skip=(7, 20))))
    with caplog.at_level("INFO"):
        ended = cflex("nma", tmp_path / "a.pdb", *NETWORK, "-o", tmp_path / "n")
    assert ended.code == 0
    assert results(tmp_path / "n")["n_atoms"] == 38
    assert "2 residues have no CA or P" in caplog.text + ended.err


def test_ligands_move_with_the_protein(helix, tmp_path, cflex):
    ligand = [
        pdb_line(500 + k, f"C{k}", "LIG", 101, helix[20] + [5, 1.2 * k, 0.5 * k**2], record="HETATM") for k in range(5)
    ]
    (tmp_path / "a.pdb").write_text("".join(backbone(helix) + ligand))
    assert cflex("nma", tmp_path / "a.pdb", "-o", tmp_path / "n", "--block-size", "4").code == 0
    assert results(tmp_path / "n")["n_atoms"] == 125


def test_one_of_several_models_is_chosen(shared_data, tmp_path, cflex, refused):
    ensemble = shared_data / "structures/ubiquitin/pdb2k39_ca.pdb"
    values = {}
    for model in ("1", "7"):
        ended = cflex("nma", ensemble, *NETWORK, "--model", model, "-o", tmp_path / model)
        assert ended.code == 0
        assert f"holds 116 models, model {model} is taken" in ended.err
        values[model] = results(tmp_path / model)["eigenvalues"]
    assert values["1"] != values["7"]
    assert "--model between 1 and 116" in refused("nma", ensemble, "--model", "117", "-o", tmp_path / "n")


def test_result_does_not_depend_on_the_number_of_threads(shared_data, tmp_path, cflex):
    structure = shared_data / "structures/adk/4AKE_A.pdb"
    for threads in ("1", "2"):
        assert cflex("nma", structure, "--threads", threads, "-o", tmp_path / threads).code == 0
    assert (tmp_path / "1/modes.npz").read_bytes() == (tmp_path / "2/modes.npz").read_bytes()
