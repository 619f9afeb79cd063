"""A run that is killed and continued, run on other threads or repeated from its record gives the same bytes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from continuousflex_dl.core.io.block_files import records

# the smaller the blocks, the longer the run is between its first and its last
SETTINGS = ["--use", "7,8", "--angular-step", "30", "--hypotheses", "8", "--batch-size", "1"]


@pytest.fixture(scope="module")
def arguments(tiny):
    """HEMNMA of the tiny set, without an output."""
    return ["hemnma", str(tiny.particles), "--modes", str(tiny.modes), *SETTINGS]


@pytest.fixture(scope="module")
def uninterrupted(arguments, tmp_path_factory):
    """Bytes of the result of a run from beginning to end, in a process of its own."""
    output = tmp_path_factory.mktemp("whole") / "out"
    ended = process([*arguments, "-o", str(output), "--threads", "1"]).wait(300)
    assert ended == 0
    return result(output)


def process(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "continuousflex_dl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background lets them, and what they start, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def result(output):
    return (output / "particles.star").read_bytes()


def block_files(output):
    try:
        return sorted((output / "blocks").glob("*.blocks"))
    except FileNotFoundError:  # removed by the run that has just ended, while they were listed
        return []


def blocks(output):
    """Finished blocks, each with the file that it is in."""
    return [(path, record) for path in block_files(output) for record in records(path, skip_damaged=True)]


def interrupted(arguments, output, number):
    """Start a run, send it a signal when some blocks are done, and give its exit code and errors."""
    for _ in range(5):  # on a busy computer the run may be over before the signal
        running = process([*arguments, "-o", str(output), "--threads", "1", "--overwrite"])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None and len(blocks(output)) < 3:
            time.sleep(0.002)
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
        if not (output / "particles.star").exists():
            assert blocks(output)
            return running.returncode, errors
    raise AssertionError("the run was over before the signal, five times")


def test_killed_run_continues_to_the_same_bytes(arguments, uninterrupted, cflex, tmp_path):
    output = tmp_path / "out"
    code, _ = interrupted(arguments, output, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (output / "run.json").exists()
    done = {record.block for _, record in blocks(output)}
    assert len(done) < 24
    old, again = block_files(output), set()
    resumed = process([*arguments, "-o", str(output), "--threads", "1", "--resume"])
    while resumed.poll() is None:  # finished blocks are used, not made again
        for path in set(block_files(output)) - set(old):
            with contextlib.suppress(FileNotFoundError):
                again |= {record.block for record in records(path, skip_damaged=False)}
        time.sleep(0.01)
    assert resumed.wait() == 0, resumed.stderr.read()
    assert again
    assert not again & done
    assert result(output) == uninterrupted
    assert not (output / "blocks").exists()
    assert sorted(os.listdir(output)) == [".cflex", "calibration.json", "particles.star", "run.json"]


def test_damaged_block_is_made_again(arguments, uninterrupted, cflex, tmp_path):
    output = tmp_path / "out"
    interrupted(arguments, output, signal.SIGKILL)
    path, record = blocks(output)[0]
    data = bytearray(path.read_bytes())
    data[record.begin + record.length // 2] ^= 1
    path.write_bytes(data)
    assert cflex(*arguments, "-o", output, "--threads", "1", "--resume").code == 0
    assert result(output) == uninterrupted


def test_sigterm_stops_cleanly(arguments, uninterrupted, cflex, tmp_path):
    output = tmp_path / "out"
    code, errors = interrupted(arguments, output, signal.SIGTERM)
    assert code == 143
    assert "Traceback" not in errors
    assert errors.rstrip().splitlines()[-1] == "cflex: error: stopped by SIGTERM; --resume continues"
    assert not [path for path in output.rglob("*") if path.name.startswith(".") and path.name != ".cflex"]
    assert cflex(*arguments, "-o", output, "--resume").code == 0
    assert result(output) == uninterrupted


def test_interrupt_from_the_keyboard(arguments, tmp_path):
    code, errors = interrupted(arguments, tmp_path / "out", signal.SIGINT)
    assert code == 130
    assert "Traceback" not in errors
    assert "--resume continues" in errors


def test_threads_change_nothing(arguments, uninterrupted, cflex, tmp_path):
    for threads in (2, 3):
        output = tmp_path / str(threads)
        assert cflex(*arguments, "-o", output, "--threads", threads).code == 0
        assert result(output) == uninterrupted


def test_resume_with_other_options_is_refused(arguments, tiny, cflex, refused, tmp_path):
    output = tmp_path / "out"
    interrupted(arguments, output, signal.SIGKILL)
    before = [(path, path.stat().st_mtime_ns) for path in block_files(output)]
    for change in (["--angular-step", "20"], ["--use", "7"], ["--batch-size", "2"], ["--seed", "3"], ["--ctf", "none"]):
        line = refused(*arguments, *change, "-o", output, "--resume")
        assert "--resume" in line
        assert {"--batch-size": "size"}.get(change[0], change[0].strip("-").replace("-", "_")) in line
    assert [(path, path.stat().st_mtime_ns) for path in block_files(output)] == before
    assert not (output / "particles.star").exists()


def test_resume_of_a_finished_run_changes_nothing(arguments, uninterrupted, cflex, tmp_path):
    output = tmp_path / "out"
    assert cflex(*arguments, "-o", output).code == 0
    stamps = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert cflex(*arguments, "-o", output, "--resume").code == 0
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == stamps
    assert json.loads((output / "run.json").read_text())["results"]["particles"] == 24
    assert result(output) == uninterrupted


def test_resume_from_nothing_is_a_run(arguments, uninterrupted, cflex, tmp_path):
    assert cflex(*arguments, "-o", tmp_path / "out", "--resume").code == 0
    assert result(tmp_path / "out") == uninterrupted


def test_output_that_is_not_empty_is_refused(arguments, uninterrupted, cflex, refused, tmp_path):
    output = tmp_path / "out"
    assert cflex(*arguments, "-o", output).code == 0
    line = refused(*arguments, "-o", output)
    assert "is not empty" in line
    assert "--overwrite" in line
    assert cflex(*arguments, "-o", output, "--overwrite").code == 0
    assert result(output) == uninterrupted


def test_overwrite_empties_only_what_cflex_wrote(arguments, refused, tmp_path):
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter1.txt").write_text("years of work")
    assert "--overwrite" in refused(*arguments, "-o", output, "--overwrite")
    assert (output / "chapter1.txt").read_text() == "years of work"


def test_rerun_repeats_hemnma(arguments, cflex, refused, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    assert cflex(*arguments, "-o", first, "--seed", "5", "--search-rmsd", "3").code == 0
    assert cflex("rerun", first / "run.json", "-o", again).code == 0
    assert result(again) == result(first)
    records = [json.loads((folder / "run.json").read_text()) for folder in (first, again)]
    for record in records:
        assert record["options"].pop("output")
    assert records[0]["options"] == records[1]["options"]
    assert records[0]["results"] == records[1]["results"]
    assert "is not empty" in refused("rerun", first / "run.json", "-o", again)


@pytest.mark.parametrize("command", ["nma", "simulate", "space", "evaluate", "animate"])
def test_rerun_repeats_every_other_command(tiny, cflex, tmp_path, command):
    lines = {
        "nma": [tiny.structure, "--n-modes", "9", "--block-size", "4"],
        "simulate": [
            tiny.modes,
            "--n-particles",
            "5",
            "--box",
            "32",
            "--pixel-size",
            "3",
            "--use",
            "7,9",
            "--law",
            "grid",
        ],
        "space": [tiny.truth, "--modes", tiny.modes],
        "evaluate": [tiny.truth, tiny.truth, "--modes", tiny.modes],
        "animate": [tiny.modes, "--mode", "8"],
    }
    first, again = tmp_path / "first", tmp_path / "again"
    assert cflex(command, *lines[command], "-o", first).code == 0
    assert cflex("rerun", first / "run.json", "-o", again).code == 0
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    for name in names:
        if name != "run.json":
            same = (first / name).read_bytes() == (again / name).read_bytes()
            assert same, f"{name} differs"
