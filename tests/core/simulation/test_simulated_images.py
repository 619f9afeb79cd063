"""Simulated images: the stated noise, CTF, poses and sizes."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.conventions import projected_pixel
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.simulation.ctf_rows import constant_ctf, read_ctf_table
from continuousflex_dl.core.simulation.images import add_noise
from continuousflex_dl.core.simulation.particles import Microscope, draw_poses, simulate_block

BOX, PIXEL = 64, 2.0


def block(microscope, ctf=None, count=6, seed=0, atoms=80):
    generator = np.random.default_rng(9)
    coordinates = np.broadcast_to(generator.normal(scale=12, size=(atoms, 3)), (count, atoms, 3))
    euler, shift = draw_poses(count, 6.0, 3)
    return simulate_block(coordinates, np.ones(atoms), euler, shift, ctf, microscope, seed)


def ctf_of(count=6, defocus=12000.0):
    return constant_ctf(count, voltage=200, cs=2.0, amplitude_contrast=0.1, defocus=defocus)


@pytest.mark.parametrize("with_ctf", [False, True])
@pytest.mark.parametrize("snr", [0.1, 1.0])
def test_noise_has_the_stated_power(snr, with_ctf):
    ctf = ctf_of() if with_ctf else None
    clean, noisy = (block(Microscope(BOX, PIXEL, 2.0, value), ctf) for value in (None, snr))
    ratio = clean.var(axis=(1, 2)) / (noisy - clean).var(axis=(1, 2))
    np.testing.assert_allclose(ratio, snr, rtol=0.08)


def test_half_of_the_noise_passes_through_the_ctf():
    signal = torch.ones(200, BOX, BOX) * torch.linspace(-1, 1, BOX)
    transfer = torch.zeros(200, BOX, BOX // 2 + 1)
    transfer[:, :, :8] = 1.0  # what goes through is below a known frequency along x
    noisy = add_noise(signal, transfer, 0.01, torch.Generator().manual_seed(0))
    power = (torch.fft.rfft2(noisy).abs() ** 2).mean((0, 1))
    passed, blocked = power[2:8].mean(), power[10:30].mean()
    # outside the pass band only the noise after the CTF is left; inside, the noise before it is added
    area = 2 * 8 / BOX
    np.testing.assert_allclose(float(passed / blocked), 1 + 1 / area, rtol=0.1)


def test_phase_flip_makes_the_transfer_positive():
    ctf = ctf_of()
    plain, flipped = (block(Microscope(BOX, PIXEL, 2.0, None, phase_flip=flip), ctf) for flip in (False, True))
    bare = block(Microscope(BOX, PIXEL, 2.0, None))
    transfer = (np.fft.rfft2(flipped) * np.conj(np.fft.rfft2(bare))).real
    strong = np.abs(np.fft.rfft2(bare)) > 1.0
    assert (transfer[strong] > -1e-2).all()
    np.testing.assert_allclose(np.abs(np.fft.rfft2(flipped)), np.abs(np.fft.rfft2(plain)), atol=1e-3)


def test_downsampling_keeps_grey_values_and_centre():
    fine = block(Microscope(BOX, PIXEL, 6.0, None))
    coarse = block(Microscope(BOX, PIXEL, 6.0, None, final_box=32))
    assert coarse.shape == (6, 32, 32)
    np.testing.assert_allclose(coarse, fine[:, ::2, ::2], atol=2e-4)
    assert Microscope(BOX, PIXEL, 6.0, None, final_box=32).final_pixel_size == 4.0


def test_an_atom_appears_where_the_conventions_say():
    atom = np.array([[[14.0, -9.0, 21.0]]])
    for seed in range(4):
        euler, shift = draw_poses(1, 10.0, seed)
        image = simulate_block(atom, np.ones(1), euler, shift, None, Microscope(BOX, PIXEL, 2.0, None), 0)[0]
        y, x = np.indices(image.shape)
        centre = [(image * x).sum() / image.sum(), (image * y).sum() / image.sum()]
        np.testing.assert_allclose(centre, projected_pixel(atom[0], euler[0], shift[0], PIXEL, BOX)[0], atol=1e-3)


def test_same_seed_same_images():
    microscope = Microscope(BOX, PIXEL, 2.0, 0.1)
    assert block(microscope, seed=5).tobytes() == block(microscope, seed=5).tobytes()
    assert block(microscope, seed=5).tobytes() != block(microscope, seed=6).tobytes()


def test_poses_are_uniform():
    euler, shift = draw_poses(20000, 10.0, 0)
    np.testing.assert_allclose(np.cos(np.deg2rad(euler[:, 1])).mean(), 0, atol=0.02)
    np.testing.assert_allclose(np.abs(np.cos(np.deg2rad(euler[:, 1]))).mean(), 0.5, atol=0.01)
    assert np.abs(shift).max() <= 10.0


def test_ctf_rows_of_a_cryodrgn_table(tmp_path, shared_data):
    rows = read_ctf_table(shared_data / "particles/empiar10028_ctf.npz")
    assert len(rows) == 105247
    assert set(rows.voltage_kv) == {300.0}
    assert 5000 < np.median(rows.defocus_u_angst) < 40000


def test_a_file_without_ctf_rows_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", table=np.zeros((4, 3)))
    with pytest.raises(InputError, match="no table with 9 columns"):
        read_ctf_table(tmp_path / "a.npz")
    with pytest.raises(InputError, match="no such file"):
        read_ctf_table(tmp_path / "b.npz")
