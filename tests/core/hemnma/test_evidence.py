"""Modes are weighed by images that their amplitudes were not learned from."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from continuousflex_dl.core.hemnma.evidence import Independent, weigh_modes
from continuousflex_dl.core.hemnma.population import Likelihoods
from continuousflex_dl.core.hemnma.prior import AmplitudePrior

WIDE = AmplitudePrior(np.zeros(4), np.diag([60.0, 50.0, 40.0, 30.0]) ** 2)


def measured(spread, count=200, seed=0, error=10.0, wrong=0):
    """Likelihoods of amplitudes with correlated errors; `wrong` of them are far off."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(count, 4, 4)) * error / 2
    covariance = mixing @ mixing.transpose(0, 2, 1) + np.eye(4)
    truth = rng.normal(size=(count, 4)) * spread
    seen = truth + np.array([rng.multivariate_normal(np.zeros(4), one) for one in covariance])
    seen[:wrong] += rng.choice([-1, 1], size=(wrong, 4)) * 150
    information = np.linalg.inv(covariance)
    return Likelihoods(information, np.einsum("nij,nj->ni", information, seen)), seen, covariance


def test_evidence_is_that_of_the_sum_of_two_gaussians():
    seen, estimates, covariance = measured(np.array([20.0, 0.0, 5.0, 10.0]), count=5)
    found = Independent(np.array([3.0, 0.0, -2.0, 1.0]), np.array([400.0, 0.0, 25.0, 100.0]))
    evidence, mean, variance = found.explain(seen)
    for number in range(5):
        spread = covariance[number] + np.diag(found.variance)
        moved = multivariate_normal(found.mean, spread).logpdf(estimates[number])
        at_rest = multivariate_normal(np.zeros(4), covariance[number]).logpdf(estimates[number])
        assert evidence[number] == pytest.approx(moved - at_rest, abs=1e-8)
        gain = np.diag(found.variance) @ np.linalg.inv(spread)
        np.testing.assert_allclose(mean[number], found.mean + gain @ (estimates[number] - found.mean), atol=1e-8)
        after = np.diag(found.variance) - gain @ np.diag(found.variance)
        np.testing.assert_allclose(variance[number], np.diag(after), atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_modes_that_move_are_told_from_those_that_do_not(seed):
    found = weigh_modes(measured(np.array([0.0, 25.0, 0.0, 15.0]), seed=seed)[0], WIDE)
    assert found.supported.tolist() == [False, True, False, True]
    assert set(found.order[:2].tolist()) == {1, 3}
    assert found.spread[1] == pytest.approx(25, rel=0.25)
    assert found.spread[[0, 2]].max() < 6


def test_a_mean_alone_is_evidence():
    seen, estimates, covariance = measured(np.zeros(4), seed=5)
    information = np.linalg.inv(covariance)
    moved = Likelihoods(information, np.einsum("nij,nj->ni", information, estimates + np.array([0, 0, 12.0, 0])))
    assert weigh_modes(seen, WIDE).supported.tolist() == [False] * 4
    found = weigh_modes(moved, WIDE)
    assert found.supported.tolist() == [False, False, True, False]
    assert found.mean[2] == pytest.approx(12, abs=2)


def test_wrong_poses_are_no_evidence():
    found = weigh_modes(measured(np.array([20.0, 0.0, 0.0, 0.0]), wrong=10, seed=1)[0], WIDE)
    assert found.left_out >= 9
    assert found.supported.tolist() == [True, False, False, False]
