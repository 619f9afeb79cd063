"""One run shared among processes gives the bytes of one process, whoever is killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from continuousflex_dl.core.io.block_files import records

SETTINGS = ["--use", "7", "--angular-step", "40", "--hypotheses", "4", "--no-calibrate", "--search-rmsd", "0"]
CFLEX = [sys.executable, "-m", "continuousflex_dl"]
LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "openmpi": (
        "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS"),
}  # fmt: skip


@pytest.fixture(scope="module")
def arguments(tiny):
    """HEMNMA of the tiny set, one particle a block, without an output."""
    return ["hemnma", str(tiny.particles), "--modes", str(tiny.modes), *SETTINGS, "--batch-size", "1", "--threads", "1"]


@pytest.fixture(scope="module")
def expected(arguments, tmp_path_factory):
    """Result of one process."""
    output = tmp_path_factory.mktemp("one") / "out"
    assert start(arguments, output).wait(300) == 0
    return result(output)


def start(arguments, output, rank=0, size=1, launcher="torchrun", patience="20", **environ):
    """One process of a run."""
    names = LAUNCHERS[launcher]
    place = dict(zip(names, map(str, (rank, size, rank, size)), strict=True)) if size > 1 else {}
    return subprocess.Popen(
        [*CFLEX, *arguments, "-o", str(output)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CFLEX_PATIENCE": patience, "OMP_NUM_THREADS": "1", **place, **environ},
    )  # fmt: skip


def end(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def result(output):
    return (output / "particles.star").read_bytes()


def finished(output):
    return sum(
        1 for path in (output / "blocks").glob("*.blocks") for _ in records(path, skip_damaged=False)
    )  # fmt: skip


def stop_at(process, output, blocks):
    """Freeze a process as soon as so many blocks are finished."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and finished(output) < blocks:
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    assert process.poll() is None, "the run was over too soon"
    assert finished(output) < 24


@pytest.mark.parametrize(("launcher", "size"), [("openmpi", 2), ("srun", 3)])
def test_shares_give_the_same_bytes(arguments, expected, tmp_path, launcher, size):
    output = tmp_path / "out"
    processes = [start(arguments, output, rank, size, launcher) for rank in reversed(range(size))]
    ended = [end(process) for process in reversed(processes)]
    assert [code for code, *_ in ended] == [0] * size, ended
    assert result(output) == expected
    assert "written:" in ended[0][1]
    assert "24/24" in ended[0][2]
    assert all(out == err == "" for _, out, err in ended[1:])
    assert sorted(os.listdir(output)) == [".cflex", "calibration.json", "particles.star", "run.json"]
    record = json.loads((output / "run.json").read_text())
    assert record["launcher"] == launcher
    assert [process["rank"] for process in record["processes"]] == list(range(size))
    assert all(process["peak_memory_mb"] > 50 and process["cpu_s"] > 0.1 for process in record["processes"])
    assert record["cpu_s"] == pytest.approx(sum(process["cpu_s"] for process in record["processes"]), abs=0.01)


def test_torchrun_itself(arguments, expected, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "continuousflex_dl", *arguments, "-o", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert result(tmp_path / "out") == expected
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())["processes"]) == 2


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun")
def test_mpirun_itself(arguments, expected, tmp_path):
    allow = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = ["mpirun", "--oversubscribe", "-np", "2", *CFLEX, *arguments, "-o", str(tmp_path / "out")]
    environ = {**os.environ, **allow}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environ)
    assert ended.returncode == 0, ended.stderr
    assert result(tmp_path / "out") == expected
    assert json.loads((tmp_path / "out" / "run.json").read_text())["launcher"] == "openmpi"


def test_what_a_killed_process_leaves_is_done_by_the_first(arguments, expected, tmp_path):
    output = tmp_path / "out"
    first, second = (start(arguments, output, rank, 2) for rank in range(2))
    stop_at(second, output, 4)
    second.kill()
    code, _, err = end(first)
    assert code == 0, err
    assert "process 1 (on " in err
    assert "has died; what it has left is done here" in err
    assert result(output) == expected
    second.communicate()
    assert json.loads((output / "run.json").read_text())["processes"][1]["lost"] == "has died"


