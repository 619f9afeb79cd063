"""What all particles say of each: mixtures are found, errors fall, and nothing is invented where nothing is seen."""

import numpy as np
import pytest

from continuousflex_dl.core.hemnma.population import Likelihoods, fit_population, update
from continuousflex_dl.core.hemnma.prior import AmplitudePrior

UNIT = 40.0
PRIOR = AmplitudePrior(np.array([10.0, -5.0]), np.diag([150.0, 100.0]) ** 2)


def observed(truth, generator, deviation=40.0):
    """Posterior under PRIOR of amplitudes seen with errors that differ from particle to particle."""
    count, modes = truth.shape
    root = generator.normal(size=(count, modes, modes)) * 0.4 + np.eye(modes)
    errors = deviation**2 * root @ np.swapaxes(root, 1, 2) + 25 * np.eye(modes)
    estimate = truth + np.einsum("nij,nj->ni", np.linalg.cholesky(errors), generator.normal(size=(count, modes)))
    information, known = np.linalg.inv(errors), np.linalg.inv(PRIOR.covariance)
    covariance = np.linalg.inv(information + known)
    vector = np.einsum("nij,nj->ni", information, estimate) + known @ PRIOR.mean
    return np.einsum("nij,nj->ni", covariance, vector), covariance, information, estimate


def test_taking_the_prior_out_gives_the_likelihood_back():
    generator = np.random.default_rng(1)
    amplitudes, covariance, information, estimate = observed(generator.normal(0, 100, size=(50, 2)), generator)
    seen = Likelihoods.without_prior(amplitudes, covariance, PRIOR)
    np.testing.assert_allclose(seen.information, information, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.linalg.solve(seen.information, seen.vector[..., None])[..., 0], estimate, rtol=1e-5)


def test_two_states_are_told_apart():
    generator = np.random.default_rng(2)
    state = generator.integers(0, 2, size=600)
    truth = np.array([[-120.0, 0.0], [120.0, 60.0]])[state] + generator.normal(0, 15, size=(600, 2))
    amplitudes, covariance, *_ = observed(truth, generator)
    population = fit_population(amplitudes, covariance, PRIOR, UNIT)
    assert len(population.weights) == 2
    np.testing.assert_allclose(np.sort(population.means[:, 0]), [-120, 120], atol=10)
    better, _ = population.explain(Likelihoods.without_prior(amplitudes, covariance, PRIOR))
    before, after = (np.sqrt(((values - truth) ** 2).mean()) for values in (amplitudes, better))
    assert after < 0.6 * before


def test_one_gaussian_stays_one():
    generator = np.random.default_rng(3)
    amplitudes, covariance, *_ = observed(generator.normal([20, 0], [60, 30], size=(500, 2)), generator)
    population = fit_population(amplitudes, covariance, PRIOR, UNIT)
    assert len(population.weights) == 1
    np.testing.assert_allclose(np.sqrt(np.diag(population.covariances[0])), [60, 30], rtol=0.2)


def test_errors_are_those_predicted():
    generator = np.random.default_rng(4)
    turn = generator.uniform(0, np.pi, size=800)
    truth = np.stack([150 * np.cos(turn), 100 * np.sin(turn)], 1) + generator.normal(0, 10, size=(800, 2))
    amplitudes, covariance, *_ = observed(truth, generator)
    full = np.tile(np.eye(7) * 1e-4, (800, 1, 1))
    full[:, 5:, 5:] = covariance
    population = fit_population(amplitudes, covariance, PRIOR, UNIT)
    better = update({"amplitudes": amplitudes, "covariance": full}, population, PRIOR)
    ratio = np.sqrt((((better["amplitudes"] - truth) / better["amplitude_std"]) ** 2).mean())
    assert 0.85 < ratio < 1.15
    np.testing.assert_allclose(better["move"], 0.0, atol=1e-9)  # poses that are not correlated stay


def test_a_pose_moves_with_the_amplitude_that_it_is_correlated_with():
    covariance = np.tile(np.eye(7), (40, 1, 1))
    covariance[:, 5:, 5:] *= 400.0
    covariance[:, 0, 5] = covariance[:, 5, 0] = 10.0  # rad Å: half a degree of freedom is shared
    amplitudes = np.full((40, 2), 50.0)
    from continuousflex_dl.core.hemnma.population import Population

    tight = Population(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    better = update({"amplitudes": amplitudes, "covariance": covariance}, tight, AmplitudePrior(np.zeros(2), None))
    change = better["amplitudes"][0, 0] - 50.0
    assert change == pytest.approx(-50.0 * 400 / 401, rel=1e-6)
    np.testing.assert_allclose(better["move"][:, 0], change * 10.0 / 400.0)
    assert (better["pose_variance"][:, 0] < 1.0).all()
    np.testing.assert_allclose(better["pose_variance"][:, 1], 1.0)


def test_unseen_directions_take_the_mean_of_the_population():
    covariance = np.tile(np.diag([1.0, 100.0**2 * 0.999]), (40, 1, 1))  # the second is as wide as the prior
    generator = np.random.default_rng(6)
    amplitudes = np.stack([generator.normal(0, 50, 40), np.full(40, -5.0)], 1)
    population = fit_population(amplitudes, covariance, PRIOR, UNIT)
    better, _ = population.explain(Likelihoods.without_prior(amplitudes, covariance, PRIOR))
    assert np.isfinite(better).all()
    np.testing.assert_allclose(better[:, 0], amplitudes[:, 0], atol=2.0)


def test_too_few_particles_say_nothing():
    assert fit_population(np.zeros((5, 2)), np.tile(np.eye(2), (5, 1, 1)), PRIOR, UNIT) is None
