"""Clusters, slices, outlines and conditions."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.space.groups import find_clusters, slices_along
from continuousflex_dl.core.space.paths import position_along, read_path, resample, write_path
from continuousflex_dl.core.space.select import select_ball, select_polygon, select_where

HEART = 1.3 * np.stack(
    [np.sin(t := np.linspace(0, 2 * np.pi, 80, endpoint=False)) ** 3, np.cos(t) - 0.4 * np.cos(2 * t)], axis=1
)


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    centres, sizes = [(100, 0), (-100, 50), (0, -100)], [300, 200, 100]
    points = [rng.normal(c, 8, size=(n, 2)) for c, n in zip(centres, sizes, strict=True)]
    order = rng.permutation(600)
    return np.concatenate(points)[order], np.repeat([3, 1, 2], sizes)[order]


@pytest.mark.parametrize("method", ["kmeans", "gmm", "hdbscan"])
def test_clusters_are_found_and_numbered_along_the_first_axis(three, method):
    points, truth = three
    labels = find_clusters(points, method)
    inside = labels > 0
    assert inside.mean() > 0.95
    np.testing.assert_array_equal(labels[inside], truth[inside])
    np.testing.assert_array_equal(labels, find_clusters(points, method))


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_the_number_of_clusters_may_be_given(three, method):
    assert set(find_clusters(three[0], method, 2)) == {1, 2}
    with pytest.raises(InputError, match="expected at least 700"):
        find_clusters(three[0], method, 700)


def test_hdbscan_leaves_stray_particles_out_and_takes_no_number(three):
    points = np.concatenate([three[0], [[1000.0, 1000.0]]])
    assert find_clusters(points, "hdbscan")[-1] == 0
    with pytest.raises(InputError, match="by itself"):
        find_clusters(points, "hdbscan", 3)


def test_slices_follow_a_bent_path_and_have_equal_sizes():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, 1000)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.95, 1.05, 1000)[:, None]
    corners = np.stack([np.cos(a := np.linspace(0, np.pi, 30)), np.sin(a)], axis=1)
    labels = slices_along(points, corners, 10)
    assert np.bincount(labels).tolist() == [0] + [100] * 10
    for number in range(1, 10):
        assert angle[labels == number].max() < angle[labels == number + 1].min() + 0.02
    lengths = slices_along(points, corners, 10, equal_sizes=False)
    np.testing.assert_allclose(np.bincount(lengths)[1:], 100, atol=35)
    assert angle[lengths == 3] == pytest.approx(0.25 * np.pi, abs=0.05 * np.pi + 0.03)
    near = slices_along(np.concatenate([points, [[5.0, 5.0]]]), corners, 4, reach=0.2)
    assert near[-1] == 0
    with pytest.raises(InputError, match="expected at least 4"):
        slices_along(points, corners, 4, reach=1e-9)


def test_position_along_a_corner():
    where, distance = position_along([[0.5, -1.0], [2.0, 0.5], [-3.0, 0.0]], [[0, 0], [1, 0], [1, 0], [1, 1]])
    assert where == pytest.approx([0.5, 1.5, 0.0])
    assert distance == pytest.approx([1.0, 1.0, 3.0])
    even = resample([[0, 0], [1, 0], [1, 1]], 5)
    assert even == pytest.approx(np.array([[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1]]))
    assert resample([[2.0, 2.0], [2.0, 2.0]], 3) == pytest.approx(np.full((3, 2), 2.0))


def test_paths_on_disk(tmp_path):
    points = np.array([[1.5, -2.0], [3.25, 1e-3]])
    write_path(tmp_path / "a.csv", points, ("x", "y"))
    assert read_path(tmp_path / "a.csv", 2) == pytest.approx(points)
    (tmp_path / "b.txt").write_text("# drawn by hand\n1 2\n\n3, 4 # end\n")
    assert read_path(tmp_path / "b.txt", 2).tolist() == [[1, 2], [3, 4]]
    for text, message in (
        ("1 2\n", "found 1 points"), ("1 2\n3\n", "line 2: found 1 numbers, expected 2"), ("1 2\na b\n", "line 2"),
        ("1 2\nnan 3\n", "line 2"), ("x y\nz w\n", "line 2"),
    ):  # fmt: skip
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_path(tmp_path / "bad.csv", 2)
    with pytest.raises(InputError, match="cannot be read"):
        read_path(tmp_path / "none.csv", 2)


# ---------------------------------------------------------------- outlines


@given(
    arrays(float, st.tuples(st.integers(3, 12), st.just(2)), elements=st.integers(-6, 6).map(float)),
    st.integers(0, 1000),
)
def test_outlines_pick_what_another_program_picks(corners, seed):
    """Also outlines that cross themselves, with level edges and repeated corners; points on edges are left aside."""
    points = np.random.default_rng(seed).uniform(-7, 7, size=(300, 2))
    np.testing.assert_array_equal(select_polygon(points, corners), even_odd(points, corners))


def even_odd(points, corners):
    """Crossings of a ray to the right, edge by edge."""
    inside = np.zeros(len(points), dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (y1 > points[:, 1]) != (y2 > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (points[:, 0] < x1 + (points[:, 1] - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_a_drawn_heart_is_that_of_matplotlib():
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    expected = Path(np.concatenate([HEART, HEART[:1]])).contains_points(points)
    np.testing.assert_array_equal(select_polygon(points, HEART), expected)


def test_a_million_points_are_picked_in_under_a_second():
    points = np.random.default_rng(0).normal(size=(1_000_000, 2))
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    drawn = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + 0.4 * np.sin(5 * angle))[:, None]
    clock = time.process_time()
    inside = select_polygon(points, drawn)
    assert time.process_time() - clock < 1.0
    assert 0.3 < inside.mean() < 0.5


def test_an_outline_has_three_corners():
    with pytest.raises(ValueError, match="three corners"):
        select_polygon(np.zeros((4, 2)), [[0, 0], [1, 1]])
    assert select_ball([[0, 0, 0], [3, 0, 0]], [0, 0, 1], 2.0).tolist() == [True, False]


# ---------------------------------------------------------------- conditions

COLUMNS = {"x": np.arange(10.0), "cflexScore": np.linspace(1, 0, 10)}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x > 6", COLUMNS["x"] > 6),
        ("2 < x <= 5 or not cflexScore < 0.9", ((COLUMNS["x"] > 2) & (COLUMNS["x"] <= 5)) | (COLUMNS["x"] == 0)),
        ("abs(x - 4) < 2 and x % 2 == 1", np.isin(COLUMNS["x"], [3, 5])),
        ("(x == 1) | (x == 2)", np.isin(COLUMNS["x"], [1, 2])),
        ("max(x, 5) == 5", COLUMNS["x"] <= 5),
        ("-x ** 2 < -50", COLUMNS["x"] ** 2 > 50),
        ("1 < 2", np.ones(10, dtype=bool)),
    ],
)
def test_conditions_mean_what_they_say(condition, expected):
    np.testing.assert_array_equal(select_where(condition, COLUMNS, 10), expected)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("x >", "cannot be read"),
        ("y > 1", "there is no y; there are x, cflexScore"),
        ("x + 1", "is no comparison"),
        ("x in (1, 2)", "is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("x.size > 1", "is not understood"),
        ("(lambda: 1)() > 0", "is not understood"),
        ("[i for i in x]", "is not understood"),
        ("abs(x, 1, 2, 3) > 0", "is not understood"),
        ("'a' == 'a'", "is not understood"),
    ],
)
def test_nothing_else_is_evaluated(condition, message):
    with pytest.raises(InputError, match=message):
        select_where(condition, COLUMNS, 10)
