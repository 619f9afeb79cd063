"""Fourier shell correlation by its properties."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.reconstruction.filters import radial_filter, sphere_mask
from continuousflex_dl.core.reconstruction.fsc import ShellCorrelation, masked_correlation, shell_correlation


def white(seed, box=48):
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("box", [24, 25])
def test_a_map_correlates_with_itself_and_against_its_negative(box):
    a = white(0, box)
    assert shell_correlation(a, a, 1.0).correlation == pytest.approx(1)
    assert shell_correlation(a, 3 * a + 7, 1.0).correlation == pytest.approx(1)  # neither scale nor level counts
    assert shell_correlation(a, -a, 1.0).correlation[1:] == pytest.approx(-1)


def test_noise_does_not_correlate():
    curve = shell_correlation(white(0), white(1), 1.0).correlation
    shells = np.arange(4, len(curve))
    expected = 1 / np.sqrt(2 * np.pi * shells**2)  # one over the root of the independent terms
    assert np.abs(curve[4:] / expected).max() < 4
    assert np.abs(curve[4:] / expected).mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.25)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_the_value_is_the_signal_to_noise_ratio_over_one_more(ratio):
    signal = white(0) * ratio**0.5
    curve = shell_correlation(signal + white(1), signal + white(2), 1.0)
    assert curve.correlation[8:].mean() == pytest.approx(ratio / (1 + ratio), abs=0.01)


def test_resolution_is_interpolated_between_shells():
    curve = ShellCorrelation(np.array([1, 1, 0.9, 0.4, 0.1, 0.6, 0.0]), box=20, pixel_size=2.0)
    assert curve.resolution(0.5) == pytest.approx(40 / 2.8)  # the later rise does not count
    assert curve.resolution(0.143) == pytest.approx(40 / (3 + 0.257 / 0.3))
    assert curve.frequency[3] == pytest.approx(3 / 40)
    assert ShellCorrelation(np.array([1, 0.9, 0.8]), 20, 2.0).resolution(0.5) == pytest.approx(40 / 2)
    assert ShellCorrelation(np.array([0.1, 0.0]), 20, 2.0).resolution(0.5) == np.inf


def test_shells_are_whole_spheres():
    """A wave along (k, 0, 0), (0, k, 0) or (0, 0, k) is in shell k alone."""
    box = 24
    axis = torch.arange(box) / box
    for dimension in range(3):
        shape = [1, 1, 1]
        shape[dimension] = box
        wave = torch.cos(2 * torch.pi * 5 * axis).reshape(shape).expand(box, box, box)
        curve = shell_correlation(wave + 1e-3 * white(0, box), wave + 1e-3 * white(1, box), 1.0).correlation
        assert curve[5] == pytest.approx(1, abs=1e-4)
        assert np.abs(curve[[3, 4, 6, 7, 8]]).max() < 0.7


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="cubic maps of one size"):
        shell_correlation(white(0, 16), white(0, 18), 1.0)


def test_what_a_mask_correlates_by_itself_is_taken_off():
    """Signal to a quarter of Nyquist, noise beyond; a small mask with a sharp edge feigns agreement there."""
    signal = radial_filter(white(0), 1.0, low_pass=48 / 8) * 8
    first, second = signal + white(1), signal + white(2)
    mask = sphere_mask(48, 5.0, 1.0)
    masked, corrected = masked_correlation(first, second, mask, 1.0, torch.Generator().manual_seed(0))
    beyond = slice(14, None)
    assert masked.correlation[1:6].min() > 0.9
    assert corrected.correlation[1:6] == pytest.approx(masked.correlation[1:6])
    assert np.abs(corrected.correlation[beyond]).mean() <= np.abs(masked.correlation[beyond]).mean() + 0.05
    again = masked_correlation(first, second, mask, 1.0, torch.Generator().manual_seed(0))[1]
    assert np.array_equal(again.correlation, corrected.correlation)
    # one structure in the mask and the same noise in both: that is signal, and stays
    same = masked_correlation(first, first, mask, 1.0, torch.Generator().manual_seed(0))[1]
    assert same.correlation == pytest.approx(1)


def test_a_shared_mask_alone_makes_noise_agree_and_the_correction_finds_it():
    """Both halves hold the same strong solvent-free core outside of which only a mask of fine detail is common."""
    generator = np.random.default_rng(0)
    fine = torch.as_tensor((generator.random((48, 48, 48)) > 0.5).astype(np.float32))
    signal = radial_filter(white(0), 1.0, low_pass=48 / 6) * 30 + 20
    first, second = signal + white(1), signal + white(2)
    masked, corrected = masked_correlation(first, second, fine, 1.0, torch.Generator().manual_seed(0))
    assert masked.correlation[14:].mean() > 0.5
    assert np.abs(corrected.correlation[14:].mean()) < 0.15
