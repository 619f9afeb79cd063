"""What is kept of a structure file, and how residues and chains are told apart."""

import gzip
from collections import Counter

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure

LINE = (
    "{record:<6}{serial:>5} {name:<4}{alt}{residue:>3} {chain}{number:>4}{code}   "
    "{x:8.3f}{y:8.3f}{z:8.3f}{occ:6.2f}{b:6.2f}          {element:>2}\n"
)


def atom(
    name, residue, number, x, *, record="ATOM", chain="A", alt=" ", code=" ", occ=1.0, b=0.0, element="C", serial=1
):
    return LINE.format(
        record=record,
        serial=serial,
        name=name if len(name) == 4 else f" {name:<3}",
        alt=alt,
        residue=residue,
        chain=chain,
        number=number,
        code=code,
        x=x,
        y=0.0,
        z=0.0,
        occ=occ,
        b=b,
        element=element,
    )


def read(tmp_path, *lines, name="test.pdb"):
    path = tmp_path / name
    path.write_text("".join(lines))
    return read_structure(path)


def test_ribosome_keeps_every_residue_of_its_21_chains_named_a(shared_data):
    structure, notes = read_structure(shared_data / "structures/ribosome30S/ribosome.pdb")
    assert (structure.n_atoms, structure.n_residues, notes) == (48_800, 3_763, [])
    assert structure.chain_index[-1] + 1 == 21
    assert set(structure.chain) == {"A"}
    nodes = representation(structure, "ca-p")
    assert Counter(nodes.atom_name.tolist()) == {"CA": 2_353, "P": 1_410}
    assert nodes.weights.sum() == structure.weights.sum()


def test_nucleosome_drops_solvent_and_says_so(shared_data):
    structure, notes = read_structure(shared_data / "structures/nucleosome/1kx5.pdb")
    assert structure.n_residues == 4_416 - 3_148
    assert structure.n_atoms == 13_607
    assert "3130 waters dropped" in notes[0]
    assert "18 ions" in notes[1]
    assert "14 MN" in notes[1]


def test_first_deoxynucleotides_without_phosphate_are_said(shared_data, caplog):
    structure, _ = read_structure(shared_data / "structures/nucleosome/1kx5.pdb")
    with caplog.at_level("INFO"):
        assert len(representation(structure, "ca-p")) == structure.n_residues - 2
    assert "2 DA" in caplog.text


@pytest.mark.parametrize(("name", "chain"), [("mmcif_4ake_scipion.cif", "A"), ("adk_open.pdb", "")])
def test_dialects_agree_with_the_plain_pdb(shared_data, name, chain):
    plain, _ = read_structure(shared_data / "particles/hemnma_reference/4akeA.pdb")
    other, _ = read_structure(shared_data / "structures/adk" / name)
    other = other.take(other.chain == chain)
    assert len(plain) == len(other) == 1_656
    assert (plain.element == other.element).all() or Counter(plain.element) == Counter(other.element)
    assert plain.n_residues == other.n_residues == 214
    if name.endswith(".cif"):
        assert (plain.atom_name == other.atom_name).all()
        np.testing.assert_allclose(plain.coordinates, other.coordinates, atol=1e-3)


def test_chimerax_mmcif_keeps_the_ligand_apart_from_the_chain(shared_data):
    structure, notes = read_structure(shared_data / "structures/adk/mmcif_1ake_chimerax.cif")
    ligand = structure.residue_name == "AP5"
    assert ligand.any()
    assert not set(structure.segment_index[ligand]) & set(structure.segment_index[~ligand])
    assert any("alternative" in note for note in notes)


def test_groel_without_chain_names_or_elements(shared_data):
    apo, notes = read_structure(shared_data / "structures/groel_subunit/groel_apo.pdb")
    assert apo.n_residues == 524
    assert "H" not in set(apo.element)
    assert "931 hydrogens" in notes[0]


def test_model_of_many_is_chosen_and_said(shared_data):
    path = shared_data / "structures/ubiquitin/pdb2k39_ca.pdb"
    first, notes = read_structure(path)
    last, _ = read_structure(path, model=116)
    assert len(first) == len(last) == 76
    assert not np.allclose(first.coordinates, last.coordinates)
    assert "116 models, model 1" in notes[0]
    with pytest.raises(InputError, match="model 117 asked for, found 116"):
        read_structure(path, model=117)


def test_numbering_that_restarts_without_ter_starts_new_residues(tmp_path):
    rows = [
        atom("CA", name, number, x) for x, (name, number) in enumerate([("ALA", 1), ("GLY", 2), ("ALA", 1), ("GLY", 2)])
    ]
    structure, _ = read(tmp_path, *rows)
    assert structure.residue_index.tolist() == [0, 1, 2, 3]
    assert structure.segment_index.tolist() == [0, 0, 1, 1]


def test_ter_separates_chains_of_one_name(tmp_path):
    structure, _ = read(tmp_path, atom("CA", "ALA", 1, 0), "TER\n", atom("CA", "ALA", 2, 4))
    assert structure.chain_index.tolist() == [0, 1]
    assert structure.segment_index.tolist() == [0, 1]


