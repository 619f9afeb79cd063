"""Trajectories and multi-model files come out matched and superposed on the reference."""

import sys

import numpy as np
import pytest

from continuousflex_dl.core.dynamics.blocks import residue_blocks
from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.errors import InputError, MissingDependencyError
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.ensemble import read_ensemble
from continuousflex_dl.core.structure.reader import read_structure


@pytest.fixture(scope="module")
def adk(shared_data):
    return read_structure(shared_data / "particles/hemnma_reference/4akeA.pdb")[0]


@pytest.fixture(scope="module")
def dims(shared_data):
    folder = shared_data / "trajectories/adk_dims"
    return folder / "adk_dims.dcd", folder / "adk.psf"


def test_dims_path_in_the_span_of_the_modes(adk, dims):
    pytest.importorskip("MDAnalysis")
    frames, index, notes = read_ensemble(*dims, adk)
    assert frames.shape == (98, 1_656, 3)
    assert (index == np.arange(1_656)).all()
    assert "chain names differ" in notes[-1]
    displacement = (frames - adk.coordinates).reshape(98, -1)
    rmsd = np.linalg.norm(displacement, axis=1) / np.sqrt(1_656)
    assert rmsd[0] == rmsd.max()
    assert 6.5 < rmsd[0] < 7.3
    vectors = normal_modes(adk, residue_blocks(adk, 10), 8.0).vectors.reshape(14, -1)
    left = {}
    for count in (3, 6, 10):
        basis = vectors[:count]
        rest = displacement - displacement @ basis.T @ basis
        left[count] = float((np.linalg.norm(rest, axis=1) / np.sqrt(1_656)).mean())
    assert left[3] == pytest.approx(2.55, abs=0.1)
    assert left[6] == pytest.approx(2.19, abs=0.05)
    assert left[10] == pytest.approx(2.08, abs=0.05)


@pytest.mark.parametrize("name", ["GOdMD", "MAP", "ANMP"])
def test_ca_paths(shared_data, adk, name):
    pytest.importorskip("MDAnalysis")
    folder = shared_data / "trajectories/adk_psa" / name
    frames, index, _ = read_ensemble(folder / "path.dcd", folder / "top.pdb", representation(adk, "ca-p"))
    assert frames.shape[1:] == (214, 3)
    assert len(index) == 214


def test_trajectory_of_all_atoms_on_a_ca_reference(adk, dims):
    pytest.importorskip("MDAnalysis")
    frames, _, notes = read_ensemble(*dims, representation(adk, "ca-p"))
    assert frames.shape == (98, 214, 3)
    assert "dropped 0 atoms of the reference and 1442 of the ensemble" in notes[-1]


def test_multi_model_file(shared_data):
    reference, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    frames, index, notes = read_ensemble(shared_data / "structures/ubiquitin/pdb2k39_ca.pdb", None, reference)
    assert frames.shape == (116, 76, 3)
    assert set(reference.atom_name[index]) == {"CA"}
    assert "dropped 526 atoms of the reference" in notes[-1]
    np.testing.assert_allclose(
        frames.mean(axis=1), reference.coordinates[index].mean(axis=0)[None].repeat(116, 0), atol=1e-9
    )


def test_missing_library_topology_and_files_are_said(adk, dims, monkeypatch, tmp_path, shared_data):
    with pytest.raises(InputError, match="--topology"):
        read_ensemble(dims[0], None, adk)
    with pytest.raises(InputError, match="no such file"):
        read_ensemble(tmp_path / "absent.dcd", dims[1], adk)
    with pytest.raises(InputError, match="no such file"):
        read_ensemble(dims[0], tmp_path / "absent.psf", adk)
    monkeypatch.setitem(sys.modules, "MDAnalysis", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "scipion-em-continuousflex-dl\[trajectories\]"'):
        read_ensemble(*dims, adk)


def test_topology_of_another_system_and_damaged_trajectory(adk, dims, shared_data, tmp_path):
    pytest.importorskip("MDAnalysis")
    with pytest.raises(InputError, match="cannot be read as a trajectory"):
        read_ensemble(dims[0], shared_data / "trajectories/adk_psa/MAP/top.pdb", adk)
    damaged = tmp_path / "short.dcd"
    damaged.write_bytes(dims[0].read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as a trajectory"):
        read_ensemble(damaged, dims[1], adk)
