"""When a step is repeated, its command continues from finished work exactly where nothing has changed."""

import shlex

import pytest

from continuousflex_dl.protocols import CflexProtHEMNMA


class Recorder(CflexProtHEMNMA):
    """Protocol whose jobs are only noted."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.commands = []

    def runJob(self, program, arguments, **kwargs):  # noqa: N802  (Scipion's name)
        assert kwargs["numberOfMpi"] == 1
        self.commands.append((program, shlex.split(arguments)))


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
    assert "--device=cuda" in arguments