def test_insertion_codes_are_residues_without_a_gap(tmp_path):
    rows = [
        atom("CA", "ALA", 52, 0),
        atom("CA", "ALA", 52, 4, code="A"),
        atom("CA", "ALA", 53, 8),
        atom("CA", "ALA", 55, 12),
    ]
    structure, _ = read(tmp_path, *rows)
    assert structure.residue_index.tolist() == [0, 1, 2, 3]
    assert structure.segment_index.tolist() == [0, 0, 0, 1]
    assert structure.insertion_code.tolist() == ["", "A", "", ""]


def test_highest_occupancy_is_kept(tmp_path):
    rows = [
        atom("CA", "ALA", 1, 0, alt="A", occ=0.3),
        atom("CA", "ALA", 1, 1, alt="B", occ=0.7),
        atom("CB", "ALA", 1, 2, alt="A", occ=0.5),
        atom("CB", "ALA", 1, 3, alt="B", occ=0.5),
    ]
    structure, notes = read(tmp_path, *rows)
    assert structure.coordinates[:, 0].tolist() == [1.0, 2.0]
    assert "2 atoms at alternative places" in notes[0]


def test_of_two_residue_types_at_one_place_the_commoner_stays(tmp_path):
    rows = [
        atom("CA", "SER", 1, 0, alt="A", occ=0.4),
        atom("CA", "THR", 1, 1, alt="B", occ=0.6),
        atom("CA", "GLY", 2, 4),
    ]
    structure, _ = read(tmp_path, *rows)
    assert structure.residue_name.tolist() == ["THR", "GLY"]
    assert structure.n_residues == 2


def test_calcium_is_not_an_alpha_carbon_and_modified_residues_stay(tmp_path):
    rows = [
        atom("CA", "MSE", 1, 0, record="HETATM"),
        atom("SE", "MSE", 1, 1, record="HETATM", element="SE"),
        atom("CA", "CA", 2, 9, record="HETATM", element="CA"),
        atom("O", "HOH", 3, 12, record="HETATM", element="O"),
        atom("C1", "GOL", 4, 15, record="HETATM"),
        atom("C2", "GOL", 4, 16, record="HETATM"),
    ]
    structure, notes = read(tmp_path, *rows)
    assert structure.residue_name.tolist() == ["MSE", "MSE", "GOL", "GOL"]
    assert len(notes) == 2
    assert representation(structure, "ca-p").weights.tolist() == [6 + 34]


def test_pseudoatoms_take_weight_and_width_from_the_file(tmp_path):
    rows = [
        "REMARK fixedGaussian 2.500000\n",
        "REMARK intensityColumn Bfactor\n",
        *[
            f"ATOM  {i:5d} DENS DENS{i:5d}    {i:8.3f}{0:8.3f}{0:8.3f}     1{i / 10:6.2f}      DENS\n"
            for i in range(1, 4)
        ],
    ]
    structure, notes = read(tmp_path, *rows)
    assert structure.sigma == 2.5
    assert structure.weights.tolist() == [0.1, 0.2, 0.3]
    assert structure.n_residues == 3
    assert "3 pseudoatoms" in notes[0]
    assert representation(structure, "ca-p") is structure


def test_more_than_99999_atoms(tmp_path):
    rows = []
    for serial in range(99_990, 100_010):
        row = atom("CA", "ALA", serial % 10_000, serial % 100, serial=min(serial, 99_999))
        rows.append(row if serial < 100_000 else f"ATOM  {serial}{row[11:]}")
    structure, _ = read(tmp_path, *rows)
    assert len(structure) == 20
    assert structure.coordinates[-1, 0] == 9.0


def test_gzip_is_read(shared_data, tmp_path):
    plain = shared_data / "structures/ubiquitin/pdb1ubi.pdb"
    packed = tmp_path / "1ubi.pdb.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(read_structure(packed)[0]) == len(read_structure(plain)[0]) == 602
    packed.write_bytes(packed.read_bytes()[:1000])
    with pytest.raises(InputError, match="gzip file is damaged"):
        read_structure(packed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello world\n", "found no ATOM or HETATM record"),
        (b"\x00\x01\x02" * 100, "binary"),
        (b"data_x\nloop_\n_atom_site.id\n", "mmCIF"),
        (b"data_x\n_cell.length_a 1\n", "no _atom_site"),
        (atom("CA", "ALA", 1, float("nan")).encode(), "line 1: x is nan"),
        (atom("CA", "ALA", 1, 1).replace("   1.000", "   1,000").encode(), "line 1: x is '1,000'"),
        (atom("O", "HOH", 1, 1, record="HETATM", element="O").encode(), "no atom is left"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "broken.pdb"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_structure(path)
    assert "broken.pdb" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_structure(tmp_path / "absent.pdb")
    with pytest.raises(InputError, match="is a directory"):
        read_structure(tmp_path)


def test_trace_without_any_node_is_refused(tmp_path):
    structure, _ = read(tmp_path, atom("C1", "GOL", 4, 15, record="HETATM"), atom("C2", "GOL", 4, 16, record="HETATM"))
    with pytest.raises(InputError, match="--representation all-atom"):
        representation(structure, "ca-p")
