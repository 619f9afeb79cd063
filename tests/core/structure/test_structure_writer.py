"""What is written is read back as it was."""

import gemmi
import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.atoms import nameless
from continuousflex_dl.core.structure.reader import read_models, read_structure
from continuousflex_dl.core.structure.writer import write_structure

FIELDS = (
    "element",
    "atom_name",
    "residue_name",
    "residue_number",
    "insertion_code",
    "chain",
    "residue_index",
    "chain_index",
    "segment_index",
    "weights",
    "hetero",
)


@pytest.mark.parametrize(
    "name",
    ["structures/adk/mmcif_1ake_chimerax.cif", "structures/nucleosome/1kx5.pdb", "structures/ribosome30S/ribosome.pdb"],
)
@pytest.mark.parametrize("suffix", [".cif", ".pdb"])
def test_round_trip(shared_data, tmp_path, name, suffix):
    structure, _ = read_structure(shared_data / name)
    write_structure(tmp_path / f"copy{suffix}", structure)
    copy, _ = read_structure(tmp_path / f"copy{suffix}")
    for field in FIELDS:
        assert (getattr(copy, field) == getattr(structure, field)).all(), field
    np.testing.assert_allclose(copy.coordinates, structure.coordinates, atol=5e-4)


@pytest.mark.parametrize("suffix", [".cif", ".pdb"])
def test_several_models_and_an_independent_reader(shared_data, tmp_path, suffix):
    structure, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    frames = structure.coordinates + np.arange(3)[:, None, None]
    path = tmp_path / f"movie{suffix}"
    write_structure(path, structure, frames)
    models, _ = read_models(path)
    np.testing.assert_allclose([model.coordinates for model in models], frames, atol=5e-4)
    independent = gemmi.read_structure(str(path))
    assert len(independent) == 3
    assert independent[2].count_atom_sites() == len(structure)
    assert {residue.name for residue in independent[0][0]} == set(structure.residue_name)


@pytest.mark.parametrize("suffix", [".cif", ".pdb"])
def test_pseudoatoms_keep_weight_and_width(tmp_path, suffix):
    from dataclasses import replace

    points = np.random.default_rng(1).normal(size=(5, 3))
    structure = replace(nameless(points, np.arange(1, 6) / 10), sigma=2.25)
    write_structure(tmp_path / f"pseudo{suffix}", structure)
    copy, _ = read_structure(tmp_path / f"pseudo{suffix}")
    assert copy.sigma == 2.25
    np.testing.assert_allclose(copy.weights, structure.weights)


def test_what_does_not_fit_is_refused_and_leaves_no_file(tmp_path):
    structure = nameless(np.zeros((100_001, 3)), np.ones(100_001))
    with pytest.raises(InputError, match=r"100001 atoms.*write mmCIF"):
        write_structure(tmp_path / "big.pdb", structure)
    small = nameless(np.full((4, 3), np.nan), np.ones(4))
    with pytest.raises(InputError, match="not finite"):
        write_structure(tmp_path / "nan.cif", small)
    with pytest.raises(InputError, match=r"cannot write \.xyz"):
        write_structure(tmp_path / "a.xyz", nameless(np.zeros((4, 3)), np.ones(4)))
    assert list(tmp_path.iterdir()) == []
