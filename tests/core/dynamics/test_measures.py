"""Collectivity, score, overlap on cases whose answer is known."""

import numpy as np
import pytest

from continuousflex_dl.core.dynamics import measures


def test_collectivity_is_the_fraction_that_moves():
    vectors = np.zeros((3, 10, 3))
    vectors[0, :, 2] = 1
    vectors[1, 4, 0] = 1
    vectors[2, :5, 1] = -3
    np.testing.assert_allclose(measures.collectivity(vectors), [1.0, 0.1, 0.5])


def test_score_adds_mode_number_and_rank():
    np.testing.assert_allclose(measures.score(np.array([0.2, 0.9, 0.5])), [(1 + 3) / 6, (2 + 1) / 6, (3 + 2) / 6])
    np.testing.assert_allclose(measures.score(np.ones(4)), np.arange(1, 5) / 4)


def test_overlap_is_the_cosine():
    basis = np.eye(6).reshape(6, 2, 3)
    displacement = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(measures.overlap(basis, displacement), [0.6, 0.8, 0, 0, 0, 0])
    np.testing.assert_allclose(measures.cumulative_overlap(basis, displacement)[:2], [0.6, 1.0])


def test_rmsd_of_unit_amplitude():
    assert measures.rmsd_per_amplitude(1_656) == pytest.approx(0.0246, abs=1e-4)
