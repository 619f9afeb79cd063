"""Metrics by their properties: what must not change, what must be zero, and values known in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core import metrics
from continuousflex_dl.core.conventions import euler_from_matrix, matrix_from_euler
from continuousflex_dl.core.errors import InputError, NonFiniteError

N_ATOMS = 40


class FakeModes:
    """Modes of random atoms, orthonormal, with what metrics and spaces use of `NormalModes`."""

    def __init__(self, rng, numbers=(7, 8, 9), coordinates=None, vectors=None):
        self.indices = np.array(numbers)
        self.coordinates = rng.normal(size=(N_ATOMS, 3)) * 20 if coordinates is None else coordinates
        if vectors is None:
            vectors = np.linalg.qr(rng.normal(size=(3 * N_ATOMS, len(numbers))))[0].T.reshape(-1, N_ATOMS, 3)
        self.vectors = vectors

    @property
    def centred(self):
        return self.coordinates - self.coordinates.mean(axis=0)

    def select(self, numbers):
        positions = [list(self.indices).index(number) for number in numbers]
        return FakeModes(None, np.array(numbers), self.coordinates, self.vectors[positions])


def particles(rng, n=50, modes=(7, 8, 9), **changes):
    values = {
        "image_name": [f"{i + 1:06d}@stack.mrcs" for i in range(n)],
        "euler_deg": euler_from_matrix(Rotation.random(n, random_state=int(rng.integers(1000))).as_matrix()),
        "shift_angst": rng.normal(size=(n, 2)) * 5,
        "amplitudes": {mode: rng.normal(size=n) * 100 for mode in modes},
        "amplitude_std": {},
        "frame": None,
        "converged": None,
        "confidence": None,
        "angle_std_deg": None,
        "shift_std_angst": None,
    }
    return SimpleNamespace(**(values | changes))


def changed(table, **changes):
    return SimpleNamespace(**(vars(table) | changes))


def rotated(table, rotation, side):
    matrix = matrix_from_euler(table.euler_deg)
    return changed(table, euler_deg=euler_from_matrix(rotation @ matrix if side == "left" else matrix @ rotation))


def flat(figures, prefix=""):
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and value is not None:
            yield f"{prefix}{key}", value


def test_identical_sets_have_no_error(rng):
    table, modes = particles(rng), FakeModes(rng)
    figures = metrics.particle_errors(table, table, modes).figures()
    assert figures["amplitude_mean_abs_error"] == 0
    assert figures["failures"]["count"] == 0
    assert set(figures["rmsd_angst"]) == {"amplitudes", "angles", "shifts", "total"}
    for part in [figures["rotation_deg"], figures["axis_distance_deg"], *figures["rmsd_angst"].values()]:
        assert part == {"mean": 0, "std": 0, "median": 0}
    assert all(entry["rank_correlation"] == pytest.approx(1) for entry in figures["modes"].values())


def test_turning_every_image_frame_of_both_sets_changes_no_orientation_figure(rng):
    predicted, truth, modes = particles(rng), particles(rng), FakeModes(rng)
    turn = Rotation.from_euler("z", 73, degrees=True).as_matrix()
    before = metrics.particle_errors(predicted, truth, modes).figures()
    spun = [
        changed(rotated(table, turn, "left"), shift_angst=table.shift_angst @ turn[:2, :2].T)
        for table in (predicted, truth)
    ]
    after = metrics.particle_errors(*spun, modes).figures()
    del before["shift_angst"]["x"], before["shift_angst"]["y"]
    assert dict(flat(before)) == pytest.approx({key: dict(flat(after))[key] for key, _ in flat(before)}, rel=1e-9)


def test_turning_the_reference_changes_nothing_but_the_choice_of_axes(rng):
    predicted, truth, modes = particles(rng), particles(rng), FakeModes(rng)
    turn = Rotation.random(random_state=3).as_matrix()
    before = metrics.particle_errors(predicted, truth, modes).figures()
    turned = FakeModes(rng, modes.indices, modes.coordinates @ turn.T + 7, modes.vectors @ turn.T)
    after = metrics.particle_errors(
        rotated(predicted, turn.T, "right"), rotated(truth, turn.T, "right"), turned
    ).figures()
    for figures in (before, after):
        del figures["axis_distance_deg"]
    assert dict(flat(before)) == pytest.approx(dict(flat(after)), rel=1e-9)


def test_five_degrees_about_x_move_two_axes_by_five():
    truth = np.eye(3)[None]
    predicted = Rotation.from_euler("x", 5, degrees=True).as_matrix()[None]
    assert metrics.rotation_angle_deg(predicted, truth) == pytest.approx(5)
    assert metrics.axis_distance_deg(predicted, truth) == pytest.approx(10 / 3)


@pytest.mark.parametrize("angle", [1e-6, 0.3, 20.0, 90.0, 179.0, 180.0])
def test_rotation_angle_is_that_of_the_relative_rotation(angle, rng):
    base = Rotation.random(20, random_state=1)
    axis = rng.normal(size=(20, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    moved = (Rotation.from_rotvec(np.deg2rad(angle) * axis) * base).as_matrix()
    assert metrics.rotation_angle_deg(moved, base.as_matrix()) == pytest.approx(np.full(20, angle), rel=1e-6)


def test_rmsd_agrees_with_moving_every_atom(rng):
    predicted, truth, modes = particles(rng, n=12), particles(rng, n=12), FakeModes(rng)
    found = metrics.particle_errors(predicted, truth, modes).rmsd
    centred = modes.coordinates - modes.coordinates.mean(axis=0)

    def place(table, row, deform, turn, move):
        atoms = centred + deform * sum(
            table.amplitudes[m][row] * v for m, v in zip(modes.indices, modes.vectors, strict=True)
        )
        if turn:
            atoms = atoms @ matrix_from_euler(table.euler_deg[row]).T
        return atoms - np.append(table.shift_angst[row], 0) * move

    for kind, switches in {
        "amplitudes": (1, 0, 0),
        "angles": (0, 1, 0),
        "shifts": (0, 0, 1),
        "total": (1, 1, 1),
    }.items():
        for row in range(12):
            difference = place(predicted, row, *switches) - place(truth, row, *switches)
            assert found[kind][row] == pytest.approx(np.sqrt((difference**2).sum(axis=1).mean()))


def test_amplitude_rmsd_is_amplitude_over_root_of_atoms(rng):
    truth, modes = particles(rng, modes=(7,)), FakeModes(rng, numbers=(7,))
    predicted = changed(truth, amplitudes={7: truth.amplitudes[7] + 3})
    assert metrics.particle_errors(predicted, truth, modes).rmsd["amplitudes"] == pytest.approx(
        np.full(50, 3 / np.sqrt(N_ATOMS))
    )


def test_a_wrong_pose_is_a_failure(rng):
    truth = particles(rng, n=4)
    turn = Rotation.from_euler("z", [0, 19, 21, 180], degrees=True).as_matrix()
    predicted = changed(truth, euler_deg=euler_from_matrix(turn @ matrix_from_euler(truth.euler_deg)))
    figures = metrics.particle_errors(predicted, truth).figures()
    assert figures["failures"] == {"threshold_deg": 20.0, "count": 2, "fraction": 0.5}


def test_particles_are_matched_by_name_not_by_row(rng):
    truth = particles(rng)
    order = rng.permutation(50)[:30]
    predicted = changed(
        truth,
        image_name=[f"{order_i + 1}@../elsewhere/stack.mrcs" for order_i in order],
        euler_deg=truth.euler_deg[order],
        shift_angst=truth.shift_angst[order],
        amplitudes={mode: values[order] for mode, values in truth.amplitudes.items()},
    )
    errors = metrics.particle_errors(predicted, truth)
    assert (errors.true_rows == order).all()
    assert errors.n_truth == 50
    assert len(errors) == 30
    assert np.abs(errors.shift_angst).max() == 0


def test_stacks_of_equal_name_are_told_apart_by_their_folders():
    truth = ["1@a/s.mrcs", "1@b/s.mrcs"]
    assert metrics.match_particles(["1@x/b/s.mrcs", "1@a/s.mrcs"], truth).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (["1@s.mrcs", "9@s.mrcs"], ["1@s.mrcs", "2@s.mrcs"], "row 2, '9@s.mrcs'"),
        (["1@t.mrcs"], ["1@s.mrcs"], "not in the truth"),
        (["1@s.mrcs", "1@s.mrcs"], ["1@s.mrcs", "2@s.mrcs"], "rows 1 and 2 are the same"),
        (["1@s.mrcs"], ["1@s.mrcs", "1@s.mrcs"], "more than once"),
    ],
)
def test_particles_that_do_not_match_are_refused(predicted, truth, message):
    with pytest.raises(InputError, match=message):
        metrics.match_particles(predicted, truth)


def test_modes_of_one_side_only_are_named_and_count_as_zero(rng):
    truth, modes = particles(rng), FakeModes(rng)
    predicted = changed(truth, amplitudes={7: truth.amplitudes[7]})
    errors = metrics.particle_errors(predicted, truth, modes)
    figures = errors.figures()
    assert list(figures["modes"]) == ["7"]
    assert figures["modes_only_truth"] == [8, 9]
    left_out = np.hypot(truth.amplitudes[8], truth.amplitudes[9]) / np.sqrt(N_ATOMS)
    assert errors.rmsd["amplitudes"] == pytest.approx(left_out)


def test_an_ensemble_without_amplitudes_gives_poses_and_rank_correlations(rng):
    truth = particles(rng, amplitudes={}, frame=np.arange(50) // 5 + 1)
    predicted = changed(truth, amplitudes={7: truth.frame**3.0, 8: -(truth.frame**0.5), 9: np.zeros(50)})
    figures = metrics.particle_errors(predicted, truth, FakeModes(rng)).figures()
    assert figures["modes"]["7"] == {"rank_correlation_frame": pytest.approx(1)}
    assert figures["modes"]["8"]["rank_correlation_frame"] == pytest.approx(-1)
    assert figures["modes"]["9"]["rank_correlation_frame"] is None
    assert set(figures["rmsd_angst"]) == {"angles", "shifts"}
    assert "amplitude_mean_abs_error" not in figures


def test_files_without_poses_are_compared_by_amplitudes_alone(rng):
    truth = particles(rng, euler_deg=None, shift_angst=None)
    figures = metrics.particle_errors(truth, truth, FakeModes(rng)).figures()
    assert set(figures["rmsd_angst"]) == {"amplitudes"}
    assert "rotation_deg" not in figures


def test_modes_file_must_hold_the_modes_of_the_particles(rng):
    table = particles(rng, modes=(7, 12))
    with pytest.raises(InputError, match="12"):
        metrics.particle_errors(table, table, FakeModes(rng))


def test_calibration_of_errors_drawn_from_the_predicted_width(rng):
    sigma = rng.uniform(1, 10, size=20000)
    found = metrics.calibration(rng.normal(size=20000) * sigma, sigma)
    assert found["ratio"] == pytest.approx(1, abs=0.03)
    assert found["robust_ratio"] == pytest.approx(1, abs=0.03)
    assert found["within_1_std"] == pytest.approx(0.683, abs=0.02)
    too_confident = metrics.calibration(rng.normal(size=20000) * sigma, sigma / 2)
    assert too_confident["ratio"] == pytest.approx(2, abs=0.06)
    assert metrics.calibration(sigma, np.full(20000, np.nan)) is None


def test_coordinates_are_compared_in_chunks_and_by_row(rng, tmp_path):
    h5py = pytest.importorskip("h5py")
    truth = rng.normal(size=(23, 6, 3)).astype(np.float32)
    rows = rng.permutation(23)[:17]
    offsets = np.arange(17, dtype=np.float32)
    predicted = truth[rows] + offsets[:, None, None] * np.array([1, 0, 0], dtype=np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["predicted"], file["truth"] = predicted, truth
        found = metrics.coordinate_rmsd(file["predicted"], file["truth"], rows, chunk=5)
        assert found == pytest.approx(offsets, abs=1e-5)
        assert metrics.coordinate_rmsd(file["predicted"], file["truth"], rows, superpose=True) == pytest.approx(
            np.zeros(17), abs=1e-3
        )


def test_superposition_removes_rotations_but_not_mirrors(rng):
    truth = rng.normal(size=(1, 30, 3))
    turned = truth @ Rotation.random(random_state=5).as_matrix().T
    mirrored = truth * np.array([1, 1, -1])
    assert metrics.coordinate_rmsd(turned, truth, superpose=True)[0] == pytest.approx(0, abs=1e-6)
    assert metrics.coordinate_rmsd(mirrored, truth, superpose=True)[0] > 0.5


def test_bad_coordinates_are_refused(rng):
    good = rng.normal(size=(3, 5, 3))
    with pytest.raises(InputError, match="equal numbers of atoms"):
        metrics.coordinate_rmsd(good, good[:, :4])
    with pytest.raises(InputError, match="matched"):
        metrics.coordinate_rmsd(good, good[:2])
    broken = good.copy()
    broken[1, 2, 0] = np.nan
    with pytest.raises(NonFiniteError, match="predicted ones of particle 2"):
        metrics.coordinate_rmsd(broken, good)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_flags_are_judged_by_the_wrong_poses_they_meet():
    wrong = np.array([True, True, False, False, False])
    figures = metrics.flag_figures(np.array([True, False, True, False, False]), wrong)
    assert (figures["precision"], figures["recall"], figures["flagged"], figures["wrong"]) == (0.5, 0.5, 2, 2)
    assert metrics.flag_figures(np.zeros(5, bool), wrong)["precision"] is None
    assert metrics.flag_figures(np.ones(5, bool), np.zeros(5, bool))["recall"] is None


def test_confidence_that_is_right_expects_as_many_wrong_poses_as_there_are(rng):
    confidence = rng.beta(4, 1, 20_000)
    wrong = rng.random(20_000) > confidence
    figures = metrics.confidence_figures(confidence, wrong)
    assert figures["expected"] == pytest.approx(figures["wrong"], rel=0.05)
    assert figures["break_even"] == pytest.approx(figures["break_even_expected"], abs=0.03)
    too_sure = metrics.confidence_figures(confidence**0.2, wrong)
    assert too_sure["expected"] < 0.5 * too_sure["wrong"]
    assert metrics.confidence_figures(np.ones(3), np.zeros(3, bool))["break_even"] is None


def test_pose_errors_drawn_from_the_predicted_width_are_calibrated(rng):
    n = 4000
    std = rng.uniform(0.5, 3.0, n)
    errors = metrics.ParticleErrors(
        np.arange(n),
        n,
        rotation_deg=np.linalg.norm(rng.normal(size=(n, 3)) * std[:, None], axis=1),
        axis_deg=np.zeros(n),
        shift_angst=rng.normal(size=(n, 2)) * std[:, None],
        angle_std_deg=std,
        shift_std_angst=std,
    )
    figures = errors.figures()
    assert figures["angle_error_over_predicted"] == pytest.approx(1.0, abs=0.05)
    assert figures["shift_error_over_predicted"] == pytest.approx(1.0, abs=0.05)


def test_recovered_motion_is_the_share_of_the_true_amplitude():
    rng = np.random.default_rng(0)
    rows = rng.permutation(300)
    truth = rng.normal(size=(5, 3)) * 20 + rng.normal(size=(300, 1, 1)) * rng.normal(size=(5, 3))
    mean = truth.mean(axis=0)
    assert metrics.recovered_motion(truth[rows], truth, rows) == pytest.approx(1.0)
    assert metrics.recovered_motion((mean + 0.6 * (truth - mean))[rows] + 7, truth, rows) == pytest.approx(0.6)
    noisy = truth + rng.normal(size=truth.shape)
    assert metrics.recovered_motion(noisy, truth, np.arange(300)) == pytest.approx(1.0, abs=0.05)
    assert metrics.recovered_motion(noisy, np.repeat(mean[None], 300, axis=0), np.arange(300)) is None
