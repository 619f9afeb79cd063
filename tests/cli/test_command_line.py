"""What every command has in common: help, usage errors, streams, the run record."""

import json
import os
import subprocess
import sys

import pytest
import torch

from continuousflex_dl._version import __version__
from continuousflex_dl.options import COMMANDS
from continuousflex_dl.options.base import field_extra, flag_of

NAMES = [entry.name for entry in COMMANDS]


def test_version(cflex):
    ended = cflex("--version")
    assert ended.code == 0
    assert ended.out.strip() == f"cflex {__version__}"


def test_module_and_console_script_are_the_same_program():
    by_module = subprocess.run(
        [sys.executable, "-m", "continuousflex_dl", "--help"], capture_output=True, text=True, check=True
    )
    script = os.path.join(os.path.dirname(sys.executable), "cflex")
    if not os.path.exists(script):
        pytest.skip("the console script is not installed")
    by_script = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert by_module.stdout == by_script.stdout
    for name in NAMES:
        assert name.split()[0] in by_module.stdout


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_shows_every_option_with_unit_and_default(entry, cflex, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ended = cflex(*entry.name.split(), "--help")
    assert ended.code == 0
    text = " ".join(ended.out.split())
    for name, field in entry.options.model_fields.items():
        assert flag_of(entry.options, name) in text
        extra = field_extra(entry.options, name)
        if extra["unit"] and not extra["positional"]:
            assert str(extra["unit"]) in text
        if isinstance(field.default, float) and not extra["positional"]:
            assert f"default {field.default}" in text


def test_common_options_are_everywhere():
    common = ["output", "device", "threads", "seed", "resume", "overwrite", "pixel_size", "datadir", "verbose", "debug"]
    for entry in COMMANDS:
        assert set(common) <= set(entry.options.model_fields), entry.name


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["hemnma"],
        ["hemnma", "p.star", "--modes", "m.npz"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--no-such-option"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--ctf", "maybe"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--angular-step", "wide"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--angular-step", "0"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--symmetry", "X7"],
        ["hemnma", "p.star", "--modes", "m.npz", "--use", "7", "-o", "out", "--device", "tpu"],
        ["simulate", "m.npz", "-o", "out", "--n-particles", "0"],
        ["simulate", "m.npz", "-o", "out", "--n-particles", "5", "--law", "helix", "--use", "7"],
        ["simulate", "m.npz", "-o", "out", "--n-particles", "5", "--no-ctf", "--phase-flip"],
        ["rerun"],
        ["rerun", "absent.json", "-o", "out"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]) or "nothing",
)
def test_wrong_usage(refused, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"command": "nma"}', '{"command": "dance", "options": {}}', "\0\1"])
def test_rerun_of_what_is_no_record(refused, tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert "run.json" in refused("rerun", tmp_path / "run.json", "-o", tmp_path / "out")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(tiny, refused, tmp_path, device):
    for command in (
        ["hemnma", tiny.particles, "--modes", tiny.modes, "--use", "7"],
        ["simulate", tiny.modes, "--n-particles", "3", "--use", "7", "--law", "line"],
    ):
        line = refused(*command, "-o", tmp_path / "out", "--device", device)
        assert "GPU" in line or "CUDA" in line
        assert not (tmp_path / "out").exists()


def test_results_on_stdout_and_progress_on_stderr(tiny, cflex, tmp_path):
    ended = cflex(
        "hemnma", tiny.particles, "--modes", tiny.modes, "--use", "7", "-o", tmp_path / "out", "--hypotheses", "4"
    )
    assert ended.code == 0
    assert "written: " in ended.out
    assert "cflex: " not in ended.out
    assert ended.err
    assert all(line.startswith("cflex: ") for line in ended.err.splitlines())


def test_nothing_but_results_in_the_output(tiny, cflex, tmp_path):
    """A refused run leaves no directory behind."""
    cflex("nma", tmp_path / "absent.pdb", "-o", tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "out").exists()


def test_debug_shows_the_traceback(cflex, tmp_path):
    plain = cflex("nma", tmp_path / "absent.pdb", "-o", tmp_path / "out")
    assert "Traceback" not in plain.err
    ended = cflex("nma", tmp_path / "absent.pdb", "-o", tmp_path / "out", "--debug")
    assert ended.code == 2
    assert "Traceback" in ended.err


def test_internal_failure_is_exit_1(cflex, tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("continuousflex_dl.cli.nma.run", fail)
    ended = cflex("nma", tiny.structure, "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.err == "cflex: error: internal error: RuntimeError: two lines (--debug shows the traceback)\n"


def test_out_of_memory_is_said(cflex, tiny, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("continuousflex_dl.cli.nma.run", fail)
    ended = cflex("nma", tiny.structure, "-o", tmp_path / "out")
    assert ended.code == 1
    assert "out of memory" in ended.err


def test_record_of_a_run(tiny, cflex, tmp_path):
    output = tmp_path / "out"
    assert (
        cflex(
            "simulate", tiny.modes, "-o", output, "--n-particles", "4", "--use", "7", "--law", "line", "--seed", "9"
        ).code
        == 0
    )
    record = json.loads((output / "run.json").read_text())
    assert record["command"] == "simulate"
    assert record["cflex_version"] == __version__
    assert record["seed"] == 9
    assert record["device"].startswith(("cpu", "cuda"))
    assert record["options"]["n_particles"] == 4
    assert record["options"]["box"] == 128, "defaults are recorded"
    assert record["inputs"] == {str(tiny.modes): tiny.modes.stat().st_size}
    assert {"numpy", "torch", "python"} <= set(record["packages"])
    assert record["wall_s"] > 0
    assert record["cpu_s"] > 0
    assert record["peak_memory_mb"] > 1
    assert {stage["stage"] for stage in record["stages"]} >= {"simulate", "write"}
    assert record["results"]["particles"] == 4


def test_relative_paths_and_paths_with_spaces(tiny, cflex, tmp_path, monkeypatch):
    folder = tmp_path / "my data (1) %d"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert cflex("nma", tiny.structure, "-o", "normal modes").code == 0
    images = ["--n-particles", "3", "--box", "48", "--pixel-size", "2.5", "--use", "7", "--law", "line", "--snr", "5"]
    assert cflex("simulate", "normal modes/modes.npz", "-o", "images", *images).code == 0
    aligned = ["--use", "7", "--angular-step", "25", "--hypotheses", "8", "-o", "aligned"]
    assert cflex("hemnma", "images/particles.star", "--modes", "normal modes/modes.npz", *aligned).code == 0
    assert cflex("space", "aligned", "-o", "space").code == 0
    assert (folder / "space" / "report.html").exists()
