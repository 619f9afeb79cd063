"""Amplitudes move the structure as promised; modes are found by number."""

import numpy as np
import pytest

from continuousflex_dl.core.dynamics.modes import default_sigma, describe_numbers, normal_modes
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure


@pytest.fixture(scope="module")
def modes(shared_data):
    structure = representation(read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")[0], "ca-p")
    return normal_modes(structure, None, 15.0, 12)


def test_amplitude_is_rmsd_times_root_n(modes):
    moved = modes.displace([30.0, 0, -40.0, 0, 0, 0])
    rmsd = np.sqrt(((moved - modes.coordinates) ** 2).sum(axis=1).mean())
    assert rmsd == pytest.approx(50 / np.sqrt(76))
    assert modes.rmsd_per_amplitude == pytest.approx(1 / np.sqrt(76))


def test_displace_takes_any_leading_shape(modes):
    amplitudes = np.random.default_rng(0).normal(size=(2, 3, 6))
    moved = modes.displace(amplitudes)
    assert moved.shape == (2, 3, 76, 3)
    np.testing.assert_allclose(moved[1, 2], modes.displace(amplitudes[1, 2]))
    with pytest.raises(ValueError, match="expected"):
        modes.displace(np.zeros(5))


def test_select_keeps_the_order_asked_for(modes):
    chosen = modes.select([9, 7])
    assert chosen.indices.tolist() == [9, 7]
    np.testing.assert_array_equal(chosen.vectors[1], modes.vectors[0])
    with pytest.raises(InputError, match=r"mode 13, 40 .* found 7-12"):
        modes.select([7, 13, 40])


def test_centre_is_the_unweighted_mean(modes):
    np.testing.assert_allclose(modes.centred.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(modes.centred - modes.centred[0], modes.coordinates - modes.coordinates[0])


def test_default_widths(shared_data):
    structure, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    assert default_sigma(structure) == 1.0
    assert default_sigma(representation(structure, "ca-p")) == 3.0


def test_numbers_are_described_as_ranges():
    assert describe_numbers(np.array([7, 8, 9, 12, 14, 15])) == "7-9, 12, 14-15"
