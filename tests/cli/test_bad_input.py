"""Bad input ends with exit code 2 and one line that says what is wrong; nothing half-written is left."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

FAST = ["--angular-step", "30", "--hypotheses", "8", "--batch-size", "4"]


def assert_nothing_written(output: Path):
    """No result and no temporary file; a folder of finished blocks may stay for --resume."""
    found = [path for path in output.rglob("*") if path.is_file()] if output.exists() else []
    kept = [path for path in found if path.name != ".cflex" and path.parent.name != "blocks"]
    assert not kept
    assert not [path for path in found if path.name.startswith(".") and path.name != ".cflex"], "temporary files"


@pytest.fixture
def copied(tiny, tmp_path):
    """Particle file and stack of one test, to be spoilt."""
    folder = tmp_path / "input"
    shutil.copytree(tiny.particles.parent, folder)
    return folder


@pytest.fixture
def hemnma(tiny, refused, tmp_path):
    """Run HEMNMA where it must be refused; gives the error line."""

    def run(particles, *arguments, use="7,8", modes=None):
        output = tmp_path / "out"
        line = refused(
            "hemnma", particles, "--modes", modes or tiny.modes, "--use", use, "-o", output, *FAST, *arguments
        )
        assert_nothing_written(output)
        return line

    return run


def edit_star(path, change):
    blocks = starfile.read(path, always_dict=True)
    change(blocks)
    starfile.write(blocks, path, overwrite=True)


# ---------------------------------------------------------------- images


def test_missing_stack(copied, hemnma):
    (copied / "particles.mrcs").unlink()
    line = hemnma(copied / "particles.star")
    assert "particles.mrcs" in line
    assert "particles.star" in line


def test_missing_particle_file(hemnma, tmp_path):
    assert "no such file" in hemnma(tmp_path / "absent.star")


def test_stack_shorter_than_the_star_says(copied, hemnma):
    with mrcfile.open(copied / "particles.mrcs") as stack:
        images = stack.data[:20].copy()
    with mrcfile.new(copied / "particles.mrcs", overwrite=True) as stack:
        stack.set_data(images)
        stack.set_image_stack()
        stack.voxel_size = 2.5
    line = hemnma(copied / "particles.star")
    assert "particles.mrcs" in line
    assert "20" in line


def test_truncated_stack(copied, hemnma):
    stack = copied / "particles.mrcs"
    os.truncate(stack, stack.stat().st_size - 5000)
    assert "particles.mrcs" in hemnma(copied / "particles.star")


def test_stack_that_is_no_stack(copied, hemnma):
    (copied / "particles.mrcs").write_text("this is a note, not a stack\n" * 100)
    assert "particles.mrcs" in hemnma(copied / "particles.star")


@pytest.mark.parametrize("row", [0, 13])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixel_that_is_not_finite(copied, hemnma, row, value):
    with mrcfile.open(copied / "particles.mrcs", mode="r+") as stack:
        stack.data[row, 3, 5] = value
    line = hemnma(copied / "particles.star")
    assert "particles.mrcs" in line
    assert str(row + 1) in line


# ---------------------------------------------------------------- particle file


def test_no_ctf_where_one_is_needed(tiny, cflex, hemnma, tmp_path):
    made = tmp_path / "no_ctf"
    images = ["--n-particles", "4", "--box", "48", "--pixel-size", "2.5", "--use", "7", "--law", "line"]
    assert cflex("simulate", tiny.modes, "-o", made, "--no-ctf", *images).code == 0
    for choice in ("model", "flipped"):
        line = hemnma(made / "particles.star", "--ctf", choice)
        assert "particles.star" in line
        assert "CTF" in line
    assert (
        cflex("hemnma", made / "particles.star", "--modes", tiny.modes, "--use", "7", "-o", tmp_path / "ok", *FAST).code
        == 0
    )


def drop_pixel_size(blocks):
    blocks["optics"] = blocks["optics"].drop(columns="rlnImagePixelSize")


def zero_header(stack):
    with mrcfile.open(stack, mode="r+") as file:
        file.voxel_size = 0


def test_no_pixel_size_anywhere(copied, hemnma):
    edit_star(copied / "particles.star", drop_pixel_size)
    zero_header(copied / "particles.mrcs")
    line = hemnma(copied / "particles.star")
    assert "pixel size" in line
    assert "--pixel-size" in line


@pytest.mark.parametrize("where", ["star", "option"])
def test_zero_in_the_header_alone_is_no_error(tiny, copied, cflex, tmp_path, where):
    zero_header(copied / "particles.mrcs")
    arguments = []
    if where == "option":
        edit_star(copied / "particles.star", drop_pixel_size)
        arguments = ["--pixel-size", "2.5"]
    ended = cflex(
        "hemnma",
        copied / "particles.star",
        "--modes",
        tiny.modes,
        "--use",
        "7,8",
        "-o",
        tmp_path / "out",
        *FAST,
        *arguments,
    )
    assert ended.code == 0, ended.err


def test_empty_particle_set(copied, hemnma):
    edit_star(copied / "particles.star", lambda blocks: blocks.update(particles=blocks["particles"].iloc[:0]))
    assert "no particles" in hemnma(copied / "particles.star").lower()


def test_particle_file_without_images(copied, hemnma):
    def drop(blocks):
        blocks["particles"] = blocks["particles"].drop(columns="rlnImageName")

    edit_star(copied / "particles.star", drop)
    assert "rlnImageName" in hemnma(copied / "particles.star")


def test_initial_poses_that_are_not_there(tiny, hemnma):
    line = hemnma(tiny.particles, "--initial-poses")
    assert "rlnAngleRot" in line or "poses" in line


def test_defocus_that_is_no_number(copied, hemnma):
    def spoil(blocks):
        blocks["particles"]["rlnDefocusU"] = blocks["particles"]["rlnDefocusU"].astype(object)
        blocks["particles"].loc[7, "rlnDefocusU"] = "high"

    edit_star(copied / "particles.star", spoil)
    line = hemnma(copied / "particles.star")
    assert "rlnDefocusU" in line
    assert "high" in line


# ---------------------------------------------------------------- modes and structures


def test_modes_of_another_structure(tiny, hemnma, tmp_path):
    other = tmp_path / "other.pdb"
    lines = tiny.structure.read_text().splitlines()
    other.write_text("\n".join([*lines[:100], "END", ""]))
    line = hemnma(tiny.particles, "--structure", other)
    assert "other.pdb" in line


def test_modes_of_the_same_number_of_atoms_elsewhere(tiny, hemnma, tmp_path):
    """The count agrees, the coordinates do not."""
    other = tmp_path / "other.pdb"
    lines = [line for line in tiny.structure.read_text().splitlines() if line[12:16].strip() == "CA"]
    moved = [f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}" for line in lines]
    other.write_text("\n".join([*moved, "END", ""]))
    assert "other.pdb" in hemnma(tiny.particles, "--structure", other)


def test_mode_that_is_not_there(tiny, hemnma):
    line = hemnma(tiny.particles, use="7,55")
    assert "mode 55" in line
    assert "7-10" in line


@pytest.mark.parametrize("text", ["6", "3-8", "seven", "9-7", "7,7", ""])
def test_mode_list_that_makes_no_sense(tiny, hemnma, text):
    assert "--use" in hemnma(tiny.particles, use=text)


def test_modes_file_that_is_none(tiny, hemnma, tmp_path):
    broken = tmp_path / "modes.npz"
    broken.write_bytes(b"PK\x03\x04 but not really a zip archive")
    assert "modes.npz" in hemnma(tiny.particles, modes=broken)
    assert "no such file" in hemnma(tiny.particles, modes=tmp_path / "absent.npz")


def test_modes_that_are_not_finite(tiny, hemnma, tmp_path):
    with np.load(tiny.modes) as archive:
        arrays = dict(archive)
    arrays["vectors"][0, 3, 1] = np.nan
    np.savez(tmp_path / "modes.npz", **arrays)
    assert "modes.npz" in hemnma(tiny.particles, modes=tmp_path / "modes.npz")


def test_structure_with_one_atom(tiny, refused, tmp_path):
    lonely = tmp_path / "lonely.pdb"
    lonely.write_text(tiny.structure.read_text().splitlines()[0] + "\nEND\n")
    for arguments in ([], ["--representation", "ca-p"], ["--block-size", "0"]):
        line = refused("nma", lonely, "-o", tmp_path / "out", *arguments)
        assert re.search(r"\b1 (residue|atom|node)", line), line
        assert_nothing_written(tmp_path / "out")


def test_structure_without_atoms(refused, tmp_path):
    (tmp_path / "empty.pdb").write_text("REMARK nothing\nEND\n")
    (tmp_path / "no.cif").write_text("not a structure")
    for name in ("empty.pdb", "no.cif", "absent.pdb"):
        assert name in refused("nma", tmp_path / name, "-o", tmp_path / "out")
        assert_nothing_written(tmp_path / "out")


# ---------------------------------------------------------------- the other commands


def test_trajectory_without_topology(tiny, refused, tmp_path):
    (tmp_path / "path.dcd").write_bytes(b"\0" * 100)
    images = ["--n-particles", "4", "--box", "32", "-o", tmp_path / "out"]
    assert "--topology" in refused("simulate", tiny.modes, "--ensemble", tmp_path / "path.dcd", *images)
    assert "absent.dcd" in refused("simulate", tiny.modes, "--ensemble", tmp_path / "absent.dcd", *images)
    assert_nothing_written(tmp_path / "out")


def test_trajectory_that_is_none(tiny, refused_process, tmp_path):
    """In a process: readers that fail half-open complain again when they are collected."""
    pytest.importorskip("MDAnalysis")
    (tmp_path / "path.dcd").write_bytes(b"\0" * 100)
    ensemble = ["--ensemble", tmp_path / "path.dcd", "--topology", tiny.structure]
    images = ["--n-particles", "4", "--box", "32", "-o", tmp_path / "out"]
    assert "path.dcd" in refused_process("simulate", tiny.modes, *ensemble, *images)
    assert_nothing_written(tmp_path / "out")


def test_ctf_table_that_is_none(tiny, refused, tmp_path):
    np.savez(tmp_path / "table.npz", ctf=np.zeros((5, 4)))
    images = ["--n-particles", "4", "--box", "32", "-o", tmp_path / "out"]
    for name in ("table.npz", "absent.npz"):
        assert name in refused("simulate", tiny.modes, "--ctf-table", tmp_path / name, *images)
    assert_nothing_written(tmp_path / "out")


def test_particles_without_amplitudes_have_no_space(tiny, refused, tmp_path):
    assert "cflexModeAmplitude" in refused("space", tiny.particles, "-o", tmp_path / "out")
    assert_nothing_written(tmp_path / "out")


def test_truth_of_other_particles(tiny, refused, cflex, tmp_path):
    images = ["--n-particles", "4", "--box", "32", "--pixel-size", "3", "--use", "7", "--law", "line"]
    assert cflex("simulate", tiny.modes, "-o", tmp_path / "few", *images).code == 0
    refused("evaluate", tiny.truth, tmp_path / "few" / "truth.star", "-o", tmp_path / "out")
    assert_nothing_written(tmp_path / "out")


# ---------------------------------------------------------------- where the output cannot be written


def commands(tiny, output):
    """One command line per command that writes much, into `output`."""
    images = ["--n-particles", "200", "--box", "48", "--pixel-size", "2.5", "--use", "7", "--law", "line"]
    return {
        "simulate": ["simulate", tiny.modes, "-o", output, *images],
        "hemnma": ["hemnma", tiny.particles, "--modes", tiny.modes, "--use", "7,8", "-o", output, *FAST],
        "nma": ["nma", tiny.structure, "-o", output, "--block-size", "0"],
        "space": ["space", tiny.truth, "--modes", tiny.modes, "-o", output],
    }


@pytest.mark.parametrize(("command", "limit_kb"), [("simulate", 100), ("hemnma", 2), ("nma", 4), ("space", 4)])
def test_file_size_limit(tiny, refused_process, tmp_path, command, limit_kb):
    """A disk that is full when a file has grown to some size: the shell's limit acts in the same way."""
    output = tmp_path / "out"
    line = refused_process(*commands(tiny, output)[command], shell=f'ulimit -f {2 * limit_kb}; exec "$@"')
    assert "ulimit" in line or "too large" in line.lower()
    for path in output.rglob("*") if output.exists() else ():
        assert not path.name.startswith(".") or path.name == ".cflex", f"temporary file {path}"
    assert not (output / "run.json").exists()


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system, where this user may."""
    points = []

    def mount(options):
        point = tmp_path / f"mount{len(points)}"
        point.mkdir()
        if shutil.which("mount") is None:
            pytest.skip("no mount command")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this user may not mount")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", point], check=False)


def test_full_disk(tiny, refused_process, mounted):
    output = mounted("size=300k") / "out"
    line = refused_process(*commands(tiny, output)["simulate"])
    assert "space" in line.lower()
    assert_nothing_written(output)


def test_read_only_output(tiny, refused, mounted):
    point = mounted("size=300k,ro")
    for arguments in commands(tiny, point / "out").values():
        assert "read-only" in refused(*arguments).lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_without_permission(tiny, refused, tmp_path):
    tmp_path.chmod(0o555)
    for arguments in commands(tiny, tmp_path / "out").values():
        assert "ermission" in refused(*arguments)
    tmp_path.chmod(0o755)


def test_output_below_a_file(tiny, refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    for arguments in commands(tiny, tmp_path / "file").values():
        refused(*arguments)
    for arguments in commands(tiny, tmp_path / "file" / "out").values():
        refused(*arguments)
    assert (tmp_path / "file").read_text() == "mine"
