"""Superposition undoes a rigid motion; corresponding atoms are found across dialects."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.superpose import match_atoms, superpose


def test_rigid_motion_is_undone():
    points = np.random.default_rng(0).normal(size=(20, 3)) * 10
    turn = Rotation.random(random_state=1).as_matrix()
    rotation, translation, rmsd = superpose(points @ turn.T + [1, 2, 3], points)
    np.testing.assert_allclose(rotation, turn.T, atol=1e-12)
    assert rmsd < 1e-12
    np.testing.assert_allclose((points @ turn.T + [1, 2, 3]) @ rotation.T + translation, points, atol=1e-11)


def test_mirror_image_is_not_reached_by_a_reflection():
    points = np.random.default_rng(0).normal(size=(20, 3)) * 10
    rotation, _, rmsd = superpose(points * [1, 1, -1], points)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rmsd > 1


def test_weight_zero_does_not_count():
    points = np.random.default_rng(0).normal(size=(20, 3)) * 10
    moved = points + 5.0
    moved[0] += 100
    weights = np.ones(20)
    weights[0] = 0
    assert superpose(moved, points, weights)[2] < 1e-12


def test_adk_pair_has_its_known_rmsd(shared_data):
    opened, _ = read_structure(shared_data / "structures/adk/4AKE_A.pdb")
    closed, _ = read_structure(shared_data / "structures/adk/1AKE_A.pdb")
    opened, closed = opened.take(opened.atom_name == "CA"), closed.take(closed.atom_name == "CA")
    match = match_atoms(opened, closed)
    assert len(match.first) == 214
    assert superpose(closed.coordinates[match.second], opened.coordinates[match.first])[2] == pytest.approx(
        7.13, abs=0.005
    )


def test_charmm_names_match_the_crystal_ones(shared_data):
    crystal, _ = read_structure(shared_data / "particles/hemnma_reference/4akeA.pdb")
    charmm, _ = read_structure(shared_data / "structures/adk/adk_open.pdb")
    match = match_atoms(crystal, charmm)
    assert len(match.first) == 1_656
    assert "chain names differ" in match.rule
    assert (match.unmatched_first, match.unmatched_second) == (0, 0)


def test_groel_states_match_by_sequence_not_by_number(shared_data):
    apo, _ = read_structure(shared_data / "structures/groel_subunit/groel_apo.pdb")
    holo, _ = read_structure(shared_data / "structures/groel_subunit/groel_holo.pdb")
    match = match_atoms(apo, holo)
    assert "aligned sequences" in match.rule
    assert len(match.first) > 3_850
    assert (apo.residue_name[match.first] == holo.residue_name[match.second]).mean() > 0.99


def test_repeated_chain_names_pair_in_file_order(shared_data):
    ribosome, _ = read_structure(shared_data / "structures/ribosome30S/ribosome.pdb")
    match = match_atoms(ribosome, ribosome)
    assert (match.first == match.second).all()
    assert len(match.first) == len(ribosome)


def test_different_molecules_are_refused(shared_data):
    one, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    other, _ = read_structure(shared_data / "structures/adk/4AKE_A.pdb")
    with pytest.raises(InputError, match="same molecule"):
        match_atoms(one, other)
    relabelled = replace(one, chain=np.full(len(one), "Z"))
    assert len(match_atoms(one, relabelled).first) == len(one)
