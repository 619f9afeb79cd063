"""Selections in steps."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.space.recipe import Recipe, Step

RNG = np.random.default_rng(3)
COLUMNS = {"a": RNG.normal(size=500), "b": RNG.normal(size=500), "score": RNG.random(500)}
SQUARE = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
INSIDE = (np.abs(COLUMNS["a"]) < 1) & (np.abs(COLUMNS["b"]) < 1)
GOOD = COLUMNS["score"] > 0.5


def outline(how):
    return Step(how, ("a", "b"), SQUARE)


def good(how):
    return Step(how, where="score > 0.5")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), np.zeros(500, dtype=bool)),
        ((outline("new"),), INSIDE),
        ((outline("add"),), INSIDE),
        ((outline("keep"),), np.zeros(500, dtype=bool)),
        ((outline("new"), good("add")), INSIDE | GOOD),
        ((outline("new"), good("keep")), INSIDE & GOOD),
        ((outline("new"), good("remove")), INSIDE & ~GOOD),
        ((good("new"), outline("new")), INSIDE),
    ],
)
def test_steps_combine(steps, expected):
    np.testing.assert_array_equal(Recipe(steps).mask(COLUMNS, 500), expected)


HOWS = st.sampled_from(["new", "add", "keep", "remove"])
CORNERS = st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=3, max_size=8).map(tuple)
STEPS = st.one_of(
    st.builds(lambda how, corners: Step(how, ("a", "b"), corners), HOWS, CORNERS),
    st.builds(lambda how, value: Step(how, where=f"score > {value}"), HOWS, st.floats(0, 1)),
)


@given(steps=st.lists(STEPS, max_size=4).map(tuple))
def test_a_saved_selection_selects_the_same(steps, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "selection.json"
    Recipe(steps).save(path)
    assert Recipe.load(path) == Recipe(steps)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no steps"),
        ({"steps": "x"}, "no steps"),
        ({"format": 99, "steps": []}, "format 99"),
        ({"steps": [{"where": "a > 1"}]}, "step 1: found no 'how'"),
        ({"steps": [{"how": "new"}]}, "two columns"),
        ({"steps": [{"how": "new", "columns": ["a", "b"], "outline": [[0, 0], [1, 1]]}]}, "3 to"),
        ({"steps": [{"how": "new", "columns": ["a", "b"], "outline": [[0, 0], [1], [2, 2]]}]}, "3 to"),
        ({"steps": [{"how": "new", "columns": ["a", "b"], "outline": [[0, 0], [1, 1], [1e999, 2]]}]}, "not finite"),
    ],
)
def test_damaged_selections_are_refused(content, said, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        Recipe.load(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_column(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Recipe.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="no column b"):
        Recipe((outline("new"),)).mask({"a": COLUMNS["a"]}, 500)
