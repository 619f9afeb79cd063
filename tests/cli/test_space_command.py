"""`cflex space` from files to files."""

import json
import sys

import h5py
import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.core.structure.atoms import nameless
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.writer import write_structure

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


def test_two_sets_share_one_space(result, tmp_path, capsys):
    table = read_particles(result / "particles.star", check_images=False)
    other = tmp_path / "other"
    other.mkdir()
    shifted = table.take(np.arange(40)).with_amplitudes({7: table.amplitudes[7][:40] + 30, 9: table.amplitudes[9][:40]})
    write_star(other / "particles.star", shifted)
    out = tmp_path / "out"
    assert space(result, out, "--also", other, "--n-components", 2) == 0
    loaded = Space.load(out)
    assert loaded.coordinates.shape == (N + 40, 2)
    assert len(loaded.sets) == 2
    both = read_particles(out / "particles.star", check_images=False)
    assert both.numbers("cflexSet").tolist() == [1] * N + [2] * 40
    amplitudes = np.stack([both.amplitudes[7], both.amplitudes[9]], axis=1)
    assert loaded.inverse_transform(loaded.coordinates) == pytest.approx(amplitudes, abs=1e-5)
    assert "Particle sets" in (out / "report.html").read_text(encoding="utf-8")
    assert main(["rerun", str(out / "run.json"), "-o", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "space.npz").read_bytes() == (out / "space.npz").read_bytes()


def test_clusters_and_outliers_are_columns(result, tmp_path, capsys):
    table = read_particles(result / "particles.star", check_images=False)
    one = table.amplitudes[7].copy()
    one[10] = 5000.0
    write_star(result / "wild.star", table.with_amplitudes({7: one, 9: table.amplitudes[9]}))
    out = tmp_path / "out"
    clusters = ["--clusters", "kmeans", "--n-clusters", 3, "--outlier-distance", 3.2]
    assert space(result / "wild.star", out, *clusters) == 0
    found = read_particles(out / "particles.star", check_images=False)
    assert found.numbers("cflexMahalanobis")[10] > 10
    used = Space.load(out).converged
    assert not used[10]
    group = found.numbers("cflexGroup")
    assert set(group[used]) == {1.0, 2.0, 3.0}
    assert set(group[~used]) == {0.0}  # what is left out of the space is in no cluster
    captured = capsys.readouterr()
    assert "1 of 120 particles are farther than 3.2" in captured.err
    assert "groups:" in captured.out
    record = json.loads((out / "run.json").read_text())["results"]
    assert record["outliers"] == 1
    assert sum(record["groups"]) == used.sum()


@pytest.mark.parametrize("on", ["latent", "coordinates"])
def test_stored_conformations_are_reduced(result, tmp_path, capsys, on):
    """A method that predicts coordinates and a latent: its result has conformations.h5 and reference.cif."""
    folder = tmp_path / "predicted"
    folder.mkdir()
    table = read_particles(result / "particles.star", check_images=False)
    write_star(folder / "particles.star", table.with_amplitudes({}))
    structure = nameless(np.cumsum(np.full((N_ATOMS, 3), 2.0), axis=0), np.ones(N_ATOMS))
    write_structure(folder / "reference.cif", structure)
    place = np.linspace(-1, 1, N)
    moved = structure.coordinates + place[:, None, None] * np.linspace(0, 5, N_ATOMS)[:, None]
    with h5py.File(folder / "conformations.h5", "w") as file:
        file["latent"] = np.stack([place, 0.1 * place**2, np.zeros(N)], axis=1)
        file["coordinates"] = moved.astype(np.float32)
    out = tmp_path / "out"
    assert space(folder, out, "--on", on, "--n-frames", 5) == 0
    loaded = Space.load(out)
    assert loaded.on == on
    assert np.abs(np.corrcoef(loaded.coordinates[:, 0], place)[0, 1]) > 0.99
    first, last = (read_structure(out / "axis_1.cif", model=model)[0].coordinates for model in (1, 5))
    ends = np.percentile(place[3:], [2, 98])  # the first three did not converge
    expected = np.ptp(ends) * 5 * np.sqrt((np.linspace(0, 1, N_ATOMS) ** 2).mean() * 3)
    rmsd = np.sqrt(((last - first) ** 2).sum(axis=1).mean())
    assert rmsd == pytest.approx(expected, rel=0.02)
    captured = capsys.readouterr()
    assert ("between structures" in captured.err) == (on == "coordinates")
    (folder / "conformations.h5").unlink()
    assert space(folder, tmp_path / "none", "--on", on) == 2
    assert "give --conformations" in capsys.readouterr().err


def test_latents_of_other_programs_need_no_structure(result, tmp_path, capsys):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(N, 4)))
    out = tmp_path / "out"
    options = ["--on", "latent", "--conformations", tmp_path / "z.npy", "--method", "diffusion"]
    assert space(result / "particles.star", out, *options) == 0
    assert "no structures along the axes" in capsys.readouterr().err
    assert Space.load(out).method == "diffusion"
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "DC 1" in report
    assert "Amplitudes of the normal modes" not in report


def test_modes_without_coordinates_take_the_structure_that_is_given(result, tmp_path):
    """modes.xmd of ContinuousFlex with no structure beside it."""
    folder = tmp_path / "xmd" / "modes"
    folder.mkdir(parents=True)
    with np.load(tmp_path / "nma" / "modes.npz") as modes:
        vectors, coordinates = modes["vectors"], modes["coordinates"]
    rows = []
    for number, vector in zip((7, 8, 9), vectors, strict=True):
        np.savetxt(folder / f"vec.{number}", vector)
        rows.append(f"modes/vec.{number} {number} 1")
    text = "# XMIPP_STAR_1 *\ndata_\nloop_\n _nmaModefile\n _order\n _enabled\n" + "\n".join(rows) + "\n"
    (tmp_path / "xmd" / "modes.xmd").write_text(text)
    write_structure(tmp_path / "atoms.cif", nameless(coordinates, np.ones(N_ATOMS)))
    options = ["--modes", tmp_path / "xmd" / "modes.xmd"]
    assert space(result / "particles.star", tmp_path / "without", *options) == 2
    assert space(result / "particles.star", tmp_path / "with", *options, "--structure", tmp_path / "atoms.cif") == 0
    plain = space(result / "particles.star", tmp_path / "npz", "--modes", tmp_path / "nma" / "modes.npz")
    assert plain == 0
    one, other = (read_structure(tmp_path / name / "axis_1.cif")[0].coordinates for name in ("with", "npz"))
    assert one == pytest.approx(other, abs=2e-3)


def test_umap_without_its_library_is_said_in_one_line(result, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert space(result, tmp_path / "out", "--method", "umap") == 2
    assert "pip install umap-learn" in capsys.readouterr().err
