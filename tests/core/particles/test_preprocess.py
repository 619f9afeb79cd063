"""Image preprocessing, by its physical properties."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.particles.preprocess import (
    ImageStatistics,
    background_mask,
    fourier_crop,
    invert_contrast,
    normalise,
    phase_flip,
)

SIZES = st.tuples(st.integers(8, 33), st.integers(4, 33)).filter(lambda pair: pair[1] <= pair[0])


def gaussian(n: int, sigma: float, centre: tuple[float, float]) -> torch.Tensor:
    y, x = (torch.arange(n, dtype=torch.float64) - c for c in centre)
    return torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.floats(-5, 5))
def test_constant_image_stays_constant(sizes, value):
    n, box = sizes
    cropped = fourier_crop(torch.full((2, n, n), value, dtype=torch.float64), box)
    torch.testing.assert_close(cropped, torch.full((2, box, box), value, dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_delta_at_the_centre_stays_at_the_centre_and_symmetric(sizes):
    n, box = sizes
    image = torch.zeros(n, n, dtype=torch.float64)
    image[n // 2, n // 2] = 1
    cropped, c = fourier_crop(image, box), box // 2
    assert int(cropped.argmax()) == c * box + c
    torch.testing.assert_close(cropped, cropped.T)
    reach = min(c, box - 1 - c)
    inner = cropped[c - reach : c + reach + 1, c - reach : c + reach + 1]
    torch.testing.assert_close(inner, inner.flip(0))
    torch.testing.assert_close(inner, inner.flip(1))


@pytest.mark.parametrize(("n", "box"), [(64, 32), (65, 33), (64, 33), (65, 32), (48, 36)])
def test_gaussian_keeps_its_place_height_and_width(n, box):
    scale = box / n
    offset = torch.tensor([3.0, -5.0], dtype=torch.float64)
    image = gaussian(n, 4.0, tuple((n // 2 + offset).tolist()))
    expected = gaussian(box, 4.0 * scale, tuple((box // 2 + offset * scale).tolist()))
    torch.testing.assert_close(fourier_crop(image, box), expected, atol=2e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 2**31))
def test_mirrored_images_give_mirrored_results(sizes, seed):
    n, box = sizes
    n, box = n | 1, (box - 1) | 1  # odd, so that flipping keeps the centre
    image = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(fourier_crop(image.flip(-1), box), fourier_crop(image, box).flip(-1))
    torch.testing.assert_close(fourier_crop(image.flip(-2), box), fourier_crop(image, box).flip(-2))


@pytest.mark.parametrize("n", [32, 33])
@pytest.mark.parametrize("box", [16, 17])
def test_even_crops_keep_mirror_symmetry(n, box):
    mirrored = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    about_centre = lambda image: torch.roll(image.flip(-2), 1 - image.shape[-2] % 2, -2)  # noqa: E731
    torch.testing.assert_close(fourier_crop(about_centre(mirrored), box), about_centre(fourier_crop(mirrored, box)))


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 2**31))
def test_band_limited_image_is_unchanged_and_the_mean_always(sizes, seed):
    n, box = sizes
    image = torch.randn(box, box, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(fourier_crop(image, box), image)
    large = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(fourier_crop(large, box).mean(), large.mean())
    once = fourier_crop(large, box)
    smaller = max(2, box - 3)
    if smaller % 2 or smaller < box - 1:
        torch.testing.assert_close(fourier_crop(once, smaller), fourier_crop(large, smaller))


def test_crop_cannot_enlarge():
    with pytest.raises(ValueError, match="cannot crop images of 8 x 8 px to 9 px"):
        fourier_crop(torch.zeros(8, 8), 9)


@pytest.mark.parametrize("n", [16, 17])
def test_flipping_phases_twice_changes_nothing(n):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, n, n, generator=generator)
    ky, kx = torch.fft.fftfreq(n)[:, None], torch.fft.rfftfreq(n)[None]
    ctf = torch.cos(40 * (ky**2 + kx**2))
    flipped = phase_flip(image, ctf)
    torch.testing.assert_close(phase_flip(flipped, ctf), image, atol=1e-5, rtol=0)
    blurred = torch.fft.irfft2(torch.fft.rfft2(image) * ctf, s=(n, n))
    expected = torch.fft.irfft2(torch.fft.rfft2(image) * ctf.abs(), s=(n, n))
    torch.testing.assert_close(phase_flip(blurred, ctf), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(phase_flip(image, torch.zeros_like(ctf)), image, atol=1e-5, rtol=0)


def test_statistics_are_of_the_background_and_independent_of_batches():
    images = 3 + 2 * torch.randn(40, 20, 20, generator=torch.Generator().manual_seed(0))
    images[:, ~background_mask(20, 8)] += 100
    statistics = ImageStatistics.measure([images], 8)
    assert statistics.mean == pytest.approx(3, abs=0.05)
    assert statistics.std == pytest.approx(2, abs=0.05)
    assert ImageStatistics.measure(images.split(7), 8) == statistics
    assert ImageStatistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics
    torch.testing.assert_close(statistics.apply(images), normalise(images, statistics.mean, statistics.std))
    assert torch.isfinite(ImageStatistics.measure([torch.ones(2, 4, 4)]).apply(torch.ones(2, 4, 4))).all()


def test_statistics_need_images_and_background():
    with pytest.raises(ValueError, match="no images"):
        ImageStatistics.measure([])
    with pytest.raises(ValueError, match="leaves no background"):
        ImageStatistics.measure([torch.zeros(1, 8, 8)], 20)


def test_background_circle_is_centred():
    mask = background_mask(9, 3)
    assert not mask[4, 4]
    assert (mask == mask.flip(0)).all()
    assert (mask == mask.T).all()


def test_contrast_inversion():
    assert invert_contrast(torch.ones(1, 2, 2)).sum() == -4
