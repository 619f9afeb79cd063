"""When a step is repeated, its command continues from finished work exactly where nothing has changed."""

import os
import shlex
import subprocess
import sys

import pytest

from continuousflex_dl.core.distributed import place_of
from continuousflex_dl.protocols import CflexProtHEMNMA
from continuousflex_dl.protocols.command import job


class Recorder(CflexProtHEMNMA):
    """Protocol whose jobs are only noted."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.commands = []

    def runJob(self, program, arguments, **kwargs):  # noqa: N802  (Scipion's name)
        self.commands.append((program, shlex.split(arguments)))
        self.mpi, self.environ = kwargs["numberOfMpi"], kwargs["env"]


@pytest.fixture
def protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Recorder(workingDir=str(tmp_path / "run"))
    (tmp_path / "run" / "extra" / "input").mkdir(parents=True)
    (tmp_path / "run" / "extra" / "input" / "particles.star").write_text("one\n")
    found.modeList.set("7,8")
    return found


def run(protocol, **changes):
    protocol._runCommand(
        {"particles": protocol._inputPath("particles.star"), "modes": "m.npz"}, {**protocol._formValues(), **changes}
    )
    return protocol.commands[-1][1]


def half_done(tmp_path):
    blocks = tmp_path / "run" / "extra" / "hemnma" / "blocks"
    blocks.mkdir(parents=True)
    (blocks / "00000-000.blocks").write_bytes(b"x")
    return blocks


def test_first_run_starts_afresh(protocol):
    arguments = run(protocol)
    assert arguments[0] == "hemnma"
    assert "--resume" not in arguments
    assert "--use=7,8" in arguments
    assert "--device=cpu" in arguments
    assert arguments[-1] == protocol._inputPath("particles.star")


def test_same_step_again_resumes(protocol, tmp_path):
    run(protocol)
    blocks = half_done(tmp_path)
    assert "--resume" in run(protocol)
    assert (blocks / "00000-000.blocks").exists()


def test_more_threads_resume_too(protocol, tmp_path):
    run(protocol, threads=1)
    half_done(tmp_path)
    assert "--resume" in run(protocol, threads=2)


def test_another_option_starts_afresh(protocol, tmp_path):
    run(protocol)
    blocks = half_done(tmp_path)
    assert "--resume" not in run(protocol, angular_step=20.0)
    assert not blocks.exists()


def test_other_input_starts_afresh(protocol, tmp_path):
    run(protocol)
    blocks = half_done(tmp_path)
    (tmp_path / "run" / "extra" / "input" / "particles.star").write_text("two\n")
    assert "--resume" not in run(protocol)
    assert not blocks.exists()


def test_results_of_unknown_origin_are_not_continued(protocol, tmp_path):
    blocks = half_done(tmp_path)
    assert "--resume" not in run(protocol)
    assert not blocks.exists()


def test_gpu_is_shown_to_the_program(protocol):
    protocol.useGpu.set(True)
    arguments = run(protocol)
    assert protocol.commands[-1][0].startswith("CUDA_VISIBLE_DEVICES=%(GPU)s ")
    assert "torch.distributed" not in protocol.commands[-1][0]
    assert "--device=cuda" in arguments
    assert (protocol.mpi, protocol.environ["CFLEX_LAUNCHER"]) == (1, "none")


def test_one_process_takes_no_place_that_a_cluster_gave_to_scipion(protocol, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    run(protocol)
    assert place_of(protocol.environ).alone
    protocol.numberOfMpi.set(2)
    run(protocol)
    started_by_mpirun = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
    assert place_of({**protocol.environ, **started_by_mpirun}).launcher == "openmpi"


def test_several_gpus_have_a_process_each(protocol):
    protocol.useGpu.set(True)
    protocol.gpuList.set("0,2-3")
    protocol.numberOfThreads.set(8)
    arguments = run(protocol)
    program, _ = protocol.commands[-1]
    assert program.startswith("CUDA_VISIBLE_DEVICES=%(GPU)s ")
    assert program.endswith("-m torch.distributed.run --standalone --nproc-per-node=3 -m continuousflex_dl")
    assert "--threads=2" in arguments
    assert protocol.mpi == 1
    assert place_of({**protocol.environ, "RANK": "2", "WORLD_SIZE": "3"}).launcher == "torchrun"


def test_mpi_is_left_to_the_parallel_command_of_the_host(protocol):
    protocol.useGpu.set(True)
    protocol.gpuList.set("0,1")
    protocol.numberOfMpi.set(4)
    protocol.numberOfThreads.set(8)
    arguments = run(protocol)
    program, _ = protocol.commands[-1]
    assert shlex.split(program) == [sys.executable]  # one word, nothing in front: it becomes an argument of mpirun
    assert arguments[:3] == ["-m", "continuousflex_dl", "hemnma"]
    assert "--threads=8" in arguments
    assert protocol.mpi == 4
    assert protocol.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_gpus_of_a_queue_are_not_looked_for_here(protocol):
    protocol.useGpu.set(True)
    protocol.gpuList.set("0,0")
    assert "name a GPU twice" in protocol._gpuErrors()[0]
    protocol.gpuList.set("0-7")
    protocol._useQueue.set(True)
    assert protocol._gpuErrors() == []


def test_the_command_runs_with_what_the_protocol_spells(protocol, tmp_path):
    """Through a shell, as Scipion does it: two processes without a GPU, which both say that there is no such file."""
    spelt = job(["hemnma", "none.star", "--modes", "none.npz", "--use", "7", "-o", "out"], gpus=[0, 1])
    command = f"{spelt.program % {'GPU': '0,1'}} {spelt.arguments % {}}"
    environ = {**os.environ, **spelt.environ, "CFLEX_PATIENCE": "20"}
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environ, check=False)
    assert ended.returncode != 0
    assert "cflex: error: process 0 of 2 (torchrun): none.star: no such file" in ended.stderr
