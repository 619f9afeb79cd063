"""`cflex space` from files to files."""

import json

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.core.structure.reader import read_structure

N, N_ATOMS = 120, 20


@pytest.fixture
def result(tmp_path):
    """A result directory with particles on an arc in two modes, three of them unconverged, and modes beside it."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "hemnma"
    folder.mkdir()
    names = [f"{i + 1:06d}@particles.mrcs" for i in range(N)]
    table = ParticleTable.create(names, 1.5, folder=folder, box=32)
    angle = np.linspace(0, np.pi, N)
    converged = np.ones(N)
    converged[:3] = 0
    amplitudes = {9: 20 * np.sin(angle), 7: 50 * np.cos(angle) + 10}
    table = table.with_poses(rng.uniform(0, 180, (N, 3)), np.zeros((N, 2))).with_amplitudes(amplitudes)
    write_star(folder / "truth.star", table)
    write_star(folder / "particles.star", table.with_results(score=rng.uniform(size=N), converged=converged))
    (tmp_path / "nma").mkdir()
    vectors = np.linalg.qr(rng.normal(size=(3 * N_ATOMS, 3)))[0].T.reshape(3, N_ATOMS, 3)
    coordinates = np.cumsum(rng.normal(size=(N_ATOMS, 3)) * 2, axis=0)
    np.savez(tmp_path / "nma" / "modes.npz", indices=[7, 8, 9], vectors=vectors, coordinates=coordinates)
    record = {"options": {"modes": "nma/modes.npz"}, "inputs": {str(tmp_path / "nma" / "modes.npz"): 1}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def space(source, out, *extra):
    return main(["space", str(source), "-o", str(out), *map(str, extra)])


def test_a_result_directory_gives_space_motion_and_report(result, tmp_path, capsys):
    out = tmp_path / "out"
    assert space(result, out) == 0
    found = {path.name for path in out.iterdir()}
    assert found >= {
        "space.npz",
        "particles.star",
        "modes.npz",
        "reference.cif",
        "axis_1.cif",
        "report.html",
        "run.json",
    }
    loaded = Space.load(out)
    assert loaded.modes.tolist() == [7, 9]
    assert loaded.coordinates.shape == (N, 2)
    assert loaded.converged.sum() == N - 3
    captured = capsys.readouterr()
    assert "3 of 120 particles did not converge" in captured.err
    assert "report.html" in captured.out
    with np.load(out / "modes.npz") as modes:
        assert modes["indices"].tolist() == [7, 9]


def test_particles_keep_their_columns_and_get_their_coordinates(result, tmp_path):
    out = tmp_path / "out"
    assert space(result, out) == 0
    before = read_particles(result / "particles.star", check_images=False)
    after = read_particles(out / "particles.star", check_images=False)
    assert np.array_equal(after.particles.numbers("cflexSpace2"), np.round(Space.load(out).coordinates[:, 1], 6))
    for label in before.particles.labels:
        if label != "rlnImageName":
            assert (before.particles.columns[label] == after.particles.columns[label]).all()
    assert after.stack_path == before.stack_path
    assert space(out, tmp_path / "again", "--n-components", 1) == 0
    again = read_particles(tmp_path / "again" / "particles.star", check_images=False)
    assert "cflexSpace2" not in again.particles


def test_the_motion_runs_along_the_axis_within_the_particles(result, tmp_path):
    out = tmp_path / "out"
    assert space(result / "particles.star", out, "--modes", tmp_path / "nma" / "modes.npz", "--n-frames", 5) == 0
    loaded = Space.load(out)
    with np.load(out / "modes.npz") as modes:
        vectors, coordinates = modes["vectors"], modes["coordinates"]
    amplitudes = loaded.inverse_transform(loaded.path_along(1, 5))
    for frame in range(5):
        structure, _ = read_structure(out / "axis_1.cif", model=frame + 1)
        expected = coordinates + np.tensordot(amplitudes[frame], vectors, axes=1)
        assert structure.coordinates == pytest.approx(expected, abs=1e-3)


def test_without_modes_there_is_a_space_but_no_motion(result, tmp_path, capsys):
    (result / "run.json").unlink()
    out = tmp_path / "out"
    assert space(result / "particles.star", out) == 0
    assert not (out / "axis_1.cif").exists()
    assert (out / "report.html").exists()
    assert "give --modes" in capsys.readouterr().err


def test_the_same_input_gives_the_same_bytes(result, tmp_path):
    for name in ("a", "b"):
        assert space(result, tmp_path / name, "--truth", result / "truth.star") == 0
    for name in ("space.npz", "particles.star", "axis_1.cif", "report.html", "modes.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_fewer_dimensions_than_asked_for_are_said(result, tmp_path, capsys):
    table = read_particles(result / "particles.star", check_images=False)
    one = {7: table.amplitudes[7], 9: 2 * table.amplitudes[7]}
    write_star(result / "line.star", table.with_amplitudes(one))
    assert space(result / "line.star", tmp_path / "out", "--n-components", 2) == 0
    assert "2 dimensions asked for, the amplitudes vary in 1" in capsys.readouterr().err
    assert Space.load(tmp_path / "out").coordinates.shape == (N, 1)
    assert "Conformational space" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.with_amplitudes({}), "no _cflexModeAmplitude columns"),
        (lambda table: table.take(np.array([5])), "found 1 usable of 1"),
        (lambda table: table.with_results(converged=np.zeros(N)), "--keep-unconverged"),
        (lambda table: table.with_amplitudes({7: np.ones(N)}), "have the same one"),
        (lambda table: table.with_amplitudes({7: np.arange(N), 12: np.arange(N)}), "mode 12"),
    ],
)
def test_particles_without_a_space_are_refused_in_one_line(result, tmp_path, capsys, change, message):
    write_star(result / "bad.star", change(read_particles(result / "particles.star", check_images=False)))
    assert space(result / "bad.star", tmp_path / "out", "--modes", tmp_path / "nma" / "modes.npz") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cflex: error")]
    assert len(error) == 1
    assert message in error[0]


def test_an_input_that_is_not_there_is_named(tmp_path, capsys):
    assert space(tmp_path / "nothing", tmp_path / "out") == 2
    assert "nothing: no such file" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert space(tmp_path / "empty", tmp_path / "out") == 2
    assert "holds no particles.star" in capsys.readouterr().err