def test_the_others_end_when_the_first_is_killed(arguments, expected, tmp_path):
    output = tmp_path / "out"
    first, second = (start(arguments, output, rank, 2) for rank in range(2))
    stop_at(second, output, 4)
    first.kill()
    first.communicate()
    second.send_signal(signal.SIGCONT)
    code, _, err = end(second)
    assert code == 1
    line = err.rstrip().splitlines()[-1]
    assert line.startswith("cflex: error: process 1 of 2 (torchrun): process 0 (on ")
    assert line.endswith("has died; --resume continues")
    assert not (output / "particles.star").exists()
    assert finished(output) >= 4
    assert end(start([*arguments, "--resume"], output))[0] == 0
    assert result(output) == expected


def test_a_run_without_its_other_processes(arguments, expected, tmp_path):
    """As in a shell that was itself one of four tasks of srun: slower, but it does not hang."""
    code, _, err = end(start(arguments, tmp_path / "out", 0, 3, "srun", patience="2"))
    assert code == 0, err
    assert "process 1 gave no sign for 2 s; what it has left is done here" in err
    assert result(tmp_path / "out") == expected


def test_a_process_without_its_first(arguments, tmp_path):
    code, _, err = end(start(arguments, tmp_path / "out", 1, 2, "srun", patience="0.6"))
    assert code == 1
    assert "process 1 of 2 (srun) waits for process 0 to open" in err
    assert "CFLEX_LAUNCHER=none" in err
    assert "no sign of process 0" in err.rstrip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_strays_change_nothing(arguments, expected, tmp_path):
    strays = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "WORLD_SIZE": "2"}  # of a batch script
    code, _, err = end(start(arguments, tmp_path / "out", **strays))
    assert code == 0, err
    assert result(tmp_path / "out") == expected
    assert "launcher" not in json.loads((tmp_path / "out" / "run.json").read_text())


def test_an_output_that_is_refused_is_refused_by_all(arguments, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    processes = [start(arguments, tmp_path, rank, 2, patience="8") for rank in range(2)]
    for code, _, err in map(end, processes):
        assert code == 2
        assert "is not empty" in err.rstrip().splitlines()[-1]
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_failure_of_the_first_is_the_end_of_all(arguments, tiny, tmp_path):
    """Images without anything in them are noticed by the process that measures the noise."""
    import mrcfile
    import numpy as np

    images = tmp_path / "flat"
    shutil.copytree(tiny.particles.parent, images)
    with mrcfile.open(images / "particles.mrcs", "r+") as stack:
        stack.data[:] = np.float32(1)
    flat = [str(images / "particles.star") if argument == str(tiny.particles) else argument for argument in arguments]
    first, second = (start(flat, tmp_path / "out", rank, 2) for rank in range(2))
    code, _, err = end(first)
    assert code == 2
    assert "cflex: error: process 0 of 2 (torchrun): " in err
    assert "all images are constant" in err
    code, _, err = end(second)
    assert code == 1
    assert "process 0 (on " in err
    assert "all images are constant" in err.rstrip().splitlines()[-1]


def test_two_runs_in_one_directory(arguments, expected, tmp_path):
    output = tmp_path / "out"
    first = start(arguments, output)
    stop_at(first, output, 3)
    code, _, err = end(start([*arguments, "--resume"], output))
    assert code == 2
    assert f"another cflex (process {first.pid} on " in err.rstrip().splitlines()[-1]
    first.send_signal(signal.SIGCONT)
    assert end(first)[0] == 0
    assert result(output) == expected


def test_all_of_them_continue_and_overwrite(arguments, expected, tmp_path):
    output = tmp_path / "out"
    alone = start(arguments, output)
    stop_at(alone, output, 5)
    alone.kill()
    alone.communicate()
    for option in ("--resume", "--overwrite"):
        ended = [end(process) for process in [start([*arguments, option], output, rank, 2) for rank in range(2)]]
        assert [code for code, *_ in ended] == [0, 0], ended
        assert result(output) == expected
