"""What one run has measured serves another one on the same data set, and no other."""

import json

import pytest

SETTINGS = ["--use", "7", "--angular-step", "40", "--hypotheses", "4", "--batch-size", "8"]


@pytest.fixture(scope="module")
def arguments(tiny):
    return ["hemnma", tiny.particles, "--modes", tiny.modes, *SETTINGS]


@pytest.fixture(scope="module")
def measured(arguments, tmp_path_factory):
    """Output of a run that measures."""
    from continuousflex_dl.cli.main import main

    output = tmp_path_factory.mktemp("measured") / "out"
    assert main([str(argument) for argument in [*arguments, "-o", output]]) == 0
    return output


@pytest.mark.parametrize("name", ["", "calibration.json"])
def test_the_same_calibration_gives_the_same_bytes(arguments, measured, cflex, tmp_path, name):
    ended = cflex(*arguments, "--calibration", measured / name, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "calibrate:" not in ended.err
    for file in ("particles.star", "calibration.json"):
        assert (tmp_path / "out" / file).read_bytes() == (measured / file).read_bytes()
    stages = {
        stage["stage"]: stage["cpu_s"] for stage in json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    }
    before = {stage["stage"]: stage["cpu_s"] for stage in json.loads((measured / "run.json").read_text())["stages"]}
    assert stages["calibrate"] < 0.5 * before["calibrate"]


def test_a_calibration_of_something_else_is_refused(arguments, measured, tiny, refused, tmp_path):
    given = ["--calibration", measured, "-o", tmp_path / "out"]
    line = refused(*arguments, "--use", "7,8", *given)
    assert "was measured for modes [7], found [7, 8] now; leave --calibration out" in line
    line = refused(*arguments, "--pixel-size", "2.6", *given)
    assert "was measured for pixel sizes [2.5], found [2.6] now" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"holds_for": {}}', '{"holds_for": {}, "sigma": 3, "colour": 1}', "\0"]
)
def test_what_is_no_calibration(arguments, refused, tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    line = refused(*arguments, "--calibration", tmp_path / "bad.json", "-o", tmp_path / "out")
    assert "bad.json: is no calibration of this version" in line


def test_no_calibration_there(arguments, refused, tmp_path):
    line = refused(*arguments, "--calibration", tmp_path / "none.json", "-o", tmp_path / "out")
    assert "none.json: no such file; give calibration.json of a finished cflex hemnma" in line
