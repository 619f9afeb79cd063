"""`cflex animate`: structures along a mode and along an axis."""

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.io.modes import write_modes
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
    path = tmp_path / "space"
    path.mkdir()
    (path / "modes.npz").write_bytes((folder / "modes.npz").read_bytes())
    (path / "reference.cif").write_bytes((folder / "reference.cif").read_bytes())
    coordinates = np.stack([np.arange(101.0), np.zeros(101)], axis=1)
    arrays = {
        "mean": np.array([0.0, 5.0]),
        "components": np.eye(2),
        "coordinates": coordinates,
        "modes": np.array([9, 7]),
    }
    np.savez(path / "space.npz", **arrays)
    return path, arrays


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
    assert animate(folder, "-o", tmp_path / "a", "--pdb") == 0
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


def test_bad_input(space, folder, tmp_path, capsys):
    path, arrays = space
    assert animate(path, "-o", tmp_path / "a", "--axis", 3) == 2
    assert "axis 3 asked for, the space has 2" in capsys.readouterr().err
    assert animate(folder / "modes.npz", "-o", tmp_path / "a", "--mode", 30) == 2
    assert "found 7-10" in capsys.readouterr().err
    assert animate(tmp_path / "absent", "-o", tmp_path / "a") == 2
    assert animate(tmp_path, "-o", tmp_path / "a") == 2
    assert "cflex space" in capsys.readouterr().err
    np.savez(path / "space.npz", **{**arrays, "mean": np.array([np.nan, 0])})
    assert animate(path, "-o", tmp_path / "a") == 2
    np.savez(path / "space.npz", **{**arrays, "mean": np.zeros(3)})
    assert animate(path, "-o", tmp_path / "a") == 2
    np.savez(path / "space.npz", mean=np.zeros(2))
    assert animate(path, "-o", tmp_path / "a") == 2
    assert "has no components, coordinates, modes" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
