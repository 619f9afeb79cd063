"""Noise measured beside the particle."""

import pytest
import torch

from continuousflex_dl.core.imaging.noise import background_power, soft_disc, without_plane


def test_white_noise_is_flat_and_of_the_right_power():
    images = 3.0 * torch.randn(64, 48, 48, generator=torch.Generator().manual_seed(0))
    power = background_power(images, radius_px=12)
    assert float(power[2:].mean()) == pytest.approx(9.0 * 48**2, rel=0.05)
    assert float(power[2:].std() / power[2:].mean()) < 0.1


def test_a_bright_particle_does_not_count():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(64, 48, 48, generator=generator)
    with_particle = noise + 20 * soft_disc(48, 6, 3)
    torch.testing.assert_close(background_power(with_particle, 14), background_power(noise, 14), rtol=0.02, atol=1.0)


def test_coloured_noise_shows_its_colour():
    white = torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(2))
    frequency = torch.sqrt(torch.fft.fftfreq(64)[:, None] ** 2 + torch.fft.rfftfreq(64) ** 2)
    blue = torch.fft.irfft2(torch.fft.rfft2(white) * (0.2 + frequency), s=(64, 64))
    power = background_power(blue, 15)
    assert float(power[28] / power[6]) == pytest.approx(((0.2 + 28 / 64) / (0.2 + 6 / 64)) ** 2, rel=0.15)


def test_a_plane_is_taken_out_and_what_is_in_the_middle_stays():
    y, x = torch.meshgrid(torch.arange(32) - 16.0, torch.arange(32) - 16.0, indexing="ij")
    blob = torch.exp(-(x**2 + y**2) / 18)
    tilted = blob + 3.0 + 0.2 * x - 0.1 * y
    torch.testing.assert_close(without_plane(tilted[None], 14.0)[0], blob, atol=2e-3, rtol=0)
    torch.testing.assert_close(without_plane(blob[None], 14.0)[0], blob, atol=2e-3, rtol=0)
