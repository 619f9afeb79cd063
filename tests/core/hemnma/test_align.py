"""Search and refinement together, by physics: what is done to the image is done to the answer."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.hemnma import align
from continuousflex_dl.core.hemnma.align import Aligner, Settings
from continuousflex_dl.core.hemnma.prior import AmplitudePrior
from continuousflex_dl.core.hemnma.refine import Hypotheses, Refiner

BOX, PIXEL = 40, 3.0
PRIOR = AmplitudePrior.wide(np.array([1.0, 1.5]), 30.0)


@pytest.fixture(scope="module")
def aligner(reference):
    return Aligner(reference, PRIOR, BOX, PIXEL, Settings(max_shift_px=5, hypotheses=32))


@pytest.fixture(scope="module")
def clean(scene):
    return scene(count=10, seed=3)


@pytest.fixture(scope="module")
def found(aligner, clean):
    return aligner.align(clean.observe(radius=aligner.radius))


def test_clean_images_give_the_truth(found, clean):
    assert clean.rotation_error_deg(found.euler_deg).max() < 2.0
    np.testing.assert_allclose(found.amplitudes, clean.amplitudes, atol=3.0)
    np.testing.assert_allclose(found.shift_angst, clean.shift_angst, atol=0.3)
    assert found.score.min() > 0.98
    assert found.converged.all()


def test_a_rotated_image_rotates_psi(aligner, clean, found):
    # a quarter turn of the pixel grid about its centre: exact, without interpolation
    padded = np.pad(clean.images, ((0, 0), (0, 1), (0, 1)), mode="wrap")  # odd, so that the centre stays
    turned = np.rot90(padded, axes=(1, 2))[:, :BOX, :BOX]
    again = aligner.align(clean.observe(turned, radius=aligner.radius))
    relative = matrix_from_euler(again.euler_deg) @ np.swapaxes(matrix_from_euler(found.euler_deg), 1, 2)
    quarter = matrix_from_euler([0, 0, 90.0])
    for turn in relative:
        assert min(np.abs(turn - quarter).max(), np.abs(turn - quarter.T).max()) < 0.1
    np.testing.assert_allclose(again.amplitudes, found.amplitudes, atol=4.0)


def test_a_moved_image_moves_the_origin(aligner, clean, found):
    moved = np.roll(clean.images, (1, -2), axis=(1, 2))
    again = aligner.align(clean.observe(moved, radius=aligner.radius))
    np.testing.assert_allclose(again.shift_angst - found.shift_angst, np.tile([2 * PIXEL, -PIXEL], (10, 1)), atol=0.4)


def test_scale_and_offset_of_an_image_change_nothing(aligner, clean, found):
    again = aligner.align(clean.observe(clean.images * 3.0 + 5.0, radius=aligner.radius))
    np.testing.assert_allclose(again.amplitudes, found.amplitudes, atol=1.0)


def test_the_answer_does_not_depend_on_the_other_images(aligner, clean, found):
    observation = clean.observe(radius=aligner.radius)
    alone = aligner.align(type(observation)(observation.disc, observation.data[3:4], observation.transfer[3:4], PIXEL))
    np.testing.assert_allclose(alone.amplitudes[0], found.amplitudes[3], atol=0.05)


def test_same_input_same_bytes(aligner, clean, found):
    again = aligner.align(clean.observe(radius=aligner.radius))
    for name in ("euler_deg", "amplitudes", "score", "angle_std_deg"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()


def test_local_search_returns_to_the_truth(aligner, clean):
    start = clean.euler_deg + np.array([3.0, -2.0, 4.0])
    result = aligner.align_locally(clean.observe(radius=aligner.radius), start, clean.shift_angst + 1.5)
    assert clean.rotation_error_deg(result.euler_deg).max() < 2.0
    np.testing.assert_allclose(result.amplitudes, clean.amplitudes, atol=3.0)
    assert result.converged.all()


def test_local_search_says_when_the_answer_is_out_of_range(aligner, clean):
    far = clean.euler_deg + np.array([0.0, 60.0, 0.0])
    result = aligner.align_locally(clean.observe(radius=aligner.radius), far, clean.shift_angst)
    wrong = clean.rotation_error_deg(result.euler_deg) < 5  # those that left the range and found the truth all the same
    assert not result.converged[wrong].any()


def test_noisy_images_are_explained_no_worse_than_by_the_truth(aligner, scene):
    noisy = scene(count=24, snr=0.2, seed=11)
    observation = noisy.observe(radius=aligner.radius)
    result = aligner.align(observation)
    refiner = Refiner(aligner.reference, observation, aligner.prior)

    def start(euler, shift, amplitudes):
        as_tensor = lambda a: torch.as_tensor(a, dtype=torch.float32)  # noqa: E731
        return Hypotheses.start(
            torch.arange(24), as_tensor(matrix_from_euler(euler)), as_tensor(-shift / PIXEL), as_tensor(amplitudes)
        )

    # the answer is a mean over neighbouring maxima: the highest one is a few steps away
    found = refiner.refine(start(result.euler_deg, result.shift_angst, result.amplitudes), 20).cost
    truth = refiner.refine(start(noisy.euler_deg, noisy.shift_angst, noisy.amplitudes), 20).cost
    assert int((found > truth + 1.0).sum()) <= 1  # the search stopped above the truth
    assert np.median(result.score) < 0.9


def test_symmetry_searches_one_unit_only(reference):
    full = Aligner(reference, PRIOR, BOX, PIXEL, Settings())
    part = Aligner(reference, PRIOR, BOX, PIXEL, Settings(symmetry="C2"))
    assert len(part.prepare().rotations) == pytest.approx(len(full.prepare().rotations) / 2, rel=0.05)


def test_odd_boxes_and_single_modes(model, scene):
    from continuousflex_dl.core.hemnma.reference import Reference

    points, vectors, weights = model
    single = Reference.from_arrays(points, vectors[:1], weights, 2.5)
    aligner = Aligner(single, AmplitudePrior.wide(np.array([1.0]), 30.0), 41, PIXEL, Settings(max_shift_px=4))
    assert aligner.conformations().shape == (3, 1)
    assert torch.isfinite(aligner.prepare().coefficients).all()


def test_an_image_that_stays_in_doubt_is_searched_with_more_hypotheses(reference, scene, monkeypatch):
    """And only that one: its answer is that of a wider search, all others keep theirs."""
    some = scene(count=24, snr=0.1, seed=6)

    def aligned(hypotheses, doubtful):
        aligner = Aligner(reference, PRIOR, BOX, PIXEL, Settings(max_shift_px=5, hypotheses=hypotheses))
        monkeypatch.setattr(align, "DOUBTFUL", doubtful)
        return aligner.align(some.observe(radius=aligner.radius), sample=False)

    few, many, again = aligned(8, 0.0), aligned(32, 0.0), aligned(8, 0.9)
    changed = np.abs(again.amplitudes - few.amplitudes).max(1) > 0.5
    assert 4 <= changed.sum() <= 16
    np.testing.assert_allclose(again.amplitudes[changed], many.amplitudes[changed], atol=0.5)
    assert few.confidence[changed].max() < 0.9
    assert (some.rotation_error_deg(again.euler_deg) > 15).sum() < (some.rotation_error_deg(few.euler_deg) > 15).sum()
