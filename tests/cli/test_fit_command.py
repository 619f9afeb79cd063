"""`cflex fit` from the shell: files, several maps, wrong hand, and what it refuses."""

import csv
import json

import numpy as np
import pytest

from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.pseudoatoms.structure import other_hand
from continuousflex_dl.core.reconstruction.map_files import read_map, write_map
from continuousflex_dl.core.structure.reader import read_structure

VOXEL, WIDTH = 3.0, 3.0
AMPLITUDES = (20.0, 10.0)


@pytest.fixture(scope="module")
def maps(tiny, tmp_path_factory):
    """Two maps of the tiny structure, deformed along modes 7 and 8 by different amounts, where it lies."""
    folder = tmp_path_factory.mktemp("maps")
    modes = read_modes(tiny.modes).select([7, 8])
    for name, factor in (("a", 1.0), ("b", -1.0)):
        places = modes.displace(factor * np.array(AMPLITUDES))
        origin = places.min(axis=0) - 12
        shape = tuple(np.ceil((places.max(axis=0) + 12 - origin)[::-1] / VOXEL).astype(int))
        values = render((places - origin)[:, ::-1] / VOXEL, modes.weights, WIDTH / VOXEL, shape)
        x, y, z = origin.tolist()
        write_map(folder / f"{name}.mrc", values, VOXEL, (x, y, z))
    return folder


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_maps_of_a_folder_are_fitted_each(tiny, maps, cflex, tmp_path):
    ended = cflex(
        "fit", maps, "--modes", tiny.modes, "--use", "7,8", "--placed", "--resolution", "13.3", "-o", tmp_path / "f"
    )
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "fits.csv", "fitted_0001.cif", "fitted_0002.cif", "fsc_0001.csv", "fsc_0002.csv",
        "model_0001.mrc", "model_0002.mrc", "modes.csv", "run.json",
    ]  # fmt: skip
    found = rows(tmp_path / "f" / "fits.csv")
    assert [row["map"].rsplit("/", 1)[1] for row in found] == ["a.mrc", "b.mrc"]
    modes = read_modes(tiny.modes).select([7, 8])
    for number, factor in ((1, 1.0), (2, -1.0)):
        row = found[number - 1]
        assert float(row["mode_7"]) == pytest.approx(factor * AMPLITUDES[0], abs=2)
        assert float(row["mode_8"]) == pytest.approx(factor * AMPLITUDES[1], abs=2)
        assert 0 < float(row["mode_7_std"]) < 5
        assert float(row["correlation"]) > float(row["correlation_at_rest"])
        structure, _ = read_structure(tmp_path / "f" / f"fitted_{number:04d}.cif", keep_all=True)
        truth = modes.displace(factor * np.array(AMPLITUDES))
        assert np.sqrt(((structure.coordinates - truth) ** 2).sum(axis=1).mean()) < 0.3
        source, model = read_map(maps / f"{'ab'[number - 1]}.mrc"), read_map(tmp_path / f"f/model_{number:04d}.mrc")
        assert model.origin == pytest.approx(source.origin, abs=1e-3)
        assert np.corrcoef(source.values.ravel(), model.values.ravel())[0, 1] > 0.98
    assert {row["mode"] for row in rows(tmp_path / "f" / "modes.csv")} == {"7", "8"}
    results = json.loads((tmp_path / "f" / "run.json").read_text())["results"]
    assert results["modes"] == [7, 8]
    assert len(results["correlation"]) == 2


def test_flip_hand_undoes_a_mirror(tiny, maps, cflex, tmp_path):
    mirrored = other_hand(read_map(maps / "a.mrc"))
    write_map(tmp_path / "mirrored.mrc", mirrored.values, VOXEL, mirrored.origin)
    arguments = ("--modes", tiny.modes, "--use", "7,8", "--placed", "--resolution", "13.3")
    assert cflex("fit", maps / "a.mrc", *arguments, "-o", tmp_path / "plain").code == 0
    assert cflex("fit", tmp_path / "mirrored.mrc", *arguments, "--flip-hand", "-o", tmp_path / "flipped").code == 0
    plain, flipped = (rows(tmp_path / name / "fits.csv")[0] for name in ("plain", "flipped"))
    assert float(flipped["mode_7"]) == pytest.approx(float(plain["mode_7"]), abs=0.5)


def test_list_of_maps_and_the_same_bytes(tiny, maps, cflex, tmp_path):
    (tmp_path / "list.txt").write_text(f"# maps\n{maps / 'b.mrc'}\n")
    for name in ("one", "two"):
        ended = cflex(
            "fit", tmp_path / "list.txt", "--modes", tiny.modes, "--use", "7,8", "--placed", "-o", tmp_path / name
        )
        assert ended.code == 0, ended.err
    for name in ("fitted.cif", "model.mrc", "fits.csv", "modes.csv", "fsc.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_is_refused(tiny, maps, refused, tmp_path):
    base = ("--modes", tiny.modes, "--use", "7,8", "-o", tmp_path / "out", "--overwrite")
    assert "no such file" in refused("fit", tmp_path / "gone.mrc", *base)
    (tmp_path / "empty").mkdir()
    assert "found no map" in refused("fit", tmp_path / "empty", *base)
    (tmp_path / "list.txt").write_text("gone.mrc\n")
    assert "line 1: gone.mrc" in refused("fit", tmp_path / "list.txt", *base)
    (tmp_path / "list.txt").write_text("\n")
    assert "the list is empty" in refused("fit", tmp_path / "list.txt", *base)
    values = read_map(maps / "a.mrc").values
    write_map(tmp_path / "sizeless.mrc", values, 0.0)
    assert "give --pixel-size" in refused("fit", tmp_path / "sizeless.mrc", *base)
    write_map(tmp_path / "zero.mrc", np.zeros_like(values), VOXEL)
    assert "zero.mrc" in refused("fit", tmp_path / "zero.mrc", *base)
    write_map(tmp_path / "nan.mrc", np.full_like(values, np.nan), VOXEL)
    assert "nan.mrc" in refused("fit", tmp_path / "nan.mrc", *base)
    write_map(tmp_path / "far.mrc", values, VOXEL, (5000.0, 0.0, 0.0))
    assert "far.mrc" in refused("fit", tmp_path / "far.mrc", *base, "--placed")
    assert "mode 99 is not in" in refused(
        "fit", maps / "a.mrc", "--modes", tiny.modes, "--use", "99", "-o", tmp_path / "o"
    )
