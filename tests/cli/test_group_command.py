"""`cflex group`: subsets, centroid structures and maps of the groups of a space."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from continuousflex_dl.cli import group as command
from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.reconstruction.map_files import read_cube
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.core.structure.reader import read_structure

N = 150


@dataclass(frozen=True)
class Made:
    """Particles along a line in two modes, with true poses and amplitudes, and their space."""

    space: Path
    truth: Path
    modes: Path


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    images = [
        "--n-particles",
        str(N),
        "--box",
        "48",
        "--pixel-size",
        "2.5",
        "--snr",
        "5",
        "--shift-px",
        "2",
        "--no-ctf",
    ]
    law = ["--use", "7,8", "--law", "line", "--amplitude", "40"]
    assert main(["simulate", str(tiny.modes), "-o", str(folder / "sim"), *images, *law]) == 0
    truth = folder / "sim" / "truth.star"
    noisy = read_particles(truth)
    rng = np.random.default_rng(0)
    spread = {mode: noisy.amplitudes[mode] + rng.normal(size=N) for mode in (7, 8)}
    write_star(folder / "sim" / "found.star", noisy.with_amplitudes(spread))
    options = ["--modes", str(tiny.modes), "-o", str(folder / "space"), "--clusters", "kmeans", "--n-clusters", "3"]
    assert main(["space", str(folder / "sim" / "found.star"), *options]) == 0
    return Made(folder / "space", folder / "sim" / "found.star", tiny.modes)


def rows_of(path):
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_slices_are_subsets_with_their_centroids(cflex, made, tmp_path):
    ended = cflex("group", made.space, "-o", tmp_path / "g", "--axis", 1, "--n-groups", 5)
    assert ended.code == 0, ended.err
    space, whole = Space.load(made.space), read_particles(made.truth)
    modes = read_modes(made.modes).select([7, 8])
    amplitudes = np.stack([whole.amplitudes[7], whole.amplitudes[8]], axis=1)
    order = np.argsort(space.coordinates[:, 0], kind="stable")
    table = rows_of(tmp_path / "g/groups.csv")
    assert [int(row["particles"]) for row in table] == [30] * 5
    for number in range(5):
        subset = read_particles(tmp_path / f"g/group_0{number + 1}.star")
        expected = np.sort(order[30 * number : 30 * (number + 1)])
        assert subset.stack_index.tolist() == whole.stack_index[expected].tolist()
        assert set(subset.stack_path) == set(whole.stack_path)
        assert subset.euler_deg == pytest.approx(whole.euler_deg[expected])
        centroid, _ = read_structure(tmp_path / f"g/group_0{number + 1}.cif")
        mean = modes.displace(amplitudes[expected].mean(axis=0))
        np.testing.assert_allclose(centroid.coordinates, mean, atol=2e-3)
        spread = ((amplitudes[expected] - amplitudes[expected].mean(axis=0)) ** 2).sum(axis=1).mean()
        assert float(table[number]["rmsd_within_angst"]) == pytest.approx(np.sqrt(spread / modes.n_atoms), abs=1e-3)
    marked = read_particles(tmp_path / "g/particles.star")
    assert marked.numbers("cflexGroup")[order[:30]].tolist() == [1] * 30
    assert (tmp_path / "g/groups.png").read_bytes().startswith(b"\x89PNG")


def test_maps_of_the_groups_are_those_of_their_centroids(cflex, made, tmp_path):
    options = ["--axis", 1, "--n-groups", 3, "--reconstruct", "--half-maps"]
    ended = cflex("group", made.space, "-o", tmp_path / "g", *options)
    assert ended.code == 0, ended.err
    for row in rows_of(tmp_path / "g/groups.csv"):
        assert float(row["resolution_model_masked_0.5_angst"]) < 11.0  # atoms are 3 Å wide, ends move by 4 Å
    names = {path.name for path in (tmp_path / "g").iterdir()}
    assert {"group_01.mrc", "group_02_half1.mrc", "group_02_fsc.csv"} <= names
    # the map lies over the structure of its own group, not of the other one
    maps = [read_cube(tmp_path / f"g/group_0{n}.mrc") for n in (1, 3)]
    structures = [read_structure(tmp_path / f"g/group_0{n}.cif")[0].coordinates for n in (1, 3)]
    far = np.argsort(-np.linalg.norm(structures[0] - structures[1], axis=1))[:20]

    def density(found, coordinates):
        index = np.rint((coordinates - found.origin) / found.pixel_size).astype(int)
        return found.values[index[:, 2], index[:, 1], index[:, 0]].mean()

    for own, other in ((0, 1), (1, 0)):
        assert density(maps[own], structures[own][far]) > 1.5 * density(maps[own], structures[other][far])


def test_conditions_columns_clusters_and_outlines(cflex, made, tmp_path):
    space = Space.load(made.space)
    first = space.coordinates[:, 0]

    def sizes(name, *options):
        ended = cflex("group", made.space, "-o", tmp_path / name, *options)
        assert ended.code == 0, ended.err
        return [int(row["particles"]) for row in rows_of(tmp_path / name / "groups.csv")]

    wanted = [int((first > 20).sum()), int((first < -20).sum())]
    assert sizes("a", "--where", "cflexSpace1 > 20", "--where", "cflexSpace1 < -20") == wanted
    assert sum(sizes("b", "--column", "_cflexGroup")) == N
    assert len(sizes("c", "--clusters", "gmm", "--n-groups", 4)) == 4
    (tmp_path / "outline.csv").write_text("0,-1000\n1000,-1000\n1000,1000\n0,1000\n")
    assert sizes("d", "--outline", tmp_path / "outline.csv", "--axes", "1,2") == [int((first > 0).sum())]
    assert len(sizes("e", "--minimum-path", "--n-groups", 3)) == 3
    (tmp_path / "path.csv").write_text("-200,0\n200,0\n")
    assert sizes("f", "--path", tmp_path / "path.csv", "--n-groups", 3) == [50, 50, 50]
    assert cflex("rerun", tmp_path / "a/run.json", "-o", tmp_path / "a2").code == 0
    assert (tmp_path / "a2/groups.csv").read_bytes() == (tmp_path / "a/groups.csv").read_bytes()
    assert cflex("rerun", tmp_path / "d/run.json", "-o", tmp_path / "d2").code == 0


def test_unconverged_particles_are_in_no_group(cflex, made, tmp_path):
    table = read_particles(made.truth)
    converged = np.ones(N)
    converged[:10] = 0
    write_star(made.truth.parent / "some.star", table.with_results(converged=converged))
    options = ["--modes", made.modes, "-o", tmp_path / "space"]
    assert cflex("space", made.truth.parent / "some.star", *options).code == 0
    ended = cflex("group", tmp_path / "space", "-o", tmp_path / "g", "--where", "cflexSpace1 > -1e9")
    assert "10 particles that did not converge" in ended.err
    assert rows_of(tmp_path / "g/groups.csv")[0]["particles"] == str(N - 10)
    ended = cflex("group", tmp_path / "space", "-o", tmp_path / "h", "--where", "1 < 2", "--keep-unconverged")
    assert rows_of(tmp_path / "h/groups.csv")[0]["particles"] == str(N)


def test_a_killed_run_continues_to_the_same_bytes(cflex, made, tmp_path, monkeypatch):
    options = ["--axis", 1, "--n-groups", 3, "--reconstruct"]
    assert cflex("group", made.space, "-o", tmp_path / "whole", *options).code == 0
    one_map, calls = command._one_map, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        one_map(*arguments)

    monkeypatch.setattr(command, "_one_map", stop)
    assert cflex("group", made.space, "-o", tmp_path / "cut", *options).code == 130
    made_first = (tmp_path / "cut/group_01.mrc").stat().st_mtime_ns
    assert cflex("group", made.space, "-o", tmp_path / "cut", *options, "--resume").code == 0
    assert len(calls) == 4
    assert (tmp_path / "cut/group_01.mrc").stat().st_mtime_ns == made_first
    for name in ("groups.csv", "group_01.mrc", "group_03.mrc", "group_03.star"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    figures = json.loads((tmp_path / "cut/run.json").read_text())["results"]["groups"]
    assert len(figures) == 3


def test_bad_input_is_refused_in_one_line(refused, made, tmp_path):
    out = ["-o", tmp_path / "g"]
    assert "exclude each other" in refused("group", made.space, *out, "--axis", 1, "--clusters", "gmm")
    assert "--n-groups has no meaning" in refused("group", made.space, *out, "--where", "1 < 2", "--n-groups", 3)
    assert "expected 1 to 2" in refused("group", made.space, *out, "--axis", 3)
    assert "there is no nothing; there are" in refused("group", made.space, *out, "--where", "nothing > 1")
    assert "has no column _nothing" in refused("group", made.space, *out, "--column", "nothing")
    assert "whole numbers" in refused("group", made.space, *out, "--column", "cflexSpace1")
    assert "no particle is in any group" in refused("group", made.space, *out, "--where", "cflexSpace1 > 1e9")
    assert "two different axes" in refused("group", made.space, *out, "--outline", tmp_path / "x.csv", "--axes", "1,1")
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    assert "at least 3" in refused("group", made.space, *out, "--outline", tmp_path / "x.csv")
    assert "no such directory" in refused("group", tmp_path / "none", *out, "--axis", 1)
    assert "expected at least 500" in refused("group", made.space, *out, "--axis", 1, "--n-groups", 500)
