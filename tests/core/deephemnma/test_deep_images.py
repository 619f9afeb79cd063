"""Rendered images, prepared images, labels: against the simulation, geometry and the published formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.conventions import euler_from_matrix, matrix_from_euler
from continuousflex_dl.core.deephemnma.labels import Labels, Scaling, typical
from continuousflex_dl.core.deephemnma.objective import (
    Objective,
    Prediction,
    matrix_of_published,
    mean_errors,
    published_quaternion,
)
from continuousflex_dl.core.deephemnma.predict import ErrorScale
from continuousflex_dl.core.deephemnma.preparation import Preparation
from continuousflex_dl.core.deephemnma.refine import Effort, hypotheses_about, kind_of_work
from continuousflex_dl.core.deephemnma.rendering import ImageModel, Law, Renderer
from continuousflex_dl.core.deephemnma.sources import moved
from continuousflex_dl.core.hemnma.reference import Reference
from continuousflex_dl.core.imaging.rotations import random_rotations, symmetry_rotations
from continuousflex_dl.core.simulation.images import ctf_on_grid
from continuousflex_dl.core.simulation.particles import Microscope, simulate_block

BOX, PIXEL, SIGMA = 40, 2.0, 2.5


def correlation(first, second):
    first, second = (values.flatten(1) - values.flatten(1).mean(1, keepdim=True) for values in (first, second))
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


@pytest.fixture(scope="module")
def scene():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(120, 3)) * [8, 5, 4] + (generator.uniform(size=(120, 1)) < 0.3) * [5.0, 7.0, -4.0]
    points -= points.mean(0)
    x, y, z = points.T / 10
    vectors = np.stack([np.stack([0 * x, 0 * x, x**2], 1), np.stack([y * z, 0 * x, 0 * x], 1)])  # two smooth bends
    vectors /= np.linalg.norm(vectors.reshape(2, -1), axis=1)[:, None, None]
    weights = np.full(120, 1 / 120)
    labels = Labels(
        random_rotations(6, torch.Generator().manual_seed(1)).float(),
        torch.as_tensor(generator.uniform(-4, 4, size=(6, 2))).float(),
        torch.as_tensor(generator.uniform(-20, 20, size=(6, 2))).float(),
    )
    reference = Reference.from_arrays(points, vectors, weights, SIGMA)
    wide = float(np.sqrt(SIGMA**2 + PIXEL**2 / 12))  # the simulation integrates atoms over pixels
    model = ImageModel(BOX, PIXEL, wide, 1.0, (1e-6,) * 21, (1e-3,) * 21)
    return points, vectors, weights, labels, Renderer(reference, model)


def test_rendered_particles_are_those_that_the_simulation_makes(scene):
    """Another calculation: atoms integrated over pixels in real space."""
    points, vectors, weights, labels, renderer = scene
    coordinates = points + np.einsum("nm,mac->nac", labels.amplitudes.numpy(), vectors)
    simulated = simulate_block(
        coordinates, weights, euler_from_matrix(labels.rotation.numpy()), -labels.shift_angst.numpy(), None,
        Microscope(BOX, PIXEL, SIGMA, None), 0,
    )  # fmt: skip
    found = correlation(renderer.images(labels, None, None), torch.as_tensor(simulated))
    assert float(found.min()) > 0.999
    mirrored = correlation(renderer.images(labels, None, None).flip(-1), torch.as_tensor(simulated))
    assert float(mirrored.max()) < 0.99


def test_turned_and_shifted_images_fit_their_moved_labels(scene):
    """Labels that stay behind when the image moves are what spoils the published program."""
    *_, labels, renderer = scene
    images = renderer.images(labels, None, None)[:, None]
    angle = torch.tensor([0.3, 1.2, -2.0, 3.0, 0.0, -0.7])
    shift = torch.tensor([[2.0, 0], [0, -4], [3, 3], [0, 0], [-2, 5], [1, 1]])
    after = moved(images, angle, shift / PIXEL)[:, 0]
    right = correlation(after, renderer.images(labels.moved(angle, shift), None, None))
    left_behind = correlation(after, renderer.images(labels, None, None))
    opposite = correlation(after, renderer.images(labels.moved(-angle, shift), None, None))
    assert float(right.min()) > 0.99  # cubic interpolation of atoms little wider than a pixel
    assert float(left_behind.max()) < 0.95
    assert float(opposite[:3].max()) < 0.95


def test_noise_has_the_spectrum_that_was_measured(scene):
    from continuousflex_dl.core.imaging.noise import background_power

    *_, labels, renderer = scene
    wanted = np.linspace(4.0, 1.0, 21)
    noisy = Renderer(renderer.blobs, replace(renderer.model, noise=tuple(wanted), scale=0.0))
    many = Labels.join([labels] * 60)
    images = noisy.images(many, None, torch.Generator().manual_seed(0))
    found = background_power(images, 0.0).numpy()
    np.testing.assert_allclose(found[3:20], wanted[3:20], rtol=0.15)


def prepared_with(filtering):
    signal = tuple(np.exp(-np.arange(21) / 4.0))
    return Preparation(BOX, PIXEL, 32, filtering, noise=(0.05,) * 21, signal=signal, mean=0.1, std=2.0)


@pytest.mark.parametrize("filtering", ["wiener", "flip"])
def test_preparation_looks_at_one_image_at_a_time(filtering):
    signal = tuple(np.exp(-np.arange(21) / 4.0).tolist())
    preparation = Preparation(BOX, PIXEL, 32, filtering, noise=(0.05,) * 21, signal=signal, mean=0.1, std=2.0)
    images = torch.randn(5, BOX, BOX, generator=torch.Generator().manual_seed(0))
    transfer = torch.rand(5, 32, 17, generator=torch.Generator().manual_seed(1)) - 0.5
    whole = preparation.finished(preparation.reduced(images), transfer)
    for row in range(5):
        alone = preparation.finished(preparation.reduced(images[row : row + 1].clone()), transfer[row : row + 1])
        torch.testing.assert_close(whole[row], alone[0], atol=1e-5, rtol=0)
    assert Preparation.from_dict(preparation.to_dict()) == preparation


def test_preparation_brings_back_what_the_ctf_has_turned_over(scene):
    from continuousflex_dl.core.imaging.ctf import CtfBatch
    from continuousflex_dl.core.simulation.ctf_rows import constant_ctf

    *_, labels, renderer = scene
    rows = constant_ctf(6, voltage=200, cs=2.0, amplitude_contrast=0.1, defocus=8000)
    transfer = ctf_on_grid(CtfBatch.from_arrays(rows), BOX, PIXEL)
    assert (transfer < 0).any()
    clean, passed = renderer.images(labels, None, None), renderer.images(labels, transfer, None)
    signal = tuple(np.exp(-np.arange(21) / 4.0))
    preparation = Preparation(BOX, PIXEL, BOX, "wiener", noise=(0.01,) * 21, signal=signal)
    restored = preparation.finished(passed, transfer)
    before = preparation.finished(clean, None)
    assert float(correlation(restored, before).min()) > float(correlation(passed, clean).min())
    assert float(correlation(restored, before).min()) > 0.9


def test_the_published_quaternion_is_that_of_the_paper():
    """(cos t/2 cos (p+f)/2, -sin t/2 sin (p-f)/2, sin t/2 cos (p-f)/2, cos t/2 sin (p+f)/2), and back again."""
    rot, tilt, psi = 0.4, 1.1, -2.0
    rotation = torch.as_tensor(matrix_from_euler(np.rad2deg([[rot, tilt, psi]])))
    plus, minus = (psi + rot) / 2, (psi - rot) / 2
    wanted = [np.cos(tilt / 2) * np.cos(plus), -np.sin(tilt / 2) * np.sin(minus)]
    wanted += [np.sin(tilt / 2) * np.cos(minus), np.cos(tilt / 2) * np.sin(plus)]
    np.testing.assert_allclose(published_quaternion(rotation)[0], wanted, atol=1e-9)
    many = random_rotations(50, torch.Generator().manual_seed(3))
    torch.testing.assert_close(matrix_of_published(published_quaternion(many)), many, atol=1e-6, rtol=0)


def labels_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Labels(
        random_rotations(count, generator).float(),
        torch.randn(count, 2, generator=generator),
        torch.randn(count, 3, generator=generator) * torch.tensor([50.0, 10.0, 1.0]) + 7.0,
    )


@pytest.mark.parametrize("scaling", [Scaling.standard, Scaling.unit_range])
def test_scaled_labels_come_back(scaling):
    labels = labels_of(200)
    used = Scaling.from_dict(scaling(labels).to_dict())
    torch.testing.assert_close(used.amplitudes_out(used.amplitudes_in(labels.amplitudes)), labels.amplitudes)
    torch.testing.assert_close(used.shift_out(used.shift_in(labels.shift_angst)), labels.shift_angst)
    inside = used.amplitudes_in(labels.amplitudes)
    if scaling == Scaling.unit_range:
        assert inside.min() == 0
        assert inside.max() == pytest.approx(1)
    else:
        torch.testing.assert_close(inside.std(0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_few_wrong_labels_do_not_widen_the_shifts_that_are_rendered():
    """HEMNMA leaves a few at the edge of its search: with shifts like theirs hardly anything was learned."""
    labels = labels_of(500)
    shift = 3.0 * (2 * torch.rand(500, 2, generator=torch.Generator().manual_seed(1)) - 1)
    right = Law.about(replace(labels, shift_angst=shift)).max_shift_angst
    shift[:15] = 25.0
    wrong = Law.about(replace(labels, shift_angst=shift)).max_shift_angst
    assert 3.0 < right < 3.4
    assert right <= wrong < 4.5


def test_equivalent_orientations_are_no_error():
    truth = labels_of(20)
    turned = replace(truth, rotation=truth.rotation @ symmetry_rotations("D3")[4].float())
    scaling = Scaling.standard(truth)
    assert mean_errors(turned, truth, Objective(scaling, "D3"))["angle_deg"] < 0.1
    assert mean_errors(turned, truth, Objective(scaling))["angle_deg"] > 90


def test_expected_errors_become_true_on_average():
    truth = labels_of(4000)
    generator = torch.Generator().manual_seed(9)
    sizes = torch.rand(4000, 1, generator=generator) + 0.5
    off = torch.randn(4000, 3, generator=generator) * sizes * torch.tensor([4.0, 2.0, 1.0])
    found = replace(truth, amplitudes=truth.amplitudes + off, shift_angst=truth.shift_angst + 0.3 * off[:, :2])
    said = Prediction(found, sizes.expand(-1, 3), sizes[:, 0], sizes[:, 0])
    scale = ErrorScale.measured(said, truth, Objective(Scaling.standard(truth)))
    assert scale.amplitudes == pytest.approx((4.0, 2.0, 1.0), rel=0.05)
    calibrated = scale.apply(said)
    ratio = off / calibrated.amplitude_std
    assert float(ratio.square().mean()) == pytest.approx(1.0, rel=0.03)
    silent = ErrorScale.measured(Prediction(found), truth, Objective(Scaling.standard(truth)))
    assert silent.constant
    assert silent.amplitudes[0] == pytest.approx(float(off[:, 0].square().mean().sqrt()), rel=1e-4)


def test_what_is_far_from_all_others_is_not_typical():
    values = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[10.0, 8.0], [0.0, 1.0]])
    values[3] = [20.0, -20.0]  # within the range of either, but not of both together
    kept = typical(values, 3.2)
    assert not kept[3]
    assert kept.sum() > 480


def test_the_expected_error_decides_how_much_work_an_image_is():
    kind = kind_of_work(np.array([0.5, 2.0, 10.0, 40.0, np.nan]), Effort(skip_deg=1.0, polish_deg=2.5, search_deg=25.0))
    assert kind.tolist() == [0, 1, 2, 3, 2]
    turns = hypotheses_about(torch.tensor([4.0]))
    np.testing.assert_allclose(turns[0].norm(dim=-1).rad2deg(), [0] + [6.0] * 6, atol=1e-4)
