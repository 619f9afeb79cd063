"""Principal axes by their properties."""

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.space.density import point_density, spread_subset
from continuousflex_dl.core.space.pca import PrincipalAxes


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_line_has_one_axis(rng):
    direction = np.array([1.0, -2.0, 3.0]) / np.sqrt(14)
    position = rng.uniform(-200, 200, size=500)
    values = np.round(np.outer(position, direction) + 50, 6)  # as text files round
    axes = PrincipalAxes(2).fit(values)
    assert axes.n_components_ == 1
    assert np.abs(axes.components_[0] @ direction) == pytest.approx(1)
    assert axes.explained_variance_ratio_ == pytest.approx([1])
    assert np.ptp(axes.transform(values)[:, 0]) == pytest.approx(np.ptp(position))


def test_going_there_and_back_changes_nothing_with_all_axes(rng):
    values = rng.normal(size=(100, 4)) * [1, 10, 100, 5]
    axes = PrincipalAxes(4).fit(values)
    assert axes.inverse_transform(axes.transform(values)) == pytest.approx(values)
    assert axes.explained_variance_ratio_.sum() == pytest.approx(1)
    assert axes.components_ @ axes.components_.T == pytest.approx(np.eye(4))


def test_axes_are_sorted_and_the_sign_does_not_depend_on_the_order_of_particles(rng):
    values = rng.normal(size=(300, 3)) * [5, 50, 20]
    first = PrincipalAxes(3).fit(values)
    second = PrincipalAxes(3).fit(values[::-1])
    assert first.components_ == pytest.approx(second.components_)
    assert (np.diff(first.explained_variance_) < 0).all()
    assert (first.components_[np.arange(3), np.abs(first.components_).argmax(axis=1)] > 0).all()


def test_constructor_only_stores():
    axes = PrincipalAxes(7)
    assert vars(axes) == {"n_components": 7}


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ones((5, 2)), InputError, "same"),
        (np.ones((1, 2)), InputError, "found 1 usable"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), NonFiniteError, "row 2"),
    ],
)
def test_data_without_a_space_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        PrincipalAxes().fit(values)


def test_density_is_highest_where_the_points_are(rng):
    points = np.concatenate([rng.normal(size=(900, 2)), rng.normal(size=(100, 2)) + 20])
    at = np.array([[0.0, 0.0], [20.0, 20.0], [10.0, 10.0]])
    dense, sparse, empty = point_density(points, at)
    assert dense > 5 * sparse > 50 * empty


def test_density_of_a_line_does_not_exist():
    assert point_density(np.outer(np.arange(50.0), [1, 1])) is None
    assert point_density(np.ones((2, 2))) is None


def test_subset_is_spread_evenly_and_bounded():
    assert spread_subset(5, 10).tolist() == [0, 1, 2, 3, 4]
    chosen = spread_subset(100001, 11)
    assert chosen.tolist() == list(range(0, 100001, 10000))
