"""Levenberg-Marquardt: exact derivatives, true minima, honest covariance."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.hemnma.prior import AmplitudePrior
from continuousflex_dl.core.hemnma.refine import Hypotheses, Refiner
from continuousflex_dl.core.imaging.rotations import euler_from_rotation, rotation_from_euler, turn

PIXEL = 3.0


def at_truth(scene):
    return Hypotheses.start(
        torch.arange(len(scene.images)),
        rotation_from_euler(scene.euler_deg).float(),
        torch.as_tensor(-scene.shift_angst / PIXEL).float(),
        torch.as_tensor(scene.amplitudes).float(),
    )


def refiner_of(scene, reference, prior=1e6, **more):
    spread = AmplitudePrior(np.zeros(reference.n_modes), np.eye(reference.n_modes) * prior**2)
    return Refiner(reference, scene.observe(**more), spread)


def disturbed(h, turn_deg, shift_px, amplitude, seed=0):
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(len(h), 3, generator=generator), dim=-1)
    return replace(
        h,
        rotation=turn(h.rotation, direction * np.deg2rad(turn_deg)),
        shift_px=h.shift_px + shift_px * torch.randn(len(h), 2, generator=generator),
        amplitudes=h.amplitudes + amplitude * torch.randn(h.amplitudes.shape, generator=generator),
    )


def test_gradient_is_that_of_the_cost(scene, reference):
    some = scene(count=3, snr=1.0)
    refiner = refiner_of(some, reference, prior=40.0)
    h = disturbed(at_truth(some), 6.0, 0.7, 10.0)
    here = refiner.linearise(h)
    for parameter in range(5 + reference.n_modes):
        step = torch.zeros(len(h), 5 + reference.n_modes)
        step[:, parameter] = 2e-2
        step = step * refiner._units[:-1]
        costs = []
        for sign in (1, -1):
            there = replace(
                h,
                rotation=turn(h.rotation, sign * step[:, :3]),
                shift_px=h.shift_px + sign * step[:, 3:5],
                amplitudes=h.amplitudes + sign * step[:, 5:],
            )
            costs.append(refiner.linearise(there).cost.double())
        slope = (costs[0] - costs[1]) / 4e-2
        scale = here.gradient.abs().amax(-1).double()
        # the scale is eliminated in the cost: at its optimum the two gradients agree (envelope theorem)
        np.testing.assert_allclose(here.gradient[:, parameter].double() / scale, slope / scale, atol=0.02)


def test_curvature_predicts_the_cost_near_the_truth(scene, reference):
    some = scene(count=2, snr=None)
    # square pixels of side a blur by a / sqrt(12); with it in the model no residual is left to bend the cost
    refiner = refiner_of(some, replace(reference, sigma=float(np.hypot(reference.sigma, PIXEL / np.sqrt(12)))))
    h = refiner.refine(at_truth(some), 20)
    here = refiner.linearise(h)
    shifted = replace(h, shift_px=h.shift_px + torch.tensor([[0.05, 0.0]]))
    # the scale adapts, which takes its share of the curvature away
    curvature = here.curvature[:, 3, 3] - here.curvature[:, 3, -1] ** 2 / here.curvature[:, -1, -1]
    step = 0.05 / refiner._units[3]
    predicted = 0.5 * curvature * step**2 + here.gradient[:, 3] * step
    np.testing.assert_allclose(refiner.linearise(shifted).cost - here.cost, predicted, rtol=0.05)


def test_disturbed_poses_return_to_the_truth(scene, reference):
    some = scene(count=8)
    refined = refiner_of(some, reference).refine(disturbed(at_truth(some), 8.0, 0.7, 15.0), 25)
    truth = refiner_of(some, reference).refine(at_truth(some), 25)
    assert (refined.cost <= truth.cost * 1.01 + 1.0).all()
    np.testing.assert_allclose(refined.amplitudes, some.amplitudes, atol=2.0)
    np.testing.assert_allclose(-refined.shift_px * PIXEL, some.shift_angst, atol=0.1)


def test_cost_never_rises(scene, reference):
    some = scene(count=4, snr=0.3)
    refiner = refiner_of(some, reference)
    start = disturbed(at_truth(some), 15.0, 1.0, 20.0)
    costs = [refiner.refine(start, iterations).cost for iterations in (0, 1, 3, 8)]
    for before, after in itertools.pairwise(costs):
        assert (after <= before + 1e-3).all()


@pytest.mark.slow
def test_predicted_deviations_match_the_errors(scene, reference):
    # where the errors are small enough for the linear theory; 400 amplitudes and shifts tell a tenth apart
    some = scene(count=200, snr=1.0, seed=7)
    refiner = refiner_of(some, reference)
    h = refiner.refine(at_truth(some), 15)
    covariance, _, variance = refiner.covariance(h)
    std = torch.sqrt(torch.diagonal(covariance, dim1=-2, dim2=-1))
    amplitude = (h.amplitudes - torch.as_tensor(some.amplitudes)) / std[:, 5:]
    shift = (h.shift_px + torch.as_tensor(some.shift_angst) / PIXEL) / std[:, 3:5]
    for normalised in (amplitude, shift):
        assert 0.8 < float(normalised.abs().median() / 0.6745) < 1.25
    turned = np.deg2rad(some.rotation_error_deg(euler_from_rotation(h.rotation)))
    assert 0.8 < np.median(turned / np.sqrt((std[:, :3] ** 2).sum(-1).numpy())) / 0.89 < 1.25  # chi with 3 degrees
    assert 0.9 < float(variance.median()) < 1.1


def test_a_tight_prior_holds_the_amplitudes(scene, reference):
    some = scene(count=2, snr=0.3)
    h = refiner_of(some, reference, prior=0.01).refine(at_truth(some), 15)
    assert h.amplitudes.abs().max() < 1.0


def test_parameters_follow_as_much_noise_as_there_are_of_them(scene, reference):
    """Three angles, two shifts, two amplitudes, one scale, each seen by the image: eight, over all shells."""
    some = scene(count=3, snr=1.0)
    flat = AmplitudePrior(np.zeros(2), None)
    h = Hypotheses.start(
        torch.arange(3),
        rotation_from_euler(some.euler_deg).float(),
        torch.as_tensor(-some.shift_angst / 3.0).float(),
        torch.as_tensor(some.amplitudes).float(),
    )
    followed, _ = Refiner(reference, some.observe(), flat).leverage(h)
    assert followed.sum(1).tolist() == pytest.approx([8.0] * 3, rel=1e-3)
    assert (followed >= 0).all()
