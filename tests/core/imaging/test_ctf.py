"""CTF: against torch-ctf, and its known values."""

import numpy as np
import pytest
import torch
import torch_ctf

from continuousflex_dl.core.imaging.ctf import CtfBatch, ctf


def batch(**changes):
    values = {
        "voltage_kv": 300.0,
        "cs_mm": 2.7,
        "amplitude_contrast": 0.07,
        "defocus_u_angst": 18000.0,
        "defocus_v_angst": 15000.0,
        "defocus_angle_deg": 37.0,
        "phase_shift_deg": 0.0,
    } | changes
    return CtfBatch(**{name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()})


def grid(box, pixel):
    fy = torch.fft.fftfreq(box, d=pixel, dtype=torch.float64)
    fx = torch.fft.rfftfreq(box, d=pixel, dtype=torch.float64)
    return torch.stack(torch.broadcast_tensors(fx[None, :], fy[:, None]), -1)


@pytest.mark.parametrize("phase", [0.0, 40.0])
@pytest.mark.parametrize("voltage", [200.0, 300.0])
def test_same_as_torch_ctf(phase, voltage):
    box, pixel = 64, 1.3
    parameters = batch(phase_shift_deg=phase, voltage_kv=voltage)
    ours = ctf(parameters, grid(box, pixel).reshape(-1, 2), dtype=torch.float64).reshape(box, box // 2 + 1)
    theirs = torch_ctf.calculate_ctf_2d(
        defocus=1.65,
        astigmatism=0.15,
        astigmatism_angle=37.0,
        voltage=voltage,
        spherical_aberration=2.7,
        amplitude_contrast=0.07,
        phase_shift=phase,
        pixel_size=pixel,
        image_shape=(box, box),
        rfft=True,
        fftshift=False,
    )
    candidates = [theirs, -theirs]  # torch-ctf states the opposite sign: it describes dark particles
    error = min(float((ours - candidate).abs().max()) for candidate in candidates)
    assert error < 1e-3


def test_low_frequencies_keep_the_contrast_of_white_particles():
    at_zero = ctf(batch(), torch.zeros(1, 2, dtype=torch.float64), dtype=torch.float64)
    assert float(at_zero) == pytest.approx(0.07)
    assert float(ctf(batch(), torch.tensor([[0.01, 0.0]]))) > 0.07


def test_defocus_u_is_along_its_angle():
    s, angle = 1 / 12.0, np.deg2rad(37.0)
    along = torch.tensor([[s * np.cos(angle), s * np.sin(angle)]])
    u_only = batch(defocus_v_angst=18000.0)
    assert float(ctf(batch(), along)) == pytest.approx(float(ctf(u_only, along)), abs=1e-6)


def test_first_zero_of_a_pure_phase_ctf():
    defocus, wavelength = 20000.0, 0.019687
    parameters = batch(amplitude_contrast=0.0, cs_mm=0.0, defocus_u_angst=defocus, defocus_v_angst=defocus)
    zero = torch.tensor([[np.sqrt(1 / (wavelength * defocus)), 0.0]], dtype=torch.float64)
    assert abs(float(ctf(parameters, zero))) < 1e-3
