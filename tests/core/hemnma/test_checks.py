"""Wrong contrast and wrong hand are noticed, the right ones are not suspected."""

from dataclasses import replace

import numpy as np
import pytest

from continuousflex_dl.core.hemnma.align import Aligner, Settings
from continuousflex_dl.core.hemnma.checks import SUSPECT, inverted_share, mirrored_share
from continuousflex_dl.core.hemnma.prior import AmplitudePrior

BOX, PIXEL = 40, 3.0
PRIOR = AmplitudePrior.wide(np.array([1.0, 1.5]), 30.0)


@pytest.fixture(scope="module")
def aligner(reference):
    return Aligner(reference, PRIOR, BOX, PIXEL, Settings(max_shift_px=4, hypotheses=8))


@pytest.fixture(scope="module")
def noisy(scene):
    return scene(count=24, snr=0.3, seed=21)


def test_dark_particles_are_noticed(aligner, noisy):
    observation = noisy.observe(radius=aligner.radius)
    assert inverted_share(aligner, observation) < 0.2
    assert inverted_share(aligner, replace(observation, data=-observation.data)) > 0.8


def test_noise_alone_has_no_contrast(aligner, noisy):
    noise = np.random.default_rng(5).normal(size=(60, BOX, BOX)).astype(np.float32) * np.sqrt(noisy.noise_variance)
    share = inverted_share(aligner, noisy.observe(noise, radius=aligner.radius))
    assert 1 - SUSPECT < share < SUSPECT


@pytest.mark.parametrize("wrong", [False, True])
def test_the_hand_shows_at_given_poses(reference, noisy, wrong):
    aligner = Aligner(
        reference.mirrored() if wrong else reference, PRIOR, BOX, PIXEL, Settings(hypotheses=8, local_range_deg=5)
    )
    observation = noisy.observe(radius=aligner.radius)
    found = aligner.align_locally(observation, noisy.euler_deg, noisy.shift_angst)
    share = mirrored_share(aligner, observation, noisy.euler_deg, noisy.shift_angst, found)
    assert share > 0.8 if wrong else share < 0.2


def test_a_mirror_image_twice_is_the_reference(reference):
    again = reference.mirrored().mirrored()
    np.testing.assert_array_equal(again.coordinates, reference.coordinates)
    np.testing.assert_array_equal(again.vectors, reference.vectors)
    assert not np.allclose(reference.mirrored().coordinates, reference.coordinates)
