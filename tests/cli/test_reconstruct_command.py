"""`cflex reconstruct` and `cflex fsc` from files to files."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from continuousflex_dl.cli import reconstruct as command
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.reconstruction.map_files import read_cube, write_map

BOX, PIXEL = 48, 2.5


@pytest.fixture(scope="session")
def particles(tiny, tmp_path_factory):
    """Particles at rest, almost without noise, whose map is that of the structure."""
    from continuousflex_dl.cli.main import main

    folder = tmp_path_factory.mktemp("at_rest") / "simulated"
    images = ["--n-particles", "120", "--box", str(BOX), "--pixel-size", str(PIXEL), "--snr", "20"]
    images += ["--ctf-table", str(Path(__file__).parents[2] / "examples" / "empiar10028_ctf_2000.npz")]  # many defoci
    assert main(["simulate", str(tiny.modes), "-o", str(folder), *images, "--amplitude", "0", "--use", "7,8,9"]) == 0
    return folder / "truth.star"


def test_map_and_structure_agree(cflex, particles, tiny, tmp_path):
    out = tmp_path / "maps" / "a.mrc"
    model = ["--model", tiny.modes.parent / "reference.cif", "--sigma", 3]
    ended = cflex("reconstruct", particles, "-o", out, "--half-maps", "--auto-mask", *model, "--threads", 2)
    assert ended.code == 0, ended.err
    names = {path.name for path in out.parent.iterdir()}
    assert names == {"a.mrc", "a.json", "a_half1.mrc", "a_half2.mrc", "a_mask.mrc", "a_fsc.csv"}
    record = json.loads((out.parent / "a.json").read_text())
    assert record["command"] == "reconstruct"
    assert record["results"]["ctf"] == "signed"
    assert record["results"]["resolution_model_0.5_angst"] < 8.0  # atoms of 3 Å width: finer is nothing
    assert record["results"]["resolution_halves_0.143_angst"] < 8.0
    assert "correlate at 0.143" in ended.out
    found = read_cube(out)
    assert found.values.shape == (BOX,) * 3
    assert found.pixel_size == pytest.approx(PIXEL)
    assert found.origin == pytest.approx((-BOX // 2 * PIXEL,) * 3)  # the centre of the particle is at 0, 0, 0
    header = (out.parent / "a_fsc.csv").read_text().splitlines()
    assert header[0].split(",")[3:] == ["halves", "halves_masked", "halves_corrected", "model"]
    assert len(header) == BOX // 2 + 1


def test_fsc_of_the_half_maps_is_what_reconstruct_says(cflex, particles, tmp_path):
    assert cflex("reconstruct", particles, "-o", tmp_path / "a.mrc", "--half-maps").code == 0
    record = json.loads((tmp_path / "a.json").read_text())["results"]
    halves = tmp_path / "a_half1.mrc", tmp_path / "a_half2.mrc"
    ended = cflex("fsc", *halves, "-o", tmp_path / "fsc")
    assert ended.code == 0
    figures = json.loads((tmp_path / "fsc" / "fsc.json").read_text())
    assert figures["plain_0.143_angst"] == pytest.approx(record["resolution_halves_0.143_angst"], abs=0.01)
    png = (tmp_path / "fsc" / "fsc.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    rows = np.genfromtxt(tmp_path / "fsc" / "fsc.csv", delimiter=",", names=True)
    assert len(rows) == BOX // 2
    to_stdout = cflex("fsc", *halves)
    assert to_stdout.code == 0
    assert "0.143:" in to_stdout.out
    with_mask = cflex("fsc", *halves, "--auto-mask")
    assert "corrected" in with_mask.out


def test_filters_change_the_map_and_not_its_correlation(cflex, particles, tmp_path):
    assert cflex("reconstruct", particles, "-o", tmp_path / "a.mrc").code == 0
    assert cflex("reconstruct", particles, "-o", tmp_path / "b.mrc", "--low-pass", 12, "--b-factor", -50).code == 0
    plain, filtered = (np.abs(np.fft.rfftn(read_cube(tmp_path / f"{name}.mrc").values)) for name in "ab")
    shell = round(BOX * PIXEL / 20.0)
    gain = filtered[0, 0, shell] / plain[0, 0, shell]
    assert gain == pytest.approx(np.exp(50 * (shell / (BOX * PIXEL)) ** 2 / 4), rel=1e-3)
    assert filtered[0, 0, 20] < 1e-3 * plain[0, 0, 20] + 1e-3
    assert (tmp_path / "a_fsc.csv").read_bytes() == (tmp_path / "b_fsc.csv").read_bytes()


def test_a_killed_run_continues_to_the_same_bytes(cflex, particles, tmp_path, monkeypatch):
    from continuousflex_dl.core.reconstruction import images

    monkeypatch.setattr(images, "images_per_block", lambda radius: 10)
    assert cflex("reconstruct", particles, "-o", tmp_path / "whole.mrc", "--half-maps", "--threads", 1).code == 0
    monkeypatch.setattr(command, "_CHECKPOINT_S", -1.0)
    prepare, calls = images.BackProjector.prepare, []

    def stop(self, rows, sums):
        calls.append(len(rows))
        if len(calls) > 6:
            raise KeyboardInterrupt
        return prepare(self, rows, sums)

    monkeypatch.setattr(images.BackProjector, "prepare", stop)
    assert cflex("reconstruct", particles, "-o", tmp_path / "cut.mrc", "--half-maps").code == 130
    assert not (tmp_path / "cut.mrc").exists()
    assert (tmp_path / "cut_partial.npz").exists()
    monkeypatch.setattr(images.BackProjector, "prepare", prepare)
    other = cflex("reconstruct", particles, "-o", tmp_path / "cut.mrc", "--resume", "--ctf", "none")
    assert other.code == 2
    assert "was begun with ctf" in other.err
    assert cflex("reconstruct", particles, "-o", tmp_path / "cut.mrc", "--half-maps", "--resume").code == 0
    for name in (".mrc", "_half1.mrc", "_fsc.csv"):
        assert (tmp_path / f"cut{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes(), name
    assert not (tmp_path / "cut_partial.npz").exists()
    again = cflex("reconstruct", particles, "-o", tmp_path / "cut.mrc", "--resume")
    assert "nothing to do" in again.err


def test_rerun_repeats_it(cflex, particles, tmp_path):
    assert cflex("reconstruct", particles, "-o", tmp_path / "a.mrc").code == 0
    assert cflex("rerun", tmp_path / "a.json", "-o", tmp_path / "b.mrc").code == 0
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def test_bad_input_is_refused_in_one_line(refused, particles, tiny, tmp_path):
    out = tmp_path / "a.mrc"
    assert "pose of every particle" in refused("reconstruct", tiny.particles, "-o", out)
    assert "ends in .mrc" in refused("reconstruct", particles, "-o", tmp_path / "a.txt")
    assert "exclude each other" in refused("reconstruct", particles, "-o", out, "--mask", "m.mrc", "--auto-mask")
    write_map(tmp_path / "small.mrc", np.ones((10, 10, 10)), PIXEL)
    assert "expected 48 px" in refused("reconstruct", particles, "-o", out, "--mask", tmp_path / "small.mrc")
    write_map(tmp_path / "bad.mrc", np.full((48, 48, 48), 7.0), PIXEL)
    assert "expected 0 outside and 1 inside" in refused(
        "reconstruct", particles, "-o", out, "--mask", tmp_path / "bad.mrc"
    )
    write_map(tmp_path / "other.mrc", np.ones((48, 48, 48)), 3.0)
    assert "expected 2.5 Å" in refused("reconstruct", particles, "-o", out, "--model", tmp_path / "other.mrc")
    out.write_bytes(b"mine")
    assert "--overwrite" in refused("reconstruct", particles, "-o", out)
    assert out.read_bytes() == b"mine"
    (tmp_path / "folder.mrc").mkdir()
    assert "is a directory" in refused("reconstruct", particles, "-o", tmp_path / "folder.mrc")
    table = read_particles(particles)
    write_star(tmp_path / "one.star", table.take([0]))
    assert "at least 2" in refused("reconstruct", tmp_path / "one.star", "-o", tmp_path / "one.mrc")
    assert "no such file" in refused("fsc", tmp_path / "none.mrc", tmp_path / "small.mrc")
    assert "expected 10 px" in refused("fsc", tmp_path / "small.mrc", tmp_path / "bad.mrc")
    with mrcfile.new(tmp_path / "oblong.mrc") as file:
        file.set_data(np.zeros((4, 5, 4), np.float32))
        file.voxel_size = 1.0
    assert "expected a cube" in refused("fsc", tmp_path / "oblong.mrc", tmp_path / "bad.mrc")
