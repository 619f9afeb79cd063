"""``cflex hemnma --initial-poses``: searches about the poses in the file, and only there."""

import numpy as np
import pytest

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.metrics import rotation_angle_deg

SETTINGS = ["--use", "7,8", "--hypotheses", "8", "--no-learn-prior"]


def turned(a, b):
    return rotation_angle_deg(matrix_from_euler(a.euler_deg), matrix_from_euler(b.euler_deg))


@pytest.fixture(scope="module")
def disturbed(tiny, tmp_path_factory):
    """The true poses, some degrees and pixels off, without amplitudes."""
    truth = read_particles(tiny.truth)
    generator = np.random.default_rng(0)
    euler = truth.euler_deg + generator.uniform(-3, 3, size=truth.euler_deg.shape)
    shift = truth.shift_angst + generator.uniform(-2, 2, size=truth.shift_angst.shape)
    path = tmp_path_factory.mktemp("local") / "disturbed.star"
    write_star(path, truth.with_poses(euler, shift).with_amplitudes({}))
    return path


def test_given_poses_are_refined(tiny, disturbed, cflex, tmp_path):
    out = tmp_path / "out"
    ended = cflex("hemnma", disturbed, "--modes", tiny.modes, "--initial-poses", *SETTINGS, "-o", out)
    assert ended.code == 0
    truth, before, after = (read_particles(path) for path in (tiny.truth, disturbed, out / "particles.star"))
    assert np.median(turned(after, truth)) < 0.6 * np.median(turned(before, truth))
    assert turned(after, before).max() < 20  # nothing is searched far away


def test_far_poses_stay_where_they_are_and_are_flagged(tiny, disturbed, cflex, tmp_path):
    table = read_particles(disturbed)
    far = tmp_path / "far.star"
    write_star(far, table.with_poses(table.euler_deg + np.array([0.0, 70.0, 0.0]), table.shift_angst))
    out = tmp_path / "out"
    local = ["--initial-poses", "--local-range", "4", "--local-shift", "1"]
    assert cflex("hemnma", far, "--modes", tiny.modes, *local, *SETTINGS, "-o", out).code == 0
    after, truth = read_particles(out / "particles.star"), read_particles(tiny.truth)
    assert not (np.asarray(after.converged) & (turned(after, truth) < 3)).any()  # the truth was out of range
