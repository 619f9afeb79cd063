"""Likelihood, divergence and the distribution of rotations."""

import math

import pytest
import roma
import torch

from continuousflex_dl.core.cryovit.latents import Latents, LatentTable
from continuousflex_dl.core.cryovit.losses import divergence, misfit, pose_cost


def test_the_misfit_does_not_depend_on_the_scale_of_the_model(generator):
    model, data = (torch.randn(4, 50, generator=generator) for _ in range(2))
    assert torch.allclose(misfit(model, data), misfit(1e3 * model, data), rtol=1e-4)


def test_the_misfit_is_the_gain_in_likelihood_at_the_best_scale(generator):
    model, data = torch.randn(1, 50, generator=generator), torch.randn(1, 50, generator=generator)
    data = data + 3 * model
    scale = (model * data).sum() / (model**2).sum()
    gain = 0.5 * ((data - scale * model) ** 2).sum() - 0.5 * (data**2).sum()
    assert float(misfit(model, data)) == pytest.approx(float(gain), rel=1e-4)


def test_a_negative_particle_is_a_loss(generator):
    model = torch.randn(1, 50, generator=generator)
    assert float(misfit(model, -2 * model)) > 0 > float(misfit(model, 2 * model))


def test_the_divergence_is_that_of_two_gaussians(generator):
    mean, log_std = torch.randn(3, 4, generator=generator), 0.3 * torch.randn(3, 4, generator=generator)
    normal = torch.distributions.Normal
    known = torch.distributions.kl_divergence(normal(mean, log_std.exp()), normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(divergence(mean, log_std), known, atol=1e-5)


def test_a_correction_of_one_standard_deviation_costs_half_a_nat():
    turn = torch.tensor([[math.radians(5.0), 0.0, 0.0]])
    assert float(pose_cost(turn, torch.zeros(1, 2), 5.0, 3.0)) == pytest.approx(0.5)
    assert float(pose_cost(0 * turn, torch.tensor([[3.0, 0.0]]), 5.0, 3.0)) == pytest.approx(0.5)


def test_rotations_are_drawn_about_their_mean_with_the_stated_width():
    torch.manual_seed(0)
    count, mean = 4000, torch.tensor([0.3, -0.2, 0.5])
    std = 0.1
    latents = Latents(
        torch.zeros(count, 2), mean.expand(count, 3), torch.zeros(count, 2),
        torch.zeros(count, 2), torch.full((count, 3), math.log(std)),
    )  # fmt: skip
    _, rotation = latents.sample()
    assert torch.allclose(rotation @ rotation.transpose(-1, -2), torch.eye(3).expand(count, 3, 3), atol=1e-5)
    off = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(mean).T @ rotation)
    assert off.mean(0).abs().max() < 0.01
    assert off.std(0) == pytest.approx([std] * 3, rel=0.1)


def test_a_table_gives_back_what_it_was_set_to(generator):
    table = LatentTable(5, 3)
    latents = Latents(*(torch.randn(5, size, generator=generator) for size in (3, 3, 2)))
    table.set(latents)
    found = table.rows(torch.tensor([4, 1]))
    for name in ("mean", "turn", "shift"):
        assert torch.allclose(getattr(found, name), getattr(latents, name)[[4, 1]], atol=1e-6)
