"""`cflex rank` finds the modes that images were made with, and none where nothing moves."""

import csv
import json
from pathlib import Path

import pytest

from continuousflex_dl.cli.main import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "adk_4ake_A.pdb"
SEARCH = ("--threads", "1", "--angular-step", "20", "--max-shift-px", "3")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Modes of CA atoms, and images that move along modes 7, 9 and 12, and images that do not move."""
    folder = tmp_path_factory.mktemp("images")
    network = ("--representation", "ca-p", "--block-size", "0", "--cutoff", "15")
    assert main(["nma", str(EXAMPLE), "-o", str(folder / "nma"), *network]) == 0
    for name, use, amplitude in (("moving", "7,9,12", "50"), ("rigid", "7", "0.001")):
        simulated = ("--use", use, "--law", "uniform", "--amplitude", amplitude, "--snr", "0.5", "--shift-px", "2")
        size = ("--n-particles", "44", "--box", "36", "--pixel-size", "3.6")
        modes = folder / "nma" / "modes.npz"
        assert main(["simulate", str(modes), "-o", str(folder / name), *size, *simulated]) == 0
    return folder


def ranking(folder):
    with open(folder / "ranking.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_modes_that_move_come_first(images, cflex, tmp_path):
    ended = cflex(
        "rank", images / "moving/particles.star", "--modes", images / "nma/modes.npz", "--use", "7-16", *SEARCH,
        "-o", tmp_path / "r",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    rows = ranking(tmp_path / "r")
    assert {row["mode"] for row in rows[:3]} == {"7", "9", "12"}
    assert all(row["supported"] == "1" for row in rows[:3])
    assert all(row["supported"] == "0" for row in rows[3:])
    assert "suggested: --use 7,9,12" in ended.out
    for row in rows[:3]:  # uniform from -50 to 50 Å
        assert float(row["spread_angst"]) == pytest.approx(50 / 3**0.5, rel=0.35)
    assert (tmp_path / "r" / "ranking.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "r" / "run.json").read_text())["results"]["suggested"] == [7, 9, 12]


def test_rigid_images_ask_for_no_mode(images, cflex, tmp_path):
    ended = cflex(
        "rank", images / "rigid/particles.star", "--modes", images / "nma/modes.npz", "--use", "7-16", *SEARCH,
        "-o", tmp_path / "r",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert all(row["supported"] == "0" for row in ranking(tmp_path / "r"))
    assert "no mode at all" in ended.out


def test_what_is_refused(tiny, refused, tmp_path):
    base = ("--modes", tiny.modes, "-o", tmp_path / "out", "--overwrite")
    assert "expected 30 or more" in refused("rank", tiny.particles, *base, "--use", "7")  # it has 24 particles
    assert "mode 99 is not in" in refused("rank", tiny.particles, *base, "--use", "99")
    assert "no such file" in refused("rank", tiny.particles, *base, "--target", tmp_path / "gone.pdb")
    assert "--n-images" in refused("rank", tiny.particles, *base, "--n-images", "5")
