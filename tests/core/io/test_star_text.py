"""STAR text: exact, strict, and equal to what starfile reads."""

from pathlib import Path

import numpy as np
import pytest
import starfile
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.star import decimals, quoted, read_star, shortest, star_bytes
from continuousflex_dl.core.io.text_table import TextTable, unquoted

CHARACTER = st.characters(
    min_codepoint=32, max_codepoint=0x24F, exclude_categories=("Cc", "Cf"), exclude_characters="\xa0"
)
WORD = st.text(CHARACTER).filter(lambda text: "'" not in text or '"' not in text)
LABEL = st.from_regex(r"[a-z][A-Za-z0-9]{0,8}", fullmatch=True)


def parse(tmp_path: Path, text: str | bytes) -> dict[str, TextTable]:
    path = tmp_path / "x.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_star(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_written_text_reads_back_exactly(data, tmp_path_factory):
    labels = data.draw(st.lists(LABEL, min_size=1, max_size=4, unique=True))
    n = data.draw(st.integers(1, 5))
    words = {label: data.draw(st.lists(WORD, min_size=n, max_size=n)) for label in labels}
    columns = {label: np.array([quoted(word) for word in words[label]]) for label in labels}
    path = tmp_path_factory.mktemp("star") / "x.star"
    path.write_bytes(star_bytes([TextTable(path, "particles", columns)]))
    back = read_star(path)["particles"]
    assert back.labels == labels
    assert all(back.columns[label].tolist() == columns[label].tolist() for label in labels)
    assert {label: back.text(label) for label in labels} == words


@given(
    st.text(st.characters(exclude_characters="\0\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=("Cs",)))
)
def test_quoting_is_undone(text):
    if "'" not in text or '"' not in text:
        assert unquoted(quoted(text)) == text.encode()


def test_leading_zeros_and_trailing_decimals_stay(tmp_path):
    table = parse(tmp_path, "data_\nloop_\n_a #1\n_b\n0001 1.50000\n0002 -0.0\n")[""]
    assert table.text("a") == ["0001", "0002"]
    assert b"0001 1.50000\n0002 -0.0\n" in star_bytes([table])


def test_dialects(tmp_path):
    text = (
        "\ufeff# a comment\r\n\r\ndata_general\r\n_one 1 # said once\r\n_two 'a b'\r\n\r\ndata_particles\r\nloop_ \r\n"
        "_x #1 \r\n_y\r\n"
        "  data_1.mrc  'it''s' \r\n\r\n# between\r\n  \"two words\"\t2\r\n\r\ndata_empty\r\nloop_\r\n_z\r\n"
    )
    blocks = parse(tmp_path, text)
    assert list(blocks) == ["general", "particles", "empty"]
    assert blocks["general"].text("two") == ["a b"]
    assert blocks["particles"].text("x") == ["data_1.mrc", "two words"]
    assert len(blocks["empty"]) == 0


def test_starfile_reads_what_we_write(tmp_path):
    table = TextTable(tmp_path, "particles", {"a": np.array([b"0001", b"2"]), "b": np.array([b"x@y", b"'p q'"])})
    path = tmp_path / "x.star"
    path.write_bytes(star_bytes([table]))
    frame = starfile.read(path, parse_as_string=["a", "b"])
    assert list(frame["a"]) == ["0001", "2"]
    assert list(frame["b"]) == ["x@y", "p q"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no data_ block"),
        ("hello\n", "line 1: found 'hello'"),
        (b"data_\n\0\0", "binary data"),
        ("data_a\nloop_\n1 2\n", "line 3: found no labels after loop_"),
        ("data_a\n_x #1\n_y #2\n1 2\n", "'loop_' line may be missing"),
        ("data_a\nloop_\n_x\n_y\n1 2\n3\n", "line 6: found 1 values, expected 2"),
        ("data_a\nloop_\n_x\n_y\n1 2 3\n", "line 5: found 3 values, expected 2"),
        ("data_a\nloop_\n_x\n_x\n1 2\n", "label _x twice"),
        ("data_a\n_x 1\ndata_a\n_x 1\n", "second block data_a"),
    ],
)
def test_broken_text_names_the_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        parse(tmp_path, text)
    assert str(tmp_path / "x.star") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_star(tmp_path / "absent.star")


def test_numbers_name_row_and_label(tmp_path):
    table = parse(tmp_path, "data_a\nloop_\n_x\n_y\n1 nan\nabc 2\n")["a"]
    with pytest.raises(InputError, match=r"data_a row 2, _x: found 'abc', expected a number"):
        table.numbers("x")
    with pytest.raises(NonFiniteError, match="row 1, _y: found 'nan'"):
        table.numbers("y")
    assert np.isnan(table.numbers("y", allow_nan=True)[0])
    with pytest.raises(InputError, match="has no column _z; found _x, _y"):
        table.numbers("z")
    with pytest.raises(InputError, match="expected a whole number"):
        parse(tmp_path, "data_a\nloop_\n_x\n1.5\n")["a"].integers("x")


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_decimals_are_those_of_relion(values):
    text = decimals(values)
    assert not any(value.startswith(b"-0.000000") for value in text.tolist())
    np.testing.assert_allclose(text.astype(float), values, atol=1e-6, rtol=1e-12)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_shortest_keeps_every_bit(values):
    assert shortest(np.array(values)).astype(float).tolist() == values
    with np.errstate(over="ignore"):
        single = np.array(values).astype(np.float32)
    finite = single[np.isfinite(single)]
    if len(finite):
        assert shortest(finite).astype(np.float32).tolist() == finite.tolist()
