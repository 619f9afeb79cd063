"""`cflex pseudoatoms` from the shell, and its result as a structure in the other commands."""

import csv
import json

import mrcfile
import numpy as np
import pytest

from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.reconstruction.map_files import read_map, write_map
from continuousflex_dl.core.structure.reader import read_structure

ORIGIN = (-30.0, 4.0, 10.0)


@pytest.fixture(scope="module")
def map_file(tmp_path_factory):
    """A lump of 80 Gaussians and a small one beside it, in noise; 24 x 33 x 28 voxels of 3 Å."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(80, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places = [14, 12, 10] + directions * 6 * rng.uniform(size=(80, 1)) ** (1 / 3)
    values = render(places, rng.uniform(0.5, 1.5, 80), 1.0, (28, 33, 24))
    values += render(np.array([[14.0, 26.0, 10.0]]), np.ones(1), 1.0, values.shape)
    values += rng.normal(0, 0.02, size=values.shape).astype(np.float32)
    path = tmp_path_factory.mktemp("map") / "lump.mrc"
    write_map(path, values, 3.0, ORIGIN)
    return path


@pytest.fixture(scope="module")
def made(map_file, tmp_path_factory):
    from continuousflex_dl.cli.main import main

    folder = tmp_path_factory.mktemp("made") / "p"
    assert main(["pseudoatoms", str(map_file), "-o", str(folder)]) == 0
    return folder


def results(folder):
    return json.loads((folder / "run.json").read_text())["results"]


def test_files_and_figures(made, map_file):
    assert sorted(path.name for path in made.iterdir()) == [
        "fsc.csv", "model.mrc", "pseudoatoms.cif", "pseudoatoms.pdb", "run.json",
    ]  # fmt: skip
    found = results(made)
    assert found["target_reached"]
    assert found["error_percent"] <= 5.0
    assert found["threshold"] == pytest.approx(0.06, rel=0.2)
    assert found["voxels_above"] > found["voxels"]  # the small lump is left out
    structure, _ = read_structure(made / "pseudoatoms.cif")
    assert len(structure) == found["n_pseudoatoms"]
    assert structure.sigma == 3.0
    model = read_map(made / "model.mrc")
    assert model.origin == ORIGIN
    source = read_map(map_file)
    inside = source.values > found["threshold"]
    inside[:, 21:] = False
    left = np.abs(source.values - model.values)[inside].mean()
    span = np.subtract(*np.percentile(source.values[inside], [99, 1]))
    assert 100 * left / span == pytest.approx(found["error_percent"], rel=0.05)
    with open(made / "fsc.csv", newline="") as stream:
        curve = [float(row["correlation"]) for row in csv.DictReader(stream)]
    assert min(curve[:8]) > 0.9


def test_coordinates_are_in_the_frame_of_the_map(made, map_file):
    structure, _ = read_structure(made / "pseudoatoms.cif")
    source = read_map(map_file)
    values = source.values * (source.values > 0.2)
    values[:, 21:] = 0
    z, y, x = (np.arange(size) for size in values.shape)
    mass = values.sum()
    centre = [values.sum(axis=(0, 1)) @ x, values.sum(axis=(0, 2)) @ y, values.sum(axis=(1, 2)) @ z]
    mean = structure.weights @ structure.coordinates / structure.weights.sum()
    np.testing.assert_allclose(mean, np.array(ORIGIN) + 3.0 * np.array(centre) / mass, atol=0.5)


def test_pdb_says_the_same(made):
    cif, _ = read_structure(made / "pseudoatoms.cif")
    pdb, _ = read_structure(made / "pseudoatoms.pdb")
    np.testing.assert_allclose(pdb.coordinates, cif.coordinates, atol=1e-3)
    np.testing.assert_allclose(pdb.weights, cif.weights, atol=0.006)
    assert pdb.sigma == cif.sigma


def test_modes_and_images_keep_width_and_weights(made, tmp_path, cflex):
    options = ["--cutoff-percentile", "95", "--n-modes", "9"]
    assert cflex("nma", made / "pseudoatoms.cif", *options, "-o", tmp_path / "nma").code == 0
    modes = read_modes(tmp_path / "nma")
    structure, _ = read_structure(made / "pseudoatoms.cif")
    assert modes.sigma == 3.0
    np.testing.assert_array_equal(modes.weights, structure.weights)
    assert read_structure(tmp_path / "nma/reference.cif")[0].sigma == 3.0
    images = ["--n-particles", "2", "--box", "32", "--pixel-size", "3", "--law", "line", "--use", "7", "--noiseless"]
    assert cflex("simulate", tmp_path / "nma/modes.npz", *images, "--no-ctf", "-o", tmp_path / "s").code == 0
    with mrcfile.open(tmp_path / "s/particles.mrcs") as stack:
        width = [np.sqrt(np.abs(image).sum() / np.abs(image).max()) for image in stack.data]
    assert min(width) > 3  # a lump, not points


def test_flip_hand_is_a_mirror(made, map_file, tmp_path, cflex):
    assert cflex("pseudoatoms", map_file, "--flip-hand", "-o", tmp_path / "f").code == 0
    here, _ = read_structure(made / "pseudoatoms.cif")
    there, _ = read_structure(tmp_path / "f/pseudoatoms.cif")
    centre = ORIGIN[0] + 12 * 3.0
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(here.coordinates * [-1, 1, 1] + [2 * centre, 0, 0]).query(there.coordinates)
    assert np.median(distance) < 0.6
    assert read_map(tmp_path / "f/model.mrc").origin == ORIGIN


def test_mask_chooses_the_molecule(map_file, tmp_path, cflex, refused):
    mask = np.zeros((28, 33, 24), dtype=np.float32)
    mask[9:20, 21:32, 5:16] = 1
    write_map(tmp_path / "mask.mrc", mask, 3.0)
    ended = cflex("pseudoatoms", map_file, "--mask", tmp_path / "mask.mrc", "--threshold", "0.1", "-o", tmp_path / "m")
    assert ended.code == 0
    structure, _ = read_structure(tmp_path / "m/pseudoatoms.cif")
    mean = structure.weights @ structure.coordinates / structure.weights.sum()
    np.testing.assert_allclose(mean, np.array(ORIGIN) + 3 * np.array([10, 26, 14]), atol=1.0)
    write_map(tmp_path / "small.mrc", mask[1:], 3.0)
    line = refused("pseudoatoms", map_file, "--mask", tmp_path / "small.mrc", "-o", tmp_path / "x")
    assert "24 x 33 x 27" in line
    assert "24 x 33 x 28" in line
    write_map(tmp_path / "empty.mrc", 0 * mask, 3.0)
    assert "no voxel" in refused("pseudoatoms", map_file, "--mask", tmp_path / "empty.mrc", "-o", tmp_path / "x")


def test_pixel_size_of_a_header_without_one(shared_data, map_file, tmp_path, cflex, refused):
    ribosome = shared_data / "maps/clean70SRibosome_vol_65p.mrc"
    assert "give --pixel-size" in refused("pseudoatoms", ribosome, "-o", tmp_path / "x")
    options = ["--pixel-size", "5", "--target-error", "15"]
    assert cflex("pseudoatoms", ribosome, *options, "-o", tmp_path / "r").code == 0
    assert results(tmp_path / "r")["sigma_angst"] == 5.0
    ended = cflex("pseudoatoms", map_file, "--pixel-size", "3.5", "--target-error", "20", "-o", tmp_path / "p")
    assert "header says 3 Å; --pixel-size 3.5 Å is used" in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "50"], "expected a molecule"),
        (["--radius-voxels", "0.1"], "--radius-voxels"),
        (["--target-error", "0"], "--target-error"),
        (["--mask", "absent.mrc"], "absent.mrc: no such file"),
    ],
)
def test_bad_options_are_refused(map_file, tmp_path, refused, options, message):
    assert message in refused("pseudoatoms", map_file, *options, "-o", tmp_path / "x")


def test_broken_maps_are_refused(tmp_path, refused):
    (tmp_path / "text.mrc").write_text("this is no map" * 200)
    assert "text.mrc" in refused("pseudoatoms", tmp_path / "text.mrc", "-o", tmp_path / "x")
    values = np.zeros((16, 16, 16), dtype=np.float32)
    values[8, 8, 8] = np.nan
    with mrcfile.new(tmp_path / "nan.mrc") as opened:
        opened.set_data(values)
        opened.voxel_size = 2.0
    assert "NaN" in refused("pseudoatoms", tmp_path / "nan.mrc", "-o", tmp_path / "x")
    write_map(tmp_path / "flat.mrc", 0 * np.nan_to_num(values), 2.0)
    assert "expected a molecule" in refused("pseudoatoms", tmp_path / "flat.mrc", "-o", tmp_path / "x")


def test_target_out_of_reach_is_said(map_file, tmp_path, cflex):
    ended = cflex("pseudoatoms", map_file, "--radius-voxels", "3", "--target-error", "1", "-o", tmp_path / "c")
    assert ended.code == 0
    assert "not reached" in ended.err
    assert not results(tmp_path / "c")["target_reached"]


def test_same_map_gives_the_same_files(made, map_file, tmp_path, cflex):
    assert cflex("pseudoatoms", map_file, "--threads", "1", "-o", tmp_path / "again").code == 0
    for name in ("pseudoatoms.cif", "pseudoatoms.pdb", "model.mrc", "fsc.csv"):
        assert (made / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
