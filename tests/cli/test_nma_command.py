"""`cflex nma` from the shell: files, table, record, exit codes."""

import json

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.structure.reader import read_structure


def nma(*arguments):
    return main(["nma", *map(str, arguments)])


def test_files_table_and_record(shared_data, tmp_path, capsys):
    output = tmp_path / "nma"
    assert nma(shared_data / "particles/hemnma_reference/4akeA.pdb", "-o", output) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "fluctuations.csv", "modes.nmd", "modes.npz", "reference.cif", "run.json",
    ]  # fmt: skip
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["mode", "eigenvalue", "collectivity", "score", "recommended"]
    assert [int(row[0]) for row in rows[1:]] == list(range(7, 21))
    assert rows[1] == ["7", "0.054003", "0.467", "0.575", "yes"]
    assert "Hessian" not in err  # ProDy is quiet
    results = json.loads((output / "run.json").read_text())["results"]
    assert (results["n_atoms"], results["n_blocks"], results["n_zero_modes"]) == (1656, 22, 6)
    assert results["recommended"] == list(range(7, 21))
    assert len(read_structure(output / "reference.cif")[0]) == 1656


def test_same_input_gives_the_same_files(shared_data, tmp_path, capsys):
    for name in ("a", "b"):
        assert nma(shared_data / "structures/adk/4AKE_A.pdb", "-o", tmp_path / name) == 0
    for name in ("modes.npz", "modes.nmd", "reference.cif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_representation_number_and_width(shared_data, tmp_path, capsys):
    structure = shared_data / "structures/nucleosome/1kx5.pdb"
    arguments = ["--representation", "ca-p", "--cutoff", "15", "--n-modes", "9", "--collectivity-threshold", "0.5"]
    assert nma(structure, "-o", tmp_path / "n", *arguments) == 0
    modes = read_modes(tmp_path / "n")
    assert modes.indices.tolist() == [7, 8, 9]
    assert (modes.n_atoms, modes.sigma) == (1266, 3.0)
    out, err = capsys.readouterr()
    assert "3130 waters dropped" in err
    assert " no\n" in out
    assert nma(structure, "-o", tmp_path / "s", *arguments, "--sigma", "2.5") == 0
    assert read_modes(tmp_path / "s").sigma == 2.5


def test_percentile_is_raised_until_connected_and_said(shared_data, tmp_path, capsys):
    structure = shared_data / "structures/ubiquitin/pdb1ubi.pdb"
    arguments = ["--representation", "ca-p", "--block-size", "0", "--cutoff-percentile", "50"]
    assert nma(structure, "-o", tmp_path / "p", *arguments) == 0
    err = capsys.readouterr().err
    assert "50th percentile" in err
    assert "raised to" in err
    results = json.loads((tmp_path / "p/run.json").read_text())["results"]
    assert f"raised to {results['cutoff_angst']:g} Å" in err
    assert results["eigenvalues"][0] > 1e-6


def test_explicit_cutoff_is_never_changed(shared_data, tmp_path, capsys):
    structure = shared_data / "structures/ubiquitin/pdb1ubi.pdb"
    code = nma(structure, "-o", tmp_path / "x", "--representation", "ca-p", "--block-size", "0", "--cutoff", "4")
    assert code == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("cflex: error: cutoff 4 Å:")
    assert not (tmp_path / "x").exists()
    named = err.split("--cutoff ")[1].split()[0]
    assert nma(structure, "-o", tmp_path / "x", "--representation", "ca-p", "--block-size", "0", "--cutoff", named) == 0


def test_pseudoatoms_have_no_blocks(tmp_path, capsys):
    points = np.random.default_rng(0).normal(size=(60, 3)) * 8
    lines = ["REMARK fixedGaussian 2.200000\n", "REMARK intensityColumn Bfactor\n"]
    for i, (x, y, z) in enumerate(points, start=1):
        lines.append(f"ATOM  {i:5d} DENS DENS{i:5d}    {x:8.3f}{y:8.3f}{z:8.3f}     1{0.5:6.2f}      DENS\n")
    (tmp_path / "pseudoatoms.pdb").write_text("".join(lines))
    assert nma(tmp_path / "pseudoatoms.pdb", "-o", tmp_path / "out", "--cutoff-percentile", "95") == 0
    assert "no rigid blocks" in capsys.readouterr().err
    modes = read_modes(tmp_path / "out/modes.npz", tmp_path / "pseudoatoms.pdb")
    assert modes.sigma == 2.2
    assert set(modes.weights) == {0.5}
    assert read_structure(tmp_path / "out/reference.cif")[0].sigma == 2.2


def test_fewer_modes_than_asked_for_are_said(shared_data, tmp_path, capsys):
    code = nma(shared_data / "structures/ubiquitin/pdb1ubi.pdb", "-o", tmp_path / "f", "--block-size", "30")
    assert code == 0
    assert "20 modes asked for, the network has 18" in capsys.readouterr().err
    assert read_modes(tmp_path / "f").indices.tolist() == list(range(7, 19))


@pytest.mark.parametrize("content", ["", "hello\n", "ATOM      1  CA  ALA A   1       x.xxx   0.000   0.000\n"])
def test_bad_input_exits_with_2_and_one_line(tmp_path, capsys, content):
    (tmp_path / "bad.pdb").write_text(content)
    assert nma(tmp_path / "bad.pdb", "-o", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "bad.pdb" in err
    assert not (tmp_path / "out").exists()
