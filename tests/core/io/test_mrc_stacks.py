"""MRC headers, traps in them, and the stack writer against mrcfile."""

import io

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.mrc import read_header, write_stack
from continuousflex_dl.core.io.open_files import OpenFile


def sections(path, indices=None):
    header = read_header(path)
    return header.read(range(header.sections) if indices is None else indices, OpenFile(path))


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 5), box=st.integers(1, 9), cut=st.integers(1, 4), pixel=st.floats(0.1, 20))
def test_written_stack_is_valid_mrc_and_independent_of_blocks(n, box, cut, pixel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mrc")
    images = np.random.default_rng(n).normal(size=(n, box, box)).astype(np.float32)
    for name, step in (("a.mrcs", n), ("b.mrcs", cut)):
        with write_stack(folder / name, n, box, pixel) as writer:
            for start in range(0, n, step):
                writer.append(images[start : start + step])
    assert (folder / "a.mrcs").read_bytes() == (folder / "b.mrcs").read_bytes()
    report = io.StringIO()
    assert mrcfile.validate(folder / "a.mrcs", print_file=report), report.getvalue()
    with mrcfile.open(folder / "a.mrcs") as mrc:
        assert mrc.is_image_stack() or n == 1  # mrcfile calls one section a single image
        np.testing.assert_array_equal(mrc.data.reshape(images.shape), images)
        assert float(mrc.voxel_size.x) == pytest.approx(pixel, rel=1e-5)
    header = read_header(folder / "a.mrcs")
    assert (header.nx, header.sections, header.stored) == (box, n, n)
    assert header.pixel_size == pytest.approx(pixel, rel=1e-5)
    np.testing.assert_array_equal(sections(folder / "a.mrcs"), images)


def test_unfinished_stack_leaves_nothing(tmp_path):
    with (
        pytest.raises(ValueError, match="1 images were written, 2 were announced"),
        write_stack(tmp_path / "a.mrcs", 2, 4, 1.0) as writer,
    ):
        writer.append(np.zeros((4, 4)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="do not fit"), write_stack(tmp_path / "a.mrcs", 2, 4, 1.0) as writer:
        writer.append(np.zeros((1, 4, 5)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_types_and_byte_orders(tmp_path, kind, order):
    images = np.arange(2 * 3 * 3).reshape(2, 3, 3).astype(np.dtype(kind).newbyteorder(order))
    mrcfile.write(tmp_path / "a.mrcs", images)
    np.testing.assert_array_equal(sections(tmp_path / "a.mrcs"), images)


def test_extended_header_is_skipped(tmp_path):
    images = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
        mrc.set_extended_header(np.zeros(80, dtype="S1"))
    np.testing.assert_array_equal(sections(tmp_path / "a.mrcs"), images)


def test_cut_off_file_counts_whole_sections(tmp_path):
    path = tmp_path / "a.mrcs"
    mrcfile.write(path, np.zeros((3, 4, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-10])
    header = read_header(path)
    assert (header.sections, header.stored) == (3, 2)
    header.require_section(1, "x")
    with pytest.raises(InputError, match="cut off: 2 of 3 images"):
        header.require_section(2, "x")
    with pytest.raises(InputError, match=r"header of .* says 3 images"):
        header.require_section(3, "x")


def test_broken_headers(tmp_path):
    path = tmp_path / "a.mrcs"
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="found 5 bytes"):
        read_header(path)
    path.write_bytes(b"\xff" * 2000)
    with pytest.raises(InputError, match="expected an MRC file"):
        read_header(path)
    mrcfile.write(path, np.zeros((2, 2, 2), np.complex64), overwrite=True)
    with pytest.raises(InputError, match="MRC mode 4"):
        read_header(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_header(tmp_path / "absent.mrcs")


def test_zero_voxel_size_is_no_pixel_size(shared_data):
    assert read_header(shared_data / "particles/cryodrgn/empiar_10076_7.mrc").pixel_size == 0


@given(indices=st.lists(st.integers(0, 9), max_size=12))
def test_sections_come_in_any_order(indices, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "ten.mrcs"
    images = np.arange(10 * 9, dtype=np.int16).reshape(10, 3, 3)
    if not path.exists():
        mrcfile.write(path, images)
    np.testing.assert_array_equal(sections(path, indices), images[indices])


def test_a_stack_that_shrank_is_named(tmp_path):
    mrcfile.write(tmp_path / "a.mrcs", np.zeros((4, 8, 8), np.float32))
    header = read_header(tmp_path / "a.mrcs")
    with open(tmp_path / "a.mrcs", "r+b") as stream:
        stream.truncate(1024 + 3 * 256 - 1)
    assert header.read([0, 1], OpenFile(tmp_path / "a.mrcs")).shape == (2, 8, 8)
    with pytest.raises(InputError, match=r"a.mrcs: ends before image 3; copy it again"):
        header.read([2], OpenFile(tmp_path / "a.mrcs"))
