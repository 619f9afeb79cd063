"""What the checkout promises around the code: packaging, installation, example data."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.requirements import Requirement

import continuousflex_dl

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
DATA = ("adk_4ake_A.pdb", "adk_dims_heavy.dcd", "empiar10028_ctf_2000.npz")


# ---------------------------------------------------------------- packaging


def test_version_is_read_as_text():
    tree = ast.parse((ROOT / "setup.py").read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported for alias in node.names} | {
        getattr(node, "module", "") for node in imported
    }
    assert not any(name and name.startswith("continuousflex_dl") for name in names)
    shown = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == continuousflex_dl.__version__


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {Requirement(line).name.lower(): line for line in lines if line and not line.startswith("#")}


def test_constraints_fit_what_the_package_needs():
    pinned = pins()
    assert all("==" in line for line in pinned.values())
    for text in importlib.metadata.requires("scipion-em-continuousflex-dl"):
        need = Requirement(text)
        if need.name.lower() in pinned:
            version = pinned[need.name.lower()].split("==")[1]
            assert need.specifier.contains(version, prereleases=True), f"{text} against {version}"


def test_everything_the_package_needs_is_pinned():
    for text in importlib.metadata.requires("scipion-em-continuousflex-dl"):
        assert Requirement(text).name.lower() in pins(), text


def test_entry_points():
    found = importlib.metadata.distribution("scipion-em-continuousflex-dl").entry_points
    points = {(point.group, point.name): point.value for point in found}
    assert points["console_scripts", "cflex"] == "continuousflex_dl.cli.main:main"
    assert points["pyworkflow.plugin", "continuousflex_dl"] == "continuousflex_dl"


@pytest.mark.slow
def test_wheel(tmp_path):
    """What a plain installation holds: the plugin's files and suite, and no package named tests."""
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "demo", "build", "tests_output")
    shutil.copytree(ROOT, source, symlinks=True, ignore=skip)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("continuousflex_dl/protocols.conf") == (ROOT / "protocols.conf").read_bytes()
    assert {name.split("/")[0] for name in names} <= {
        "continuousflex_dl",
        f"scipion_em_continuousflex_dl-{continuousflex_dl.__version__}.dist-info",
    }
    assert "continuousflex_dl/logo.png" in names
    assert "continuousflex_dl/tests/test_workflow.py" in names
    assert any(name.endswith(".json.template") for name in names)
    modules = {path.relative_to(source).as_posix() for path in (source / "continuousflex_dl").rglob("*.py")}
    assert modules <= names, "a folder without __init__.py is left out"


def test_protocols_conf_has_one_source():
    inside = ROOT / "continuousflex_dl" / "protocols.conf"
    assert inside.is_symlink()
    assert inside.resolve() == ROOT / "protocols.conf"


