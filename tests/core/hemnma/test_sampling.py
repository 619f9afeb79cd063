"""Importance sampling of the posterior: known distributions, and images whose posterior is a parabola."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import roma
import torch

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.hemnma import sampling
from continuousflex_dl.core.hemnma.prior import AmplitudePrior
from continuousflex_dl.core.hemnma.refine import Hypotheses, Refiner
from continuousflex_dl.core.hemnma.sampling import sample_posterior

ANGLE, SHIFT, AMPLITUDE = math.radians(3.0), 0.4, 20.0  # widths of the distributions below


def all_at_once(h):
    return (torch.arange(len(h)),)


def known_posterior(h, variance):
    """Gaussian in rotation and shift, the two shifts correlated; amplitudes of a Gumbel distribution, mode 0."""
    turned = roma.rotmat_to_rotvec(h.rotation.double()) / ANGLE
    x, y = (h.shift_px.double() / SHIFT).unbind(-1)
    bent = h.amplitudes.double() / AMPLITUDE
    shift = (x**2 - 1.6 * x * y + y**2) / (1 - 0.8**2)
    return -0.5 * ((turned**2).sum(-1) + shift) - (bent + torch.exp(-bent)).sum(-1)


def test_mean_and_covariance_of_a_known_distribution():
    h = Hypotheses.start(torch.arange(2), torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 2), torch.zeros(2, 3))
    # what the curvature at the maximum says: too narrow for the amplitudes, and nothing of the correlation
    guess = torch.diag(torch.tensor([ANGLE] * 3 + [SHIFT] * 2 + [AMPLITUDE] * 3, dtype=torch.float64) ** 2)
    refiner = SimpleNamespace(log_posterior=known_posterior)
    found = sample_posterior(refiner, h, guess.repeat(2, 1, 1), torch.ones(2), math.radians(4.0), all_at_once)
    assert torch.equal(found.offset[0], found.offset[1])  # equal images, equal answers
    scale = torch.diagonal(guess).sqrt()
    mean, covariance = found.offset[0] / scale, found.covariance[0] / scale[:, None] / scale
    assert mean[:5].abs().max() < 0.1
    assert mean[5:].numpy() == pytest.approx([0.5772] * 3, abs=0.1)
    assert torch.diagonal(covariance)[:5].numpy() == pytest.approx([1.0] * 5, rel=0.15)
    assert torch.diagonal(covariance)[5:].numpy() == pytest.approx([math.pi**2 / 6] * 3, rel=0.15)
    assert covariance[3, 4] == pytest.approx(0.8, abs=0.1)
    assert found.near[0] == pytest.approx(0.38, abs=0.05)  # chi-square of 3 degrees of freedom below (4 / 3)^2


def test_a_second_maximum_that_the_first_guess_does_not_know():
    """A quarter of the probability lies four standard deviations away: it belongs to the mean and to the doubt."""

    def two_maxima(h, variance):
        turned = roma.rotmat_to_rotvec(h.rotation.double()) / ANGLE
        x = turned[:, 0]
        along = torch.logaddexp(math.log(0.75) - 0.5 * x**2, math.log(0.25) - 0.5 * (x - 4.0) ** 2)
        rest = (turned[:, 1:] ** 2).sum(-1) + ((h.shift_px.double() / SHIFT) ** 2).sum(-1)
        return along - 0.5 * rest - 0.5 * ((h.amplitudes.double() / AMPLITUDE) ** 2).sum(-1)

    h = Hypotheses.start(torch.arange(1), torch.eye(3)[None], torch.zeros(1, 2), torch.zeros(1, 3))
    guess = torch.diag(torch.tensor([ANGLE] * 3 + [SHIFT] * 2 + [AMPLITUDE] * 3, dtype=torch.float64) ** 2)[None]
    refiner = SimpleNamespace(log_posterior=two_maxima)
    found = sample_posterior(refiner, h, guess, torch.ones(1), 2.5 * ANGLE, all_at_once)
    draws = np.random.default_rng(0).normal(size=(200_000, 3))
    draws[: len(draws) // 4, 0] += 4.0
    draws[:, 0] -= 1.0  # from the mean
    assert found.offset[0, 0] == pytest.approx(1.0 * ANGLE, abs=0.25 * ANGLE)
    assert found.covariance[0, 0, 0] == pytest.approx(4.0 * ANGLE**2, rel=0.25)  # 1 of each, 3 between the two
    assert found.near[0] == pytest.approx((np.linalg.norm(draws, axis=1) < 2.5).mean(), abs=0.05)


def test_of_a_well_seen_particle_it_is_what_the_curvature_says(scene, reference):
    some = scene(count=3, snr=1.0, seed=5)
    prior = AmplitudePrior(np.zeros(reference.n_modes), np.eye(reference.n_modes) * 1e6)
    refiner = Refiner(reference, some.observe(), prior)
    h = refiner.refine(
        Hypotheses.start(
            torch.arange(3),
            torch.as_tensor(matrix_from_euler(some.euler_deg)).float(),
            torch.as_tensor(-some.shift_angst / 3.0).float(),
            torch.as_tensor(some.amplitudes).float(),
        ),
        20,
        1e-3,
    )
    covariance, _, variance = refiner.covariance(h)
    # from a guess twice as wide, and one sigma off
    wide = 4.0 * covariance
    found = sample_posterior(refiner, h, wide, variance, math.radians(10.0), all_at_once)
    std = torch.diagonal(covariance, dim1=1, dim2=2).sqrt()
    assert (found.offset / std).abs().max() < 0.6
    ratio = torch.diagonal(found.covariance, dim1=1, dim2=2).sqrt() / std
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.15)
    assert found.near.min() > 0.99


def test_an_image_does_not_depend_on_the_others(scene, reference):
    some = scene(count=3, snr=0.1, seed=6)
    prior = AmplitudePrior(np.zeros(reference.n_modes), np.eye(reference.n_modes) * 1e4)
    refiner = Refiner(reference, some.observe(), prior)
    pose = (
        torch.as_tensor(matrix_from_euler(some.euler_deg)).float(),
        torch.as_tensor(-some.shift_angst / 3.0).float(),
        torch.as_tensor(some.amplitudes).float(),
    )
    h = Hypotheses.start(torch.arange(3), *pose)
    covariance, _, variance = refiner.covariance(h)
    together = sample_posterior(refiner, h, covariance, variance, 0.1, all_at_once)
    last = h.take(torch.tensor([2]))
    alone = sample_posterior(refiner, last, covariance[2:], variance[2:], 0.1, all_at_once)
    assert torch.allclose(together.offset[2], alone.offset[0], rtol=1e-3, atol=1e-4)
    assert torch.allclose(together.covariance[2], alone.covariance[0], rtol=1e-2)


def test_five_times_as_many_samples_say_the_same(scene, reference, monkeypatch):
    """Of faint particles, whose posterior is rough: what chance leaves is small against the errors themselves."""
    some = scene(count=4, snr=0.25, seed=12)
    prior = AmplitudePrior(np.zeros(reference.n_modes), np.eye(reference.n_modes) * 1e4)
    refiner = Refiner(reference, some.observe(), prior)
    pose = (
        torch.as_tensor(matrix_from_euler(some.euler_deg)).float(),
        torch.as_tensor(-some.shift_angst / 3.0).float(),
        torch.as_tensor(some.amplitudes).float(),
    )
    h = refiner.refine(Hypotheses.start(torch.arange(4), *pose), 20)
    covariance, _, variance = refiner.covariance(h)
    few = sample_posterior(refiner, h, covariance, variance, math.radians(10.0), all_at_once)
    monkeypatch.setattr(sampling, "_FIRST", tuple((5 * count, wider) for count, wider in sampling._FIRST))
    monkeypatch.setattr(sampling, "_MORE", tuple((5 * count, wider) for count, wider in sampling._MORE))
    many = sample_posterior(refiner, h, covariance, variance, math.radians(10.0), all_at_once)
    std = torch.diagonal(many.covariance, dim1=1, dim2=2).sqrt()
    assert float(((few.offset - many.offset) / std).square().mean().sqrt()) < 0.1
    ratio = torch.diagonal(few.covariance, dim1=1, dim2=2).sqrt() / std
    assert float(ratio.log().square().mean().sqrt()) < 0.1
    assert float((few.near - many.near).abs().max()) < 0.03
    # and the curvature alone says too little
    alone = torch.diagonal(covariance, dim1=1, dim2=2).sqrt() / std
    assert float(alone.log().mean()) < -0.1
