"""Tables longer than what is held as text at once: the same bytes, the same messages, little memory."""

import itertools
import tracemalloc

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star, write_star_parts
from continuousflex_dl.core.io.star import read_star, star_bytes
from continuousflex_dl.core.io.text_table import ROWS_PER_PIECE, Columns, PackedColumn, TextTable

N = 6 * ROWS_PER_PIECE + 77


def some_text(n=N):
    rng = np.random.default_rng(0)
    values = [b"%06d@stack_%d.mrcs" % (i % 90 + 1, i // 90) for i in range(n)]
    values[n // 2] = b'"a name with a space"'
    return {
        "rlnImageName": np.array(values),
        "rlnNumber": np.char.mod("%12.6f", rng.uniform(0, 2e4, n)).astype(np.bytes_),
        "rlnPadded": np.array([b"%04d" % (i % 7) for i in range(n)]),
    }


@pytest.fixture(scope="module")
def long_star(tmp_path_factory):
    """A particle file of N rows with columns that nobody knows."""
    path = tmp_path_factory.mktemp("long") / "particles.star"
    optics = TextTable(path, "optics", {"rlnOpticsGroup": np.array([b"1"]), "rlnImagePixelSize": np.array([b"1.50"])})
    columns = {**some_text(), "rlnOpticsGroup": np.full(N, b"1")}
    columns["rlnNumber"] = np.char.strip(columns["rlnNumber"])
    path.write_bytes(star_bytes([optics, TextTable(path, "particles", columns)]))
    return path


@pytest.mark.parametrize("n", [0, 1, ROWS_PER_PIECE, ROWS_PER_PIECE + 1, N])
def test_a_packed_column_gives_back_every_row(n):
    text = np.array([b"value_%d" % (i * i) for i in range(n)], dtype="S20")
    packed = PackedColumn(text[i : i + ROWS_PER_PIECE] for i in range(0, n, ROWS_PER_PIECE))
    assert len(packed) == n
    for first, last in ((0, n), (0, min(n, 3)), (n // 2, n), (n // 3, n // 2), (max(0, n - 1), n)):
        assert packed.rows(first, last).tolist() == text[first:last].tolist()


def test_a_packed_column_takes_a_fraction_of_the_text():
    for values in some_text().values():
        packed = PackedColumn(values[i : i + ROWS_PER_PIECE] for i in range(0, N, ROWS_PER_PIECE))
        assert packed.packed_bytes < 0.6 * values.nbytes


def test_pieces_of_another_length_are_refused():
    packed = PackedColumn([np.array([b"1", b"2"])])
    with pytest.raises(ValueError, match="all but the last"):
        packed.append(np.array([b"3"]))


def test_changed_columns_leave_the_others_packed():
    text = np.full(5, b"x")
    columns = Columns({"a": PackedColumn([text]), "b": text})
    merged = columns.merged({"b": np.full(5, b"y"), "c": text}).without({"a"})
    assert {label: column.tolist() for label, column in merged.items()} == {"b": [b"y"] * 5, "c": [b"x"] * 5}
    assert list(columns) == ["a", "b"]


def test_a_long_file_is_written_as_it_was_read(long_star, tmp_path):
    table = read_particles(long_star, check_images=False)
    assert len(table) == N
    (tmp_path / "copy.star").write_bytes(star_bytes(list(read_star(long_star).values())))
    assert (tmp_path / "copy.star").read_bytes() == long_star.read_bytes()
    write_star(long_star.parent / "again.star", table)
    assert (long_star.parent / "again.star").read_bytes() == long_star.read_bytes()


def test_parts_of_any_length_are_written_like_the_whole(long_star):
    table = read_particles(long_star, check_images=False)
    score = np.linspace(0, 1, N)
    write_star(long_star.parent / "whole.star", table.with_results(score=score))
    edges = [0, 1, 1000, ROWS_PER_PIECE + 5, N]
    parts = (table.rows(first, last).with_results(score=score[first:last]) for first, last in itertools.pairwise(edges))
    write_star_parts(long_star.parent / "parts.star", parts)
    assert (long_star.parent / "parts.star").read_bytes() == (long_star.parent / "whole.star").read_bytes()


def test_parts_with_different_columns_are_refused(long_star):
    table = read_particles(long_star, check_images=False)
    parts = [table.rows(0, 5), table.rows(5, 9).with_results(score=np.ones(4))]
    with pytest.raises(ValueError, match="part 2 has columns"):
        write_star_parts(long_star.parent / "bad.star", parts)
    assert not (long_star.parent / "bad.star").exists()


def test_messages_name_the_row_of_the_file(long_star, tmp_path):
    row = ROWS_PER_PIECE + 9
    lines = long_star.read_bytes().split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(b"000001@")) + row
    bad = tmp_path / "bad.star"
    lines[at] = lines[at].replace(b" ", b" x", 1)
    bad.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=rf"row {row + 1}, _rlnNumber: found 'x"):
        read_star(bad)["particles"].numbers("rlnNumber")
    lines[at] += b" more"
    bad.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=rf"line {at + 1}: found 5 values, expected 4"):
        read_star(bad)
    table = read_particles(long_star, check_images=False)
    assert table.rows(row, N).particles.where(2, "rlnNumber") == table.particles.where(row + 2, "rlnNumber")
    with pytest.raises(NonFiniteError, match=rf"row {row + 2} \(000\d+@stack_\d+.mrcs\)"):
        table.rows(row, row + 3).with_poses(np.array([[0, 0, 0], [0, np.inf, 0], [0, 0, 0]]), np.zeros((3, 2)))


def test_a_long_table_takes_less_memory_than_its_file(long_star):
    tracemalloc.start()
    try:
        table = read_particles(long_star, check_images=False)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        write_star(long_star.parent / "again.star", table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(table, ParticleTable)
    per_row = held / N
    assert per_row < 0.9 * long_star.stat().st_size / N, f"{per_row:.0f} bytes a row are held"
    assert peak - held < 16e6, "the writer holds more than a piece of the table"
