"""What is measured before the alignment: atom width, residual power, model error."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.hemnma.calibrate import fit_width, probe_inflation, residual_power
from continuousflex_dl.core.hemnma.prior import AmplitudePrior
from continuousflex_dl.core.hemnma.reference import Reference
from continuousflex_dl.core.hemnma.refine import Hypotheses, Refiner
from continuousflex_dl.core.imaging.rotations import rotation_from_euler

PIXEL = 3.0


def pose_of(scene):
    return (
        rotation_from_euler(scene.euler_deg).float(),
        torch.as_tensor(-scene.shift_angst / PIXEL).float(),
        torch.as_tensor(scene.amplitudes).float(),
    )


@pytest.mark.parametrize("assumed", [1.5, 4.0])
def test_width_of_an_atom_is_found_whatever_was_assumed(model, scene, assumed):
    some = scene(count=8)
    wrong = Reference.from_arrays(*model, assumed)
    found = fit_width(wrong, some.observe(), *pose_of(some))
    assert found == pytest.approx(np.hypot(2.5, PIXEL / np.sqrt(12)), rel=0.05)  # blurred by square pixels


def test_width_is_not_sharpened_by_having_followed_the_noise(model, scene):
    """Poses refined on the images themselves: what they picked up of the noise must not count as signal."""
    some = scene(count=60, snr=0.15, seed=5)
    observation, flat = some.observe(), AmplitudePrior(np.zeros(2), None)
    reference = Reference.from_arrays(*model, 2.6)
    truth = pose_of(some)
    h = Refiner(reference, observation, flat).refine(Hypotheses.start(torch.arange(60), *truth), 12)
    aligned = (h.rotation, h.shift_px, h.amplitudes)
    right = fit_width(reference, observation, *truth)
    naive = fit_width(reference, observation, *aligned)
    fair = fit_width(reference, observation, *aligned, prior=flat)
    assert naive < right - 0.05
    assert abs(fair - right) < 0.4 * (right - naive)


def test_residual_of_the_true_model_is_the_noise(reference, scene):
    some = scene(count=40, snr=0.2)
    ratio = residual_power(reference, some.observe(), *pose_of(some))
    assert 0.85 < float(ratio[3:].mean()) < 1.15


def test_residual_of_a_wrong_model_is_more_than_noise(reference, scene):
    some = scene(count=40, snr=1.0)
    rotation, shift, amplitudes = pose_of(some)
    right = residual_power(reference, some.observe(), rotation, shift, amplitudes)
    wrong = residual_power(reference, some.observe(), rotation, shift, amplitudes + 60.0)
    assert float(wrong[2:8].mean()) > 1.1 * float(right[2:8].mean())


def stiff_modes(generator, points, count):
    """Every atom for itself."""
    modes = generator.normal(size=(count, *points.shape))
    return modes / np.linalg.norm(modes, axis=(1, 2), keepdims=True)


def test_model_error_shows_in_modes_that_do_not_move(model, scene):
    points, vectors, weights = model
    generator = np.random.default_rng(3)
    stiff = stiff_modes(generator, points, 3)
    reference, probes = Reference.from_arrays(*model, 2.6), Reference.from_arrays(points, stiff, weights, 2.6)
    prior = AmplitudePrior.wide(np.ones(2), 30.0)
    some = scene(count=96, snr=1.0)  # of 24 images the median varies from 1.0 to 1.4 between seeds
    matched = probe_inflation(reference, probes, some.observe(), prior, *pose_of(some))
    assert matched < 1.3
    # the same images against a reference whose atoms are displaced at random by 4 Å
    moved = points + generator.normal(scale=4 / np.sqrt(3), size=points.shape)
    wrong, wrong_probes = (
        Reference.from_arrays(moved, vectors, weights, 2.6),
        Reference.from_arrays(moved, stiff, weights, 2.6),
    )
    mismatched = probe_inflation(wrong, wrong_probes, some.observe(), prior, *pose_of(some))
    assert mismatched > 1.5 * matched


def test_faint_images_of_the_right_model_show_no_model_error(model, scene):
    """At the best answers of faint images: steps along a flat likelihood would count the noise as model error."""
    points, _, weights = model
    stiff = stiff_modes(np.random.default_rng(3), points, 4)
    reference, probes = Reference.from_arrays(*model, 2.6), Reference.from_arrays(points, stiff, weights, 2.6)
    prior = AmplitudePrior.wide(np.ones(2), 30.0)
    some = scene(count=128, snr=0.1, seed=11)
    observation = some.observe()
    h = Refiner(reference, observation, prior).refine(Hypotheses.start(torch.arange(128), *pose_of(some)), 15)
    factor = probe_inflation(reference, probes, observation, prior, h.rotation, h.shift_px, h.amplitudes)
    assert factor < 1.2


def test_model_error_does_not_depend_on_what_the_noise_counts_of_it_already(model, scene):
    points, vectors, weights = model
    generator = np.random.default_rng(3)
    stiff = stiff_modes(generator, points, 3)
    moved = points + generator.normal(scale=5 / np.sqrt(3), size=points.shape)
    wrong = Reference.from_arrays(moved, vectors, weights, 2.6)
    probes = Reference.from_arrays(moved, stiff, weights, 2.6)
    some = scene(count=96, snr=1.0)
    flat = AmplitudePrior(np.zeros(2), None)
    first = some.observe()
    factor = probe_inflation(wrong, probes, first, flat, *pose_of(some))
    counted = replace(first, data=first.data / factor, transfer=first.transfer / factor, inflation=factor)
    assert factor > 1.3
    assert probe_inflation(wrong, probes, counted, flat, *pose_of(some)) == pytest.approx(factor, rel=0.02)
