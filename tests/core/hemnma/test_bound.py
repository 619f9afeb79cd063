"""The Cramer-Rao bound: it grows with the noise, and refinement from the truth reaches it."""

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.hemnma.align import Settings
from continuousflex_dl.core.hemnma.bound import cramer_rao
from continuousflex_dl.core.hemnma.pipeline import Hemnma
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.tests.synthetic import write_structure


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The same particles at two noise levels."""
    folder = tmp_path_factory.mktemp("bound")
    write_structure(folder / "structure.pdb")
    network = ["--representation", "ca-p", "--block-size", "0", "--cutoff", "12", "--n-modes", "8"]
    assert main(["nma", str(folder / "structure.pdb"), "-o", str(folder / "nma"), *network]) == 0
    modes = folder / "nma" / "modes.npz"
    for name, snr in (("clear", "1"), ("faint", "0.25")):
        size = ["--n-particles", "32", "--box", "48", "--pixel-size", "2.5", "--shift-px", "1", "--no-ctf"]
        law = ["--use", "7,8", "--law", "uniform", "--amplitude", "20", "--snr", snr]
        assert main(["simulate", str(modes), "-o", str(folder / name), *size, *law]) == 0
    return folder, read_modes(modes).select([7, 8])


def bound_of(folder, name, modes):
    table = read_particles(folder / name / "particles.star")
    truth = read_particles(folder / name / "truth.star")
    hemnma = Hemnma(table, ImageStack(table), modes, Settings(max_shift_px=3), ctf_choice="none")
    return cramer_rao(hemnma, truth)


def test_four_times_the_noise_power_doubles_the_bound(sets):
    folder, modes = sets
    clear, faint = (bound_of(folder, name, modes) for name in ("clear", "faint"))
    for name in ("amplitudes", "angle_deg", "shift_angst"):
        ratio = np.median(getattr(faint, name) / getattr(clear, name))
        assert 1.7 < ratio < 2.3


def test_without_a_truth_there_is_no_bound(sets):
    folder, modes = sets
    table = read_particles(folder / "clear" / "particles.star")
    hemnma = Hemnma(table, ImageStack(table), modes, Settings(), ctf_choice="none")
    with pytest.raises(InputError, match=r"truth\.star"):
        cramer_rao(hemnma, table)
