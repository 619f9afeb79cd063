"""A tiny particle set for the tests of commands, made once, and ways to run a command."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.tests.synthetic import write_structure

N_PARTICLES = 24


@dataclass(frozen=True)
class Tiny:
    """Paths of a structure, its modes and particle images of it."""

    structure: Path
    modes: Path
    particles: Path
    truth: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    structure = folder / "structure.pdb"
    write_structure(structure)
    network = ["--representation", "ca-p", "--block-size", "0", "--cutoff", "12", "--n-modes", "10"]
    assert main(["nma", str(structure), "-o", str(folder / "nma"), *network]) == 0
    images = ["--n-particles", str(N_PARTICLES), "--box", "48", "--pixel-size", "2.5", "--shift-px", "2"]
    law = ["--use", "7,8", "--law", "line", "--amplitude", "30", "--snr", "1"]
    simulated = folder / "simulated"
    assert main(["simulate", str(folder / "nma" / "modes.npz"), "-o", str(simulated), *images, *law]) == 0
    return Tiny(structure, folder / "nma" / "modes.npz", simulated / "particles.star", simulated / "truth.star")


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def cflex(capsys):
    """Run a command in this process."""

    def run(*arguments) -> Ended:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(cflex):
    """Run a command that must be refused: exit code 2 and one line, no traceback; gives that line."""

    def run(*arguments) -> str:
        ended = cflex(*arguments)
        assert_refused(ended.code, ended.err)
        return error_line(ended.err)

    return run


@pytest.fixture
def refused_process():
    """The same in a process of its own, optionally started through a shell line that ends with ``exec "$@"``."""

    def run(*arguments, shell: str | None = None) -> str:
        command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
        if shell is not None:
            command = ["/bin/sh", "-c", shell, "sh", *command]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert_refused(ended.returncode, ended.stderr)
        return error_line(ended.stderr)

    return run


def error_line(err: str) -> str:
    lines = [line for line in err.splitlines() if "error: " in line]
    assert len(lines) == 1, err
    return lines[0]


def assert_refused(code: int, err: str) -> None:
    assert code == 2, err
    assert "Traceback" not in err
    line = error_line(err)
    assert line.startswith("cflex"), err
    assert err.rstrip().splitlines()[-1] == line, err
