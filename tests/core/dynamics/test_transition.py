"""Overlap with a target and thermal motion, on cases whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.dynamics.blocks import residue_blocks
from continuousflex_dl.core.dynamics.fluctuation import fluctuations, mean_square_fluctuations
from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.dynamics.transition import transition_to
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure


@pytest.fixture(scope="module")
def ubiquitin(shared_data):
    return read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")[0]


@pytest.fixture(scope="module")
def modes(ubiquitin):
    return normal_modes(representation(ubiquitin, "ca-p"), None, 15.0, 16)


def test_a_target_along_two_modes_is_reached_by_them(ubiquitin, modes):
    nodes = representation(ubiquitin, "ca-p")
    amplitudes = np.zeros(10)
    amplitudes[[1, 4]] = 3.0, -4.0
    turn = Rotation.random(random_state=1).as_matrix()
    target = nodes.with_coordinates(modes.displace(amplitudes) @ turn.T + [10, 20, 30])
    found = transition_to(modes, nodes, target)
    np.testing.assert_allclose(found.amplitudes, amplitudes, atol=0.05)
    np.testing.assert_allclose(found.overlap[[1, 4]], [0.6, 0.8], atol=0.01)
    np.testing.assert_allclose(found.cumulative[[0, 1, 4, 9]], [0, 0.6, 1, 1], atol=0.02)
    assert found.rmsd == pytest.approx(5 / np.sqrt(76), rel=0.01)
    assert found.rmsd_left[-1] < 0.02
    assert (found.n_matched, found.n_atoms) == (76, 76)


def test_missing_atoms_do_not_count(ubiquitin, modes):
    nodes = representation(ubiquitin, "ca-p")
    amplitudes = np.zeros(10)
    amplitudes[[0, 3]] = 5.0, 4.0
    target = nodes.with_coordinates(modes.displace(amplitudes)).take(np.arange(10, 70))
    found = transition_to(modes, nodes, target)
    assert found.n_matched == 60
    assert found.cumulative[3] > 0.999
    np.testing.assert_allclose(found.amplitudes, amplitudes, atol=0.2)
    assert (np.diff(found.cumulative) >= 0).all()
    assert found.cumulative.max() <= 1


def test_cumulative_overlap_is_that_of_orthogonal_modes(shared_data):
    start = representation(read_structure(shared_data / "structures/glnbp/1GGG_A.pdb")[0], "ca-p")
    end = representation(read_structure(shared_data / "structures/glnbp/1WDN_A.pdb")[0], "ca-p")
    modes = normal_modes(start, residue_blocks(start, 5), 15.0, 20)
    found = transition_to(modes, start, end)
    np.testing.assert_allclose(found.cumulative, np.sqrt(np.cumsum(found.overlap**2)), rtol=1e-6)
    assert found.rmsd == pytest.approx(5.34, abs=0.01)


def test_the_same_structure_is_refused(ubiquitin, modes):
    nodes = representation(ubiquitin, "ca-p")
    with pytest.raises(InputError, match="another conformation"):
        transition_to(modes, nodes, nodes.with_coordinates(nodes.coordinates + 5.0))


def test_fluctuations_of_one_spring():
    vectors = np.zeros((2, 2, 3))
    vectors[0, 0, 0] = vectors[1, 1, 2] = 1
    np.testing.assert_allclose(mean_square_fluctuations(vectors, np.array([4.0, 0.5])), [0.25, 2.0])


def test_prody_gives_the_same_fluctuations(modes):
    import prody

    anm = prody.ANM()
    anm.buildHessian(modes.coordinates, cutoff=15.0)
    anm.calcModes(10)
    np.testing.assert_allclose(
        mean_square_fluctuations(modes.vectors, modes.eigenvalues), prody.calcSqFlucts(anm), rtol=1e-6
    )


def test_b_factors_are_predicted_on_their_own_scale(ubiquitin):
    nodes = representation(ubiquitin, "ca-p")
    found = fluctuations(normal_modes(nodes, None, 10.0, 200), nodes)
    assert found.comparable
    assert found.correlation > 0.4
    assert found.b_factor.mean() == pytest.approx(nodes.b_factor.mean())
    flat = replace(nodes, b_factor=np.full(76, 20.0))
    assert not fluctuations(normal_modes(flat, None, 10.0, 12), flat).comparable