def test_licence():
    text = (ROOT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 3, 29 June 2007" in text
    assert len(text) > 30000
    assert importlib.metadata.metadata("scipion-em-continuousflex-dl")["License"] == "GPL-3.0-or-later"


def test_nothing_unexpected_at_the_top():
    known = {
        "setup.py", "continuousflex_dl", "protocols.conf", "tests", "README.rst", "CHANGES.txt", "LICENSE", "Makefile",
        "MANIFEST.in", "constraints.txt", "docs", "benchmarks", "examples", "demo", "build", "shared",
    }  # fmt: skip
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert not {name for name in found if not name.endswith(".egg-info")} - known


# ---------------------------------------------------------------- installation


@pytest.fixture
def venv_path(tmp_path):
    """Run .ci/venv_path of a checkout at some path."""

    def run(checkout, *arguments, cache=None):
        (checkout / ".ci").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / ".ci" / "venv_path", checkout / ".ci")
        home = cache or tmp_path / "cache"
        return subprocess.run(
            ["sh", checkout / ".ci" / "venv_path", *arguments],
            env={"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_environment_in_a_plain_path_is_used_as_it_is(venv_path, tmp_path):
    done = venv_path(tmp_path / "check-out_1.0")
    assert done.returncode == 0
    assert Path(done.stdout.strip()) == tmp_path / "check-out_1.0" / ".venv"
    assert venv_path(tmp_path / "check-out_1.0", "--link").stdout == ""
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["with space", "semi;colon", "50%", "R&D", "a'b", "été", "$HOME", "co:lon"])
def test_environment_in_another_path_is_reached_through_a_link(venv_path, tmp_path, name):
    checkout = tmp_path / name
    done = venv_path(checkout)
    path = done.stdout.strip()
    assert re.fullmatch(r"[A-Za-z0-9_/.,+=@-]+", path)
    assert venv_path(checkout, "--link").returncode == 0
    (checkout / ".venv").mkdir()
    assert Path(path).samefile(checkout / ".venv")
    assert venv_path(checkout, "--link").returncode == 0, "again"
    other = venv_path(tmp_path / (name + " 2")).stdout.strip()
    assert other != path


def test_path_that_cannot_be_used_is_refused_in_one_line(venv_path, tmp_path):
    done = venv_path(tmp_path / "with space", "--link", cache=tmp_path / "my cache")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "XDG_CACHE_HOME" in done.stderr
    assert not (tmp_path / "my cache").exists()


def check_tools(**environment):
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "check_tools.py"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_compiler_is_said_in_one_line(tmp_path):
    done = check_tools(PATH=str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "gcc" in done.stderr
    assert "apt-get install" in done.stderr
    assert "build-essential" in done.stderr


def test_missing_tkinter_is_said_in_one_line(tmp_path):
    (tmp_path / "tkinter.py").write_text("raise ImportError('no _tkinter')\n")
    done = check_tools(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "tkinter" in done.stderr
    assert "python3-tk" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("target", ["install", "demo", "test", "lint", "bench", "scipion", "help"])
def test_targets_of_make(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("codes", "expected"), [((0, 0, 0), 0), ((1, 0, 0), 1), ((0, 1, 0), 1), ((2, 0, 3), 1), ((0, 0, -9), 1)]
)
def test_make_test_fails_when_any_suite_fails(codes, expected, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / ".ci" / "run_tests.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    left = [*codes, *[0] * (1 + len(runner.SCIPION_SUITES) - len(codes))]
    commands = []

    def run(command, **settings):
        commands.append(command)
        assert os.path.isfile(os.path.join(settings["env"]["SCIPION_HOME"], "config", "hosts.conf"))
        return SimpleNamespace(returncode=left.pop(0))

    monkeypatch.setattr(runner.subprocess, "run", run)
    assert runner.main(["-k", "some"]) == expected
    assert commands[0][1:3] == ["-m", "pytest"]
    assert all(command[1:4] == ["-m", "scipion", "test"] for command in commands[1:])
    assert len(commands) == 1 + len(runner.SCIPION_SUITES)
    assert capsys.readouterr().out.count("FAILED") == sum(code != 0 for code in codes)


# ---------------------------------------------------------------- example data


def test_every_data_file_has_its_note():
    for name in DATA:
        note = (EXAMPLES / f"{name}.note").read_text()
        for word in ("Source:", "Licence:", "Derived"):
            assert word in note, f"{name}: {word}"
    notes = {path.name.removesuffix(".note") for path in EXAMPLES.glob("*.note")}
    others = {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.suffix not in (".note", ".py", ".sh")}
    assert notes == others
    assert "LGPL-3.0-or-later" in (EXAMPLES / "adk_dims_heavy.dcd.note").read_text()
    for name in ("adk_4ake_A.pdb", "empiar10028_ctf_2000.npz"):
        assert "CC0" in (EXAMPLES / f"{name}.note").read_text()


def test_example_data_are_small():
    assert sum((EXAMPLES / name).stat().st_size for name in DATA) < 2_000_000
    assert (EXAMPLES / "adk_dims_heavy.dcd").stat().st_size <= 1_000_000


def test_example_trajectory_is_the_example_structure_moving():
    pytest.importorskip("MDAnalysis")
    from continuousflex_dl.core.structure.ensemble import read_ensemble
    from continuousflex_dl.core.structure.reader import read_structure

    structure, _ = read_structure(EXAMPLES / "adk_4ake_A.pdb")
    assert len(structure) == 1656
    frames, index, _ = read_ensemble(EXAMPLES / "adk_dims_heavy.dcd", EXAMPLES / "adk_4ake_A.pdb", structure)
    assert frames.shape == (49, 1656, 3)
    np.testing.assert_array_equal(index, np.arange(1656))
    away = np.sqrt(((frames - structure.coordinates) ** 2).sum(-1).mean(-1))
    assert away[0] == pytest.approx(7.14, abs=0.01)
    assert away[-1] == pytest.approx(1.64, abs=0.01)
    bonds = np.linalg.norm(frames[:, 1] - frames[:, 0], axis=-1)  # N-CA of the first residue
    assert np.all((bonds > 1.3) & (bonds < 1.7))


def test_example_ctf_rows_are_those_of_a_microscope():
    from continuousflex_dl.core.simulation.ctf_rows import read_ctf_table

    rows = read_ctf_table(EXAMPLES / "empiar10028_ctf_2000.npz")
    assert len(rows) == 2000
    assert np.all(rows.voltage_kv == 300)
    assert np.all((rows.defocus_u_angst > 5000) & (rows.defocus_u_angst < 60000))


def test_example_structure_is_that_of_the_reference_set(shared_data):
    from continuousflex_dl.core.structure.reader import read_structure

    ours, _ = read_structure(EXAMPLES / "adk_4ake_A.pdb")
    other, _ = read_structure(shared_data / "particles" / "hemnma_reference" / "4akeA.pdb")
    np.testing.assert_array_equal(ours.atom_name, other.atom_name)
    np.testing.assert_allclose(ours.coordinates, other.coordinates)
