"""Images that are not the model: junk is told by its score; what disturbs a particle does not carry its pose away."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from continuousflex_dl.core.hemnma.align import Aligner, Settings
from continuousflex_dl.core.hemnma.prior import AmplitudePrior
from continuousflex_dl.core.imaging.noise import without_plane

BOX, PIXEL = 40, 3.0
PRIOR = AmplitudePrior.wide(np.array([1.0, 1.5]), 30.0)


@pytest.fixture(scope="module")
def aligner(reference):
    return Aligner(reference, PRIOR, BOX, PIXEL, Settings(max_shift_px=5, hypotheses=16))


@pytest.fixture(scope="module")
def particles(scene):
    return scene(count=40, snr=0.2, seed=31)


def noise_of(scene, count, seed):
    return np.random.default_rng(seed).normal(0, np.sqrt(scene.noise_variance), size=(count, BOX, BOX))


def junk_of(scene, kind, count=40):
    """Ice, contamination or edges at the strength of a particle, in the noise of the particles."""
    generator = np.random.default_rng(len(kind))
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    noise = noise_of(scene, count, len(kind))
    if kind == "nothing":
        return noise
    shapes = np.zeros((count, BOX, BOX))
    for shape in shapes:
        if kind == "spheres":
            for _ in range(3):
                cx, cy, width = *generator.uniform(-10, 10, 2), generator.uniform(2, 5)
                shape += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
        else:  # the edge of a hole, or a filament across the box
            turn, at = generator.uniform(0, 2 * np.pi), generator.uniform(-8, 8)
            across = x * np.cos(turn) + y * np.sin(turn) - at
            shape += np.tanh(across / 2) if kind == "edges" else np.exp(-(across**2) / 18)
    strength = np.sqrt(0.2 * scene.noise_variance / shapes.var(axis=(1, 2)).mean())
    return noise + strength * (shapes - shapes.mean(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("kind", ["nothing", "spheres", "edges", "filaments"])
def test_the_score_tells_junk_from_particles(aligner, particles, kind):
    good = aligner.align(particles.observe(radius=aligner.radius))
    bad = aligner.align(particles.observe(junk_of(particles, kind).astype(np.float32), radius=aligner.radius))
    score = np.concatenate([good.score, bad.score])
    assert roc_auc_score(np.repeat([1, 0], [len(good.score), len(bad.score)]), score) >= 0.9


def with_gradient(images):
    y, x = np.mgrid[:BOX, :BOX] / BOX - 0.5
    slopes = np.random.default_rng(1).normal(0, 2 * images.std(), size=(len(images), 2, 1, 1))
    uneven = images + slopes[:, 0] * x + slopes[:, 1] * y
    return without_plane(torch.as_tensor(uneven), 0.45 * BOX).numpy()  # as every image is treated on reading


def with_neighbour(images):
    return images + 0.7 * np.roll(images[::-1], (BOX // 2, BOX // 3), axis=(1, 2))


def with_mask(images):
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    return images * (x**2 + y**2 < (0.48 * BOX) ** 2)


@pytest.mark.parametrize("disturb", [with_gradient, with_neighbour, with_mask])
def test_poses_survive_what_else_is_in_the_image(aligner, scene, disturb):
    some = scene(count=24, snr=0.5, seed=32)
    disturbed = disturb(some.images.astype(np.float64)).astype(np.float32)
    found = aligner.align(some.observe(disturbed, radius=aligner.radius))
    error = some.rotation_error_deg(found.euler_deg)
    assert np.median(error) < 5.0
    assert (error > 20).mean() <= 0.15


def test_particles_off_the_centre_are_found(aligner, scene):
    some = scene(count=16, snr=0.5, seed=33)
    found = aligner.align(some.observe(np.roll(some.images, (3, -3), axis=(1, 2)), radius=aligner.radius))
    np.testing.assert_allclose(
        np.median(found.shift_angst - some.shift_angst, axis=0), [3 * PIXEL, -3 * PIXEL], atol=1.0
    )


def test_a_missing_domain_costs_accuracy_not_the_answer(reference, scene):
    some = scene(count=24, snr=0.5, seed=34)
    there = reference.coordinates[:, 0] < torch.quantile(reference.coordinates[:, 0], 0.85)
    part = replace(
        reference,
        coordinates=reference.coordinates[there],
        vectors=reference.vectors[:, there],
        weights=reference.weights[there],
    )
    aligner = Aligner(part, PRIOR, BOX, PIXEL, Settings(max_shift_px=5, hypotheses=16))
    found = aligner.align(some.observe(radius=aligner.radius))
    error = some.rotation_error_deg(found.euler_deg)
    assert np.median(error) < 12.0
    assert np.isfinite(found.amplitudes).all()
