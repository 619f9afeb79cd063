"""What is written for other programs is what they read: by our own readers, and by Xmipp's library."""

import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.export.cryosparc import write_cryosparc
from continuousflex_dl.core.export.relion import write_relion
from continuousflex_dl.core.export.xmipp import write_xmipp
from continuousflex_dl.core.imaging.rotations import angle_between, rotation_from_euler
from continuousflex_dl.core.io.particle_table import CtfParameters, ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star


@pytest.fixture
def table(tmp_path):
    """Seven particles with everything that a result has, below a project folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "project" / "job" / "extract"
    folder.mkdir(parents=True)
    with mrcfile.new(folder / "p.mrcs") as file:
        file.set_data(rng.normal(size=(7, 8, 8)).astype(np.float32))
        file.voxel_size = 1.7
    full = lambda value: np.full(7, float(value))  # noqa: E731
    ctf = CtfParameters(full(300), full(2.7), full(0.1), rng.uniform(5e3, 2e4, 7), full(9000), full(30), full(0))
    made = ParticleTable.create([f"{i + 1}@p.mrcs" for i in range(7)], 1.7, folder=folder, box=8, ctf=ctf)
    euler = np.column_stack([rng.uniform(-180, 180, 7), rng.uniform(0, 180, 7), rng.uniform(-180, 180, 7)])
    made = made.with_poses(euler, rng.normal(size=(7, 2)) * 3).with_amplitudes({7: rng.normal(size=7), 9: full(3)})
    made = made.with_results(score=rng.uniform(size=7))
    write_star(folder / "particles.star", made)
    return read_particles(folder / "particles.star")


def same_poses(a, b):
    turn = angle_between(rotation_from_euler(a.euler_deg), rotation_from_euler(b.euler_deg))
    assert float(turn.max()) < 1e-5
    np.testing.assert_allclose(a.shift_angst, b.shift_angst, atol=1e-5)


def test_relion_finds_the_images_from_its_project(table, tmp_path, monkeypatch):
    project, out = tmp_path / "project", tmp_path / "elsewhere"
    out.mkdir()
    left_out = write_relion(out / "r.star", table, str(project))
    assert set(left_out) == {"cflexModeAmplitude7", "cflexModeAmplitude9", "cflexScore", "cflexPhaseFlipped"}
    assert "cflex" not in (out / "r.star").read_text()
    monkeypatch.chdir(project)
    read = read_particles(out / "r.star")
    assert read.image_name[2] == "000003@job/extract/p.mrcs"
    same_poses(read, table)
    np.testing.assert_allclose(read.ctf.defocus_u_angst, table.ctf.defocus_u_angst)
    write_relion(out / "absolute.star", table)
    assert read_particles(out / "absolute.star").stack_path == table.stack_path


def test_xmipp_metadata_come_back(table, tmp_path):
    write_xmipp(tmp_path / "x.xmd", table)
    read = read_particles(tmp_path / "x.xmd", modes=[7, 9])
    same_poses(read, table)
    assert read.pixel_size == pytest.approx(table.pixel_size)
    np.testing.assert_allclose(read.amplitudes[7], table.amplitudes[7], atol=1e-6)
    np.testing.assert_allclose(read.ctf.defocus_u_angst, table.ctf.defocus_u_angst, atol=1e-5)
    assert read.stack_path == table.stack_path


def test_xmipp_itself_reads_the_metadata(table, tmp_path):
    """In a process of its own: the library may crash."""
    pytest.importorskip("xmippLib")
    write_xmipp(tmp_path / "x.xmd", table, str(tmp_path / "project"))
    code = (
        "import sys, xmippLib as x; md = x.MetaData(sys.argv[1])\n"
        "for i in md:\n"
        "    print(md.getValue(x.MDL_IMAGE, i), md.getValue(x.MDL_ANGLE_ROT, i), md.getValue(x.MDL_SHIFT_X, i),\n"
        "          md.getValue(x.MDL_CTF_DEFOCUSU, i), *md.getValue(x.MDL_NMA, i))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.xmd")], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines() if "@" in line]
    assert [row[0] for row in rows] == [f"{i + 1:06d}@job/extract/p.mrcs" for i in range(7)]
    numbers = np.array([[float(word) for word in row[1:]] for row in rows])
    expected = [
        table.euler_deg[:, 0], table.shift_angst[:, 0] / 1.7, table.ctf.defocus_u_angst, table.amplitudes[7],
        table.amplitudes[9],
    ]  # fmt: skip
    np.testing.assert_allclose(numbers, np.stack(expected, axis=1), atol=1e-4)


def test_paths_with_blanks_are_refused_for_xmipp(table, tmp_path):
    spaced = table.with_images([f"{i + 1}@/a b/p.mrcs" for i in range(7)])
    with pytest.raises(InputError, match="no path with blanks"):
        write_xmipp(tmp_path / "x.xmd", spaced)


def test_a_cryosparc_subset_has_the_rows_and_the_poses(shared_data, tmp_path):
    original = shared_data / "particles/cryodrgn/cryosparc_P12_J24_001_particles.cs"
    whole = read_particles(original, check_images=False)
    rows = np.array([5, 2, 1000, 77])
    write_cryosparc(tmp_path / "same.cs", whole.take(rows), original, poses=False)
    source, subset = np.load(original), np.load(tmp_path / "same.cs")
    assert subset.dtype == source.dtype
    np.testing.assert_array_equal(subset, source[rows])
    turned = whole.take(rows).with_poses(whole.euler_deg[rows] + [10, 0, 5], whole.shift_angst[rows] + 1)
    assert write_cryosparc(tmp_path / "turned.cs", turned, original)
    same_poses(read_particles(tmp_path / "turned.cs", check_images=False), turned)
    untouched = [name for name in source.dtype.names if name not in ("alignments3D/pose", "alignments3D/shift")]
    after = np.load(tmp_path / "turned.cs")
    for name in untouched:
        np.testing.assert_array_equal(after[name], source[name][rows], name)


def test_what_cannot_become_a_cs_file_is_said(shared_data, table, tmp_path):
    original = shared_data / "particles/cryodrgn/cryosparc_P12_J24_001_particles.cs"
    with pytest.raises(InputError, match="_cflexCryosparcUid"):
        write_cryosparc(tmp_path / "x.cs", table, original)
    whole = read_particles(original, check_images=False)
    np.save(tmp_path / "few.npy", np.load(original)[:10])
    (tmp_path / "few.npy").rename(tmp_path / "few.cs")
    with pytest.raises(InputError, match="has no particle with uid"):
        write_cryosparc(tmp_path / "x.cs", whole.take([50]), tmp_path / "few.cs")
    with pytest.raises(InputError, match="cannot be read"):
        write_cryosparc(tmp_path / "x.cs", whole, tmp_path / "none.cs")
    assert not (tmp_path / "x.cs").exists()


def test_the_command_picks_the_format_by_the_ending(table, tmp_path, capsys):
    source = str(table.source)
    for name in ("a.star", "a.xmd"):
        assert main(["export", source, "-o", str(tmp_path / name), "--where", "cflexScore > 0.3"]) == 0
        expected = int((table.score > 0.3).sum())
        assert len(read_particles(tmp_path / name, modes=[7, 9])) == expected
    assert (tmp_path / "a.json").exists()
    for arguments, message in (
        (["-o", str(tmp_path / "a.csv")], "expected .star"),
        (["-o", str(tmp_path / "b.cs")], "give it with --original"),
        (["-o", str(tmp_path / "b.star"), "--where", "cflexScore > 2"], "no particle meets"),
        (["-o", str(tmp_path / "b.star"), "--project", str(tmp_path / "none")], "no such folder"),
    ):
        assert main(["export", source, *arguments]) == 2
        assert message in capsys.readouterr().err
