"""`cflex animate`: structures along a mode and along an axis."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.io.modes import write_modes
from continuousflex_dl.core.reconstruction.map_files import read_cube
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_models, read_structure


def animate(*arguments):
    return main(["animate", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("modes")
    structure = representation(read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")[0], "ca-p")
    write_modes(path, normal_modes(structure, None, 15.0, 10), structure)
    return path


@pytest.fixture
def space(folder, tmp_path):
    """Particles along mode 9 with a bend in mode 7: places and amplitudes are the same numbers."""
    path = tmp_path / "space"
    path.mkdir()
    (path / "modes.npz").write_bytes((folder / "modes.npz").read_bytes())
    (path / "reference.cif").write_bytes((folder / "reference.cif").read_bytes())
    coordinates = np.stack([np.arange(101.0), np.zeros(101)], axis=1)
    made = Space(
        coordinates=coordinates,
        mean=np.array([0.0, 5.0]),
        components=np.eye(2),
        explained_variance_ratio=np.array([0.9, 0.1]),
        modes=np.array([9, 7]),
        method="pca",
        converged=np.ones(101, dtype=bool),
        set_index=np.zeros(101, dtype=np.int64),
        distance=np.zeros(101),
    )
    made.save(path / "space.npz")
    return path, made


def displacement(path, folder):
    models, _ = read_models(path)
    with np.load(folder / "modes.npz") as modes:
        vectors, reference = modes["vectors"], modes["coordinates"]
    return np.array([np.einsum("mij,ij->m", vectors, model.coordinates - reference) for model in models])


def test_mode_goes_from_one_end_to_the_other(folder, tmp_path, capsys):
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", "--mode", 8, "--amplitude", 20, "--n-frames", 5) == 0
    amplitudes = displacement(tmp_path / "a/mode_8.cif", folder)
    np.testing.assert_allclose(amplitudes[:, 1], [-20, -10, 0, 10, 20], atol=0.01)
    assert np.abs(np.delete(amplitudes, 1, axis=1)).max() < 0.01
    assert "5 structures" in capsys.readouterr().out


def test_default_amplitude_is_an_rmsd_of_2(folder, tmp_path):
    assert animate(folder, "-o", tmp_path / "a", "--format", "pdb") == 0
    models, _ = read_models(tmp_path / "a/mode_7.pdb")
    assert len(models) == 10
    ends = models[-1].coordinates - models[0].coordinates
    assert np.sqrt((ends**2).sum(axis=1).mean()) == pytest.approx(4.0, abs=0.01)


def test_axis_spans_the_2nd_to_the_98th_percentile(space, folder, tmp_path):
    assert animate(space[0], "-o", tmp_path / "a", "--n-frames", 3) == 0
    amplitudes = displacement(tmp_path / "a/axis_1.cif", folder)
    np.testing.assert_allclose(amplitudes[:, 2], [2, 50, 98], atol=0.01)  # mode 9, the first of the space
    np.testing.assert_allclose(amplitudes[:, 0], 5, atol=0.01)  # mode 7 stays at its mean


def test_without_a_reference_the_atoms_are_nameless(folder, tmp_path, caplog):
    (tmp_path / "modes.npz").write_bytes((folder / "modes.npz").read_bytes())
    assert animate(tmp_path / "modes.npz", "-o", tmp_path / "a") == 0
    assert "without their names" in caplog.text
    assert len(read_models(tmp_path / "a/mode_7.cif")[0][0]) == 76


def test_straight_and_drawn_paths_pass_their_points(space, folder, tmp_path):
    path, _ = space
    assert animate(path, "-o", tmp_path / "a", "--start=10,-5", "--end=30,15", "--n-frames", 3) == 0
    amplitudes = displacement(tmp_path / "a/path.cif", folder)
    np.testing.assert_allclose(
        amplitudes[:, [2, 0]], [[10, 0], [20, 10], [30, 20]], atol=0.01
    )  # 5 is the mean of mode 7
    (tmp_path / "drawn.csv").write_text("x,y\n0,0\n0,10\n10,10\n")
    assert animate(path, "-o", tmp_path / "b", "--path", tmp_path / "drawn.csv", "--n-frames", 5) == 0
    amplitudes = displacement(tmp_path / "b/path.cif", folder)
    np.testing.assert_allclose(amplitudes[:, [2, 0]], [[0, 5], [0, 10], [0, 15], [5, 15], [10, 15]], atol=0.01)
    table = np.genfromtxt(tmp_path / "b/path.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["cflexSpace2"], [0, 5, 10, 10, 10])
    assert table["rmsd_angst"][-1] == pytest.approx(np.sqrt(200 / 76), abs=0.01)


def test_structure_at_a_place_is_that_of_the_decoder(space, folder, tmp_path, capsys):
    path, made = space
    assert animate(path, "-o", tmp_path / "a", "--at=-10.5,20") == 0
    (amplitudes,) = displacement(tmp_path / "a/place.cif", folder)
    expected = np.zeros(4)
    expected[[2, 0]] = made.inverse_transform([[-10.5, 20.0]])[0]  # modes 9 and 7 of 7 to 10
    np.testing.assert_allclose(amplitudes, expected, atol=0.01)
    assert "1 structure, RMSD" in capsys.readouterr().out
    table = np.genfromtxt(tmp_path / "a/place.csv", delimiter=",", names=True)
    assert [float(table[name]) for name in ("cflexSpace1", "cflexSpace2")] == [-10.5, 20]
    assert float(table["rmsd_angst"]) == pytest.approx(np.sqrt((10.5**2 + 25**2) / 76), abs=1e-4)
    # an axis that is not named stays at its mean; the record repeats the command
    assert animate(path, "-o", tmp_path / "b", "--at", "cflexSpace2=20") == 0
    np.testing.assert_allclose(displacement(tmp_path / "b/place.cif", folder)[0][[2, 0]], [0, 25], atol=0.01)
    assert main(["rerun", str(tmp_path / "a/run.json"), "-o", str(tmp_path / "c")]) == 0
    assert (tmp_path / "c/place.cif").read_bytes() == (tmp_path / "a/place.cif").read_bytes()


def test_structure_at_other_columns_is_the_mean_of_the_nearest_particles(space, folder, tmp_path):
    path, _ = space
    rows = "".join(f"{k + 1:06d}@x.mrcs 1 {abs(k - 60) / 100:.3f}\n" for k in range(101))
    (path / "particles.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 2.0\n\n"
        f"data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_cflexScore #3\n{rows}"
    )
    assert animate(path, "-o", tmp_path / "a", "--at", "cflexScore=0") == 0
    (amplitudes,) = displacement(tmp_path / "a/place.cif", folder)
    assert amplitudes[2] == pytest.approx(60, abs=0.51)  # 30 particles about the 61st, whose score is 0


def test_amplitudes_of_one_structure_superpose(space, folder, tmp_path):
    def structure(*amplitudes, source=folder / "modes.npz"):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert animate(source, "-o", out, "--amplitudes", *amplitudes) == 0
        return read_structure(out / "amplitudes.cif")[0].coordinates

    rest, seven, nine = structure("7=0"), structure("7=120"), structure("9=-40")
    both = structure("7=120,9=-40")
    np.testing.assert_allclose(both - rest, (seven - rest) + (nine - rest), atol=2e-3)
    with np.load(folder / "modes.npz") as modes:
        expected = modes["coordinates"] + 120 * modes["vectors"][0] - 40 * modes["vectors"][2]
    np.testing.assert_allclose(both, expected, atol=1e-3)
    assert np.sqrt(((seven - rest) ** 2).sum(axis=1).mean()) == pytest.approx(120 / np.sqrt(76), abs=1e-3)
    np.testing.assert_allclose(structure("9=-40 7=120", source=space[0]), both, atol=1e-3)


def test_one_structure_has_one_map_and_a_script(folder, tmp_path):
    options = ["--amplitudes", "8=30", "--maps", "--pixel-size", 2, "--format", "pdb"]
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", *options) == 0
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"amplitudes.pdb", "amplitudes.mrc", "amplitudes.csv", "amplitudes.cxc"} <= names
    assert "maps" not in names
    structure, _ = read_structure(tmp_path / "a/amplitudes.pdb")
    found = read_cube(tmp_path / "a/amplitudes.mrc")
    place = np.rint((structure.coordinates - np.array(found.origin)) / 2).astype(int)
    assert np.median(found.values[tuple(place.T[::-1])]) > 0.5 * found.values.max()
    script = (tmp_path / "a/amplitudes.cxc").read_text()
    assert "open amplitudes.mrc" in script
    assert "coordset" not in script


def test_minimum_path_goes_from_basin_to_basin_and_says_the_barrier(space, folder, tmp_path, capsys):
    path, made = space
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(m, [12, 6], size=(n, 2)) for m, n in (([-40, 0], 3000), ([40, 0], 2000))])
    whole = replace(
        made, coordinates=points, converged=np.ones(5000, dtype=bool), set_index=np.zeros(5000, dtype=np.int64),
        distance=np.zeros(5000),
    )  # fmt: skip
    whole.save(path / "space.npz")
    assert animate(path, "-o", tmp_path / "a", "--minimum-path", "--n-frames", 9) == 0
    assert "highest free energy on the way" in capsys.readouterr().out
    amplitudes = displacement(tmp_path / "a/minimum_path.cif", folder)
    np.testing.assert_allclose(amplitudes[[0, -1], 2], [-40, 40], atol=6)
    table = np.genfromtxt(tmp_path / "a/minimum_path.csv", delimiter=",", names=True)
    assert abs(table["cflexSpace1"][np.argmax(table["free_energy_kt"])]) < 15
    assert animate(path, "-o", tmp_path / "b", "--minimum-path", "--start=500,0", "--end=40,0") == 2
    assert "no particles around it" in capsys.readouterr().err
    replace(whole, coordinates=points[:3000]  * [3, 1], converged=np.ones(3000, bool), set_index=np.zeros(3000, int),
            distance=np.zeros(3000)).save(path / "space.npz")  # fmt: skip
    assert animate(path, "-o", tmp_path / "c", "--minimum-path", "--n-frames", 5) == 0
    assert "between the ends of the first axis" in capsys.readouterr().err
    amplitudes = displacement(tmp_path / "c/minimum_path.cif", folder)
    ends = np.percentile(points[:3000, 0] * 3, [2, 98])
    np.testing.assert_allclose(amplitudes[[0, -1], 2], ends, atol=2)


def test_trajectory_is_read_by_another_program(folder, tmp_path):
    mda = pytest.importorskip("MDAnalysis")
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", "--format", "dcd", "--n-frames", 4) == 0
    assert animate(folder / "modes.npz", "-o", tmp_path / "b", "--n-frames", 4) == 0
    expected, _ = read_models(tmp_path / "b/mode_7.cif")
    loaded = mda.Universe.empty(76, trajectory=True).load_new(str(tmp_path / "a/mode_7.dcd"), format="DCD")
    assert len(loaded.trajectory) == 4
    for step, model in zip(loaded.trajectory, expected, strict=True):
        np.testing.assert_allclose(step.positions, model.coordinates, atol=2e-3)
    first, _ = read_structure(tmp_path / "a/mode_7_first.cif")
    np.testing.assert_allclose(first.coordinates, expected[0].coordinates, atol=1e-3)


def test_maps_lie_over_their_structures(folder, tmp_path):
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", "--n-frames", 3, "--maps", "--pixel-size", 2) == 0
    models, _ = read_models(tmp_path / "a/mode_7.cif")
    names = sorted(path.name for path in (tmp_path / "a/maps").iterdir())
    assert names == [f"mode_7_00{number}.mrc" for number in (1, 2, 3)]
    for name, model in zip(names, models, strict=True):
        found = read_cube(tmp_path / "a/maps" / name)
        total = found.values.sum()
        centre = [
            (np.moveaxis(found.values, 2 - axis, 0).sum(axis=(1, 2)) * np.arange(len(found.values))).sum() / total
            for axis in range(3)
        ]
        with np.load(folder / "modes.npz") as modes:
            mass = modes["weights"]
        expected = (model.coordinates * mass[:, None]).sum(axis=0) / mass.sum()
        np.testing.assert_allclose(np.array(found.origin) + np.array(centre) * 2, expected, atol=0.05)
    script = (tmp_path / "a/mode_7.cxc").read_text()
    assert "maps/mode_7_002.mrc" in script
    assert "coordset #1 1,3" in script


def test_movies_move_and_end_where_they_begin(space, tmp_path):
    from PIL import Image

    path, _ = space
    options = ["--n-frames", 4, "--movie-size", 160]
    assert animate(path, "-o", tmp_path / "a", "--movie", "gif", *options) == 0
    movie = Image.open(tmp_path / "a/axis_1.gif")
    assert movie.size == (320, 160)
    assert movie.n_frames == 78  # 40 there, 38 back
    movie.seek(0)
    first = np.asarray(movie.convert("RGB")).astype(int)
    movie.seek(39)
    middle = np.asarray(movie.convert("RGB")).astype(int)
    movie.seek(77)
    last = np.asarray(movie.convert("RGB")).astype(int)
    assert np.abs(first - middle).mean() > 4 * np.abs(first - last).mean()
    pytest.importorskip("av")
    assert animate(path, "-o", tmp_path / "b", "--movie", "mp4", *options) == 0
    import av

    with av.open(str(tmp_path / "b/axis_1.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 78
    assert np.abs(pictures[0].astype(int) - first).mean() < 6


def test_a_movie_without_its_library_is_said(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", "--movie", "mp4", "--movie-size", 120) == 2
    assert "pip install av" in capsys.readouterr().err


def test_bad_input(space, folder, tmp_path, capsys):
    path, made = space

    def refused(*arguments):
        assert animate(*arguments, "-o", tmp_path / "a") == 2
        return capsys.readouterr().err

    assert "axis: found 3, expected 1 to 2" in refused(path, "--axis", 3)
    assert "found 7-10" in refused(folder / "modes.npz", "--mode", 30)
    assert "no such file" in refused(tmp_path / "absent")
    assert "cflex space" in refused(tmp_path)
    assert "--start and --end go together" in refused(path, "--start", "1,2")
    assert "exclude each other" in refused(path, "--axis", 1, "--minimum-path")
    assert "expected 2 numbers" in refused(path, "--start", "1,2,3", "--end", "1,2")
    assert "do not spread" in refused(path, "--minimum-path")
    assert "--axis is for the directory of cflex space" in refused(folder / "modes.npz", "--axis", 1)
    assert "found 1 points" in refused(path, "--path", write(tmp_path / "p.csv", "1 2\n"))
    modes = folder / "modes.npz"
    assert "--at is for the directory of cflex space" in refused(modes, "--at", "1,2")
    assert "expected 2 numbers" in refused(path, "--at", "1,2,3")
    assert "no column cflexScore" in refused(path, "--at", "cflexScore=1,cflexSpace1=2")
    assert "found 'cflexSpace1='" in refused(path, "--at", "cflexSpace1=")
    assert "--at and --amplitudes exclude each other" in refused(path, "--at", "1,2", "--amplitudes", "7=1")
    assert "--path and --at exclude each other" in refused(path, "--at", "1,2", "--path", "x")
    assert "--n-frames is for a motion" in refused(path, "--at", "1,2", "--n-frames", 5)
    assert "--movie is for a motion" in refused(modes, "--amplitudes", "7=1", "--movie", "gif")
    assert "--mode is for a motion" in refused(modes, "--amplitudes", "7=1", "--mode", 8)
    assert "--format dcd is for a motion" in refused(modes, "--amplitudes", "7=1", "--format", "dcd")
    assert "mode 30 is not in" in refused(modes, "--amplitudes", "7=1,30=2")
    assert "mode 8 is not in" in refused(path, "--amplitudes", "8=1")  # of the file, but not of the space
    assert "found '7', expected modes and their amplitudes" in refused(modes, "--amplitudes", "7")
    assert "found '7=x'" in refused(modes, "--amplitudes", "7=x")
    assert "rigid-body motions" in refused(modes, "--amplitudes", "3=1")
    assert "mode 7 is given twice" in refused(modes, "--amplitudes", "7=1,7=2")
    replace(made, mean=np.array([np.nan, 0])).save(path / "space.npz")
    assert "mean is not finite" in refused(path)
    replace(made, mean=np.zeros(3)).save(path / "space.npz")
    assert "mean has shape (3,), expected (2,)" in refused(path)
    np.savez(path / "space.npz", mean=np.zeros(2))
    assert "has no coordinates" in refused(path)
    made.save(path / "space.npz")
    (path / "modes.npz").unlink()
    assert "neither modes nor coordinates" in refused(path)
    assert not (tmp_path / "a").exists()


def write(path, text):
    path.write_text(text)
    return path
