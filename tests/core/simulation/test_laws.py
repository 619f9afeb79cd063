"""Distributions of amplitudes."""

import numpy as np
import pytest

from continuousflex_dl.core.simulation.laws import draw_amplitudes


def draw(law, modes, count=3000, amplitude=200.0):
    return draw_amplitudes(law, count, modes, amplitude, np.random.default_rng(0))


def test_helix_is_that_of_the_paper():
    q = draw("helix", 3)
    r = -q[:, 0] / 200
    assert 0 <= r.min() <= r.max() <= 1
    np.testing.assert_allclose(q[:, 1], 200 * np.sin(np.pi * r))
    np.testing.assert_allclose(q[:, 2], 200 * np.cos(np.pi * r))
    np.testing.assert_allclose(r.mean(), 0.5, atol=0.02)


def test_circle_has_its_radius():
    np.testing.assert_allclose(np.linalg.norm(draw("circle", 2), axis=1), 200.0)


def test_line_is_one_dimensional():
    q = draw("line", 4)
    assert np.linalg.matrix_rank(q) == 1
    assert -200 <= q.min() < -190 < 190 < q.max() <= 200


@pytest.mark.parametrize("modes", [1, 2, 5])
def test_clusters_are_three(modes):
    q = draw("clusters", modes)
    distance = np.linalg.norm(q[:, None] - q[None, ::100], axis=2)
    groups = {tuple(row) for row in (distance < 120)}
    assert len(groups) == 3


def test_uniform_fills_the_cube():
    q = draw("uniform", 3)
    np.testing.assert_allclose(q.std(0), 200 / np.sqrt(3), rtol=0.05)
    assert abs(np.corrcoef(q.T)[0, 1]) < 0.05


def test_grid_visits_every_point_before_it_repeats():
    q = draw("grid", 2, count=36)
    assert len(np.unique(q, axis=0)) == 36
    assert sorted(set(np.round(q[:, 0], 6))) == [-200, -120, -40, 40, 120, 200]


@pytest.mark.parametrize(("law", "modes"), [("helix", 2), ("circle", 3), ("spiral", 3)])
def test_wrong_requests_are_refused(law, modes):
    with pytest.raises(ValueError, match=law):
        draw(law, modes)
