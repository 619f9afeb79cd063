"""Mode numbers as they are typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuousflex_dl.options import OptionError
from continuousflex_dl.options.base import parse_mode_list
from continuousflex_dl.options.hemnma import HemnmaOptions

NUMBERS = st.lists(st.integers(7, 200), min_size=1, max_size=12, unique=True)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("7", (7,)),
        ("7,8,9", (7, 8, 9)),
        ("7-9", (7, 8, 9)),
        ("7,8,10-12", (7, 8, 10, 11, 12)),
        ("7 8 9", (7, 8, 9)),
        (" 9, 7 ", (9, 7)),
        ("12-12", (12,)),
    ],
)
def test_spellings(text, numbers):
    assert parse_mode_list(text) == numbers


@given(NUMBERS)
def test_order_is_kept(numbers):
    assert parse_mode_list(",".join(map(str, numbers))) == tuple(numbers)
    assert parse_mode_list(numbers) == tuple(numbers)


@given(st.integers(7, 100), st.integers(0, 30))
def test_range_is_the_list_of_its_numbers(first, more):
    assert parse_mode_list(f"{first}-{first + more}") == tuple(range(first, first + more + 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected mode numbers"),
        (",", "expected mode numbers"),
        ("7;8", "expected mode numbers"),
        ("7-", "expected mode numbers"),
        ("-7", "expected mode numbers"),
        ("7.5", "expected mode numbers"),
        ("9-7", "runs backwards; write 7-9"),
        ("7,8,7", "twice"),
        ("7-9,8", "twice"),
        ("6", "rigid-body"),
        ("1-20", "rigid-body"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_mode_list(text)


@given(NUMBERS)
def test_a_record_reads_back(numbers):
    """run.json holds the list as text, which is what the command line takes."""
    options = HemnmaOptions(particles="p", modes="m", use=tuple(numbers), output="o")
    dumped = options.model_dump(mode="json")
    assert dumped["use"] == ",".join(map(str, numbers))
    assert HemnmaOptions.parse(dumped) == options


def test_the_message_names_the_flag():
    with pytest.raises(OptionError, match=r"^--use: "):
        HemnmaOptions.parse({"particles": "p", "modes": "m", "use": "7,x", "output": "o"})
