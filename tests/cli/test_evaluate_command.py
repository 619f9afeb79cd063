"""`cflex evaluate` from files to metrics.json."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.conventions import euler_from_matrix, matrix_from_euler
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star

N, N_ATOMS = 40, 12


@pytest.fixture
def scene(tmp_path):
    """Truth and prediction with amplitude errors of 2 Å, 5 degrees about x and a shift of 0.3 Å, and modes."""
    rng = np.random.default_rng(0)
    names = [f"{i + 1:06d}@particles.mrcs" for i in range(N)]
    table = ParticleTable.create(names, 1.5, folder=tmp_path, box=32)
    euler = euler_from_matrix(Rotation.random(N, random_state=0).as_matrix())
    amplitudes = {7: rng.normal(size=N) * 50, 8: rng.normal(size=N) * 50}
    truth = table.with_poses(euler, np.zeros((N, 2))).with_amplitudes(amplitudes)
    write_star(tmp_path / "truth.star", truth)
    turned = matrix_from_euler(euler) @ Rotation.from_euler("x", 5, degrees=True).as_matrix()
    predicted = table.with_poses(euler_from_matrix(turned), np.tile([0.3, 0.0], (N, 1))).with_amplitudes(
        {7: amplitudes[7] + 2, 8: amplitudes[8] - 2}, {7: np.full(N, 1.0), 8: np.full(N, np.nan)}
    )
    write_star(tmp_path / "predicted.star", predicted)
    vectors = np.linalg.qr(rng.normal(size=(3 * N_ATOMS, 2)))[0].T.reshape(2, N_ATOMS, 3)
    coordinates = rng.normal(size=(N_ATOMS, 3)) * 10
    np.savez(tmp_path / "modes.npz", indices=[7, 8], vectors=vectors, coordinates=coordinates, eigenvalues=[0.1, 0.2])
    return tmp_path


def evaluate(scene, *extra, predicted="predicted.star", truth="truth.star"):
    arguments = ["evaluate", scene / predicted, scene / truth, "--modes", scene / "modes.npz", *extra]
    return main([str(argument) for argument in arguments])


def test_known_errors_come_out(scene, capsys):
    assert evaluate(scene, "-o", scene / "out") == 0
    figures = json.loads((scene / "out" / "metrics.json").read_text())
    assert figures["n_particles"] == N
    assert figures["modes"]["7"]["mean_abs_error"] == pytest.approx(2)
    assert figures["modes"]["8"]["mean_signed_error"] == pytest.approx(-2)
    assert figures["modes"]["7"]["predicted_std"]["ratio"] == pytest.approx(2)
    assert figures["modes"]["8"]["predicted_std"] is None
    assert figures["rotation_deg"]["mean"] == pytest.approx(5, abs=1e-3)
    assert figures["axis_distance_deg"]["mean"] == pytest.approx(10 / 3, abs=1e-3)
    assert figures["shift_angst"]["x"]["mean"] == pytest.approx(0.3)
    assert figures["shift_angst"]["y"]["mean"] == 0
    assert figures["rmsd_angst"]["amplitudes"]["mean"] == pytest.approx(np.sqrt(8 / N_ATOMS), rel=1e-4)
    out = capsys.readouterr().out
    assert "amplitude, mode 7" in out
    assert "metrics.json" in out
    record = json.loads((scene / "out" / "run.json").read_text())
    assert record["results"]["failures"]["count"] == 0
    assert len(record["inputs"]) == 3


def test_without_output_the_json_alone_is_on_stdout(scene, capsys):
    assert evaluate(scene) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n_truth"] == N
    assert "angle between axes" in captured.err


def test_the_same_input_gives_the_same_bytes(scene):
    for name in ("a", "b"):
        assert evaluate(scene, "-o", scene / name) == 0
    assert (scene / "a" / "metrics.json").read_bytes() == (scene / "b" / "metrics.json").read_bytes()


def test_a_shuffled_subset_is_compared_by_name_and_said(scene, capsys):
    table = read_particles(scene / "predicted.star", check_images=False)
    (scene / "elsewhere").mkdir()
    write_star(scene / "elsewhere" / "part.star", table.take(np.array([5, 3, 30])))
    assert evaluate(scene, predicted="elsewhere/part.star") == 0
    captured = capsys.readouterr()
    assert f"3 of the {N} particles" in captured.err
    assert json.loads(captured.out)["modes"]["7"]["mean_abs_error"] == pytest.approx(2)


def test_particles_that_are_not_in_the_truth_stop_with_one_line(scene, capsys):
    table = read_particles(scene / "truth.star", check_images=False)
    write_star(scene / "few.star", table.take(np.arange(5)))
    assert evaluate(scene, truth="few.star") == 2
    error = capsys.readouterr().err
    assert "35 of 40 predicted particles are not in the truth" in error
    assert error.count("\n") == 1


def write_coordinates(path, coordinates, **others):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["coordinates"] = coordinates
        for name, value in others.items():
            file[name] = value


def test_coordinate_files_give_the_rmsd_of_structures(scene, capsys):
    truth = np.random.default_rng(1).normal(size=(N, 5, 3)).astype("f4")
    write_coordinates(scene / "t.h5", truth)
    write_coordinates(scene / "p.h5", truth + np.array([0, 3, 4], dtype="f4"))
    assert evaluate(scene, "--coordinates", scene / "p.h5", scene / "t.h5") == 0
    rmsd = json.loads(capsys.readouterr().out)["rmsd_angst"]
    assert rmsd["structures"]["mean"] == pytest.approx(5, rel=1e-5)
    assert rmsd["structures_superposed"]["mean"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("coordinates", "name", "message"),
    [(None, "t.h5", "no such file"), (np.zeros((3, 5, 3)), "t.h5", "found coordinates of 3 particles, expected 40")],
)
def test_coordinate_files_that_do_not_fit_are_named(scene, capsys, coordinates, name, message):
    write_coordinates(scene / "p.h5", np.zeros((N, 5, 3)))
    if coordinates is not None:
        write_coordinates(scene / name, coordinates)
    assert evaluate(scene, "--coordinates", scene / "p.h5", scene / name) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error


def test_an_ensemble_is_compared_by_the_structures_that_amplitudes_make(scene, capsys):
    predicted = read_particles(scene / "predicted.star", check_images=False)
    truth = read_particles(scene / "truth.star", check_images=False)
    write_star(scene / "ensemble.star", truth.with_amplitudes({}).with_results(frame=np.arange(N) + 1))
    with np.load(scene / "modes.npz") as modes:
        amplitudes = np.stack([predicted.amplitudes[7], predicted.amplitudes[8]], axis=1)
        structures = modes["coordinates"] + np.tensordot(amplitudes, modes["vectors"], axes=1)
    atoms = np.array([0, 3, 4, 7, 11])
    write_coordinates(scene / "ensemble.h5", structures[:, atoms].astype("f4"), atom_index=atoms)
    assert evaluate(scene, truth="ensemble.star") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["rmsd_angst"]["structures"]["mean"] == pytest.approx(0, abs=1e-4)
    assert set(figures["modes"]["7"]) == {"rank_correlation_frame"}
    assert "no amplitudes" in captured.err


def test_structures_of_some_atoms_are_compared_by_the_atoms_they_name(scene, capsys):
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(N, N_ATOMS, 3)).astype("f4")
    atoms = np.array([7, 2, 9])
    write_coordinates(scene / "t.h5", truth)
    write_coordinates(scene / "p.h5", truth[:, atoms] + np.array([0, 0, 2], dtype="f4"), atom_index=atoms)
    assert evaluate(scene, "--coordinates", scene / "p.h5", scene / "t.h5") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["rmsd_angst"]["structures"]["mean"] == pytest.approx(2.0, abs=1e-4)
    assert figures["recovered_motion"] == pytest.approx(1.0, abs=1e-3)
    write_coordinates(scene / "few.h5", truth[:, :5], atom_index=np.arange(5))
    assert evaluate(scene, "--coordinates", scene / "p.h5", scene / "few.h5") == 2
    assert "lacks 2 of the 3 atoms" in capsys.readouterr().err


def test_a_modes_file_stands_for_structures_of_the_true_amplitudes(scene, capsys):
    from continuousflex_dl.core.io.modes import read_modes

    truth = read_particles(scene / "truth.star", check_images=False)
    amplitudes = np.stack([truth.amplitudes[7], truth.amplitudes[8]], axis=1)
    write_coordinates(scene / "p.h5", read_modes(scene / "modes.npz").displace(amplitudes))
    assert evaluate(scene, "--coordinates", scene / "p.h5", scene / "modes.npz") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["rmsd_angst"]["structures"]["mean"] < 1e-4
