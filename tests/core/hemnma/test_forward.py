"""The model of an image: shell correlation, coarse and bfloat16 derivatives, symmetry of the layout."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.hemnma.forward import Forward
from continuousflex_dl.core.imaging.rotations import rotation_from_euler

PIXEL = 3.0


@pytest.fixture(scope="module")
def at_truth(scene):
    some = scene(count=4, snr=None, seed=8)
    return some, (
        torch.arange(4),
        rotation_from_euler(some.euler_deg).float(),
        torch.as_tensor(-some.shift_angst / PIXEL).float(),
        torch.as_tensor(some.amplitudes).float(),
    )


def test_a_clean_image_correlates_in_every_shell(reference, at_truth):
    some, pose = at_truth
    forward = Forward(reference, some.observe())
    assert forward.correlation(pose[0], forward.model(*pose)).min() > 0.99
    wrong = (pose[0], pose[1].roll(1, 0), *pose[2:])
    assert forward.correlation(pose[0], forward.model(*wrong)).max() < 0.9


def test_the_last_row_is_the_model(reference, at_truth):
    some, pose = at_truth
    forward = Forward(reference, some.observe())
    torch.testing.assert_close(forward.model_and_slopes(*pose)[:, -1], forward.model(*pose))


@pytest.mark.parametrize(
    ("spacing", "dtype", "close"),
    [(None, torch.bfloat16, 0.999), (3.0, torch.float32, 0.97), (3.0, torch.bfloat16, 0.97)],
)
def test_cheap_slopes_point_the_same_way(reference, at_truth, spacing, dtype, close):
    some, pose = at_truth
    exact = Forward(reference, some.observe()).model_and_slopes(*pose)
    slopes = None if spacing is None else reference.coarsened(spacing)
    cheap = Forward(reference, some.observe(), slopes, dtype).model_and_slopes(*pose)
    cosine = torch.nn.functional.cosine_similarity(exact, cheap, dim=-1)
    assert cosine.min() > close
    torch.testing.assert_close(cheap[:, -1], exact[:, -1])  # the model itself is not approximated


def test_a_shift_moves_only_phases(reference, at_truth):
    some, pose = at_truth
    forward = Forward(reference, some.observe())
    moved = forward.model(pose[0], pose[1], pose[2] + torch.tensor([1.3, -0.4]), pose[3])
    power = [(values.unflatten(-1, (2, -1)) ** 2).sum(1) for values in (forward.model(*pose), moved)]
    np.testing.assert_allclose(power[1], power[0], rtol=1e-3, atol=1e-3 * float(power[0].max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rough_model_is_the_model_to_one_percent(reference, at_truth, dtype):
    some, pose = at_truth
    forward = Forward(reference, some.observe(), dtype=dtype)
    exact, rough = forward.model(*pose), forward.rough_model(*pose)
    assert float(((rough - exact).norm(dim=-1) / exact.norm(dim=-1)).max()) < 0.01
    assert not torch.equal(rough, exact)
