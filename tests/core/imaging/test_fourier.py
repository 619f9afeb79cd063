"""Discs of Fourier coefficients."""

import pytest
import torch

from continuousflex_dl.core.imaging.fourier import Disc, disc_to_image, image_to_disc, shift_phase


@pytest.mark.parametrize("box", [32, 33, 50])
def test_a_delta_at_the_centre_has_unit_coefficients(box):
    image = torch.zeros(box, box)
    image[box // 2, box // 2] = 1
    coefficients = image_to_disc(image, Disc.make(box, 9))
    torch.testing.assert_close(coefficients, torch.ones_like(coefficients))


@pytest.mark.parametrize("box", [32, 33])
def test_band_limited_images_survive_the_round_trip(box):
    disc = Disc.make(box, 10)
    noise = torch.randn(3, box, box, generator=torch.Generator().manual_seed(0))
    limited = disc_to_image(image_to_disc(noise, disc), disc)
    again = disc_to_image(image_to_disc(limited, disc), disc)
    torch.testing.assert_close(limited, again, atol=1e-5, rtol=1e-4)
    # Parseval: the half disc counts twice
    power = (image_to_disc(limited, disc).abs() ** 2).sum(-1) * 2
    torch.testing.assert_close(power, (limited**2).sum((-2, -1)) * box**2, rtol=1e-4, atol=1e-2)


def test_shift_phase_moves_by_whole_pixels():
    disc = Disc.make(32, 12)
    image = disc_to_image(image_to_disc(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)), disc), disc)
    moved = disc_to_image(image_to_disc(image, disc) * shift_phase(disc, torch.tensor([3.0, -2.0])), disc)
    torch.testing.assert_close(moved, torch.roll(image, (-2, 3), dims=(0, 1)), atol=1e-5, rtol=1e-4)


def test_a_smaller_disc_is_the_beginning_of_a_larger_one():
    large, small = Disc.make(64, 20), Disc.make(64, 7)
    inner = large.inner(7)
    assert torch.equal(inner.kx, small.kx)
    assert torch.equal(inner.ky, small.ky)
    assert torch.equal(large.kx[: len(small)], small.kx)


def test_no_frequency_counts_twice_and_none_is_beyond_nyquist():
    disc = Disc.make(16, 100)
    assert disc.radius == 7
    seen = {(int(x), int(y)) for x, y in zip(disc.kx, disc.ky, strict=True)}
    assert len(seen) == len(disc)
    assert not any((-x, -y) in seen for x, y in seen)
