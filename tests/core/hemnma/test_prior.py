"""Distribution of the amplitudes: wide at first, learned from noisy estimates."""

import numpy as np
import pytest

from continuousflex_dl.core.hemnma.prior import LEAST_PARTICLES, AmplitudePrior, learn_prior

MEAN = np.array([20.0, -5.0, 0.0])
AXES = np.array([[60.0, 10.0, 5.0], [0.0, 12.0, 3.0], [0.0, 0.0, 2.0]])
SPREAD = AXES.T @ AXES


def population(count, error=10.0, seed=0):
    generator = np.random.default_rng(seed)
    truth = MEAN + generator.normal(size=(count, 3)) @ AXES
    errors = np.einsum("n,ij->nij", generator.uniform(0.5, 1.5, count) ** 2, np.diag([error, 2 * error, error]) ** 2)
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(errors), generator.normal(size=(count, 3)))
    return truth, truth + noise, errors


def test_soft_modes_are_expected_to_move_further():
    prior = AmplitudePrior.wide(np.array([0.05, 0.2, 0.8]), 160.0)
    np.testing.assert_allclose(np.sqrt(np.diag(prior.covariance)), [160, 80, 40])
    equal = AmplitudePrior.wide(np.zeros(3), 160.0)  # eigenvalues unknown
    np.testing.assert_allclose(np.sqrt(np.diag(equal.covariance)), 160)
    assert AmplitudePrior.wide(np.ones(3), 0.0).covariance is None


def test_the_scatter_of_the_truth_is_recovered_from_noisy_estimates():
    _, estimates, errors = population(4000)
    prior = learn_prior(estimates, errors)
    np.testing.assert_allclose(prior.mean, MEAN, atol=3.0)
    np.testing.assert_allclose(np.sqrt(np.diag(prior.covariance)), np.sqrt(np.diag(SPREAD)), rtol=0.15)
    # the plain scatter of the estimates is far off on the second axis
    assert estimates.std(0)[1] > 1.4 * np.sqrt(SPREAD[1, 1])


def test_the_learned_prior_makes_the_estimates_better():
    truth, estimates, errors = population(160)
    prior = learn_prior(estimates, errors)
    gain = prior.covariance @ np.linalg.inv(prior.covariance + errors)
    posterior = prior.mean + np.einsum("nij,nj->ni", gain, estimates - prior.mean)
    assert np.square(posterior - truth).mean() < 0.5 * np.square(estimates - truth).mean()


def test_exact_estimates_are_left_alone():
    truth, _, _ = population(200)
    errors = np.broadcast_to(np.eye(3) * 1e-4, (200, 3, 3))
    prior = learn_prior(truth, errors)
    gain = prior.covariance @ np.linalg.inv(prior.covariance + errors[0])
    np.testing.assert_allclose(gain, np.eye(3), atol=1e-3)


def test_wrong_poses_do_not_spoil_the_distribution():
    _, estimates, errors = population(300)
    estimates[::15] += 800.0
    prior = learn_prior(estimates, errors)
    np.testing.assert_allclose(np.sqrt(np.diag(prior.covariance))[0], np.sqrt(SPREAD[0, 0]), rtol=0.2)


def test_estimates_lose_what_their_distance_from_the_distribution_costs():
    _, estimates, errors = population(4000, error=20.0)
    prior = AmplitudePrior(MEAN, SPREAD)
    assert np.mean(prior.loss(estimates, errors)) == pytest.approx(1.5, rel=0.1)  # half a chi-square of three
    far = MEAN + np.array([[0.0, 0.0, 100.0]])
    assert prior.loss(far, errors[:1])[0] > prior.loss(far, 100 * errors[:1])[0]  # unlikely, if it is known so well
    assert (AmplitudePrior(MEAN, None).loss(estimates, errors) == 0).all()


def test_a_few_particles_tell_nothing():
    _, estimates, errors = population(LEAST_PARTICLES - 1)
    assert learn_prior(estimates, errors) is None


@pytest.mark.parametrize("modes", [1, 2, 6])
def test_conformations_represent_the_distribution(modes):
    generator = np.random.default_rng(1)
    root = generator.normal(size=(modes, modes))
    prior = AmplitudePrior(generator.normal(size=modes), root @ root.T)
    points = prior.conformations()
    assert points.shape == (2 * modes + 1, modes)
    np.testing.assert_allclose(points[0], prior.mean)
    np.testing.assert_allclose(points[1:].mean(0), prior.mean, atol=1e-9)
    whitened = np.linalg.solve(np.linalg.cholesky(prior.covariance), (points[1:] - prior.mean).T)
    np.testing.assert_allclose(np.linalg.norm(whitened, axis=0), 1.2)


def test_of_many_modes_the_widest_are_tried():
    prior = AmplitudePrior(np.zeros(10), np.diag(np.arange(1.0, 11.0) ** 2))
    points = prior.conformations()
    assert points.shape == (13, 10)
    tried = np.abs(points).max(axis=0)
    assert tried == pytest.approx([0, 0, 0, 0, 6.0, 7.2, 8.4, 9.6, 10.8, 12.0])
