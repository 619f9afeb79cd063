"""The correlation that a fit maximises: its value, its gradient, its optimum."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.fitting.nodes import make_nodes
from continuousflex_dl.core.fitting.objective import Placement, Units, climb, correlation
from continuousflex_dl.core.fitting.target import Target
from continuousflex_dl.core.pseudoatoms.gaussians import render

BENT = np.array([30.0, -20.0, 12.0, 0.0, 8.0, -5.0])


@pytest.fixture(scope="module")
def problem(kinase, scene):
    made = scene(BENT, seed=2)
    return Target.make(made.source, 6.0, 3.0), make_nodes(kinase, 1.0), made


def value_at(target, nodes, placement):
    moved = nodes.moved(placement.amplitudes)
    return correlation(target, nodes, placement, target.self_overlap(moved, nodes.weights, target.pairs(moved)))


def test_value_is_the_correlation_of_the_maps(problem):
    target, nodes, made = problem
    here = Placement(made.rotation, made.shift + np.array([2.0, -1.0, 1.5]), 0.5 * BENT)
    places = here.of(nodes.moved(here.amplitudes))
    model = render((places - target.origin)[:, ::-1] / target.voxel, nodes.weights, target.sigma, target.values.shape)
    direct = float((model * target.values).sum() / np.sqrt((model**2).sum() * (target.values**2).sum()))
    assert value_at(target, nodes, here)[0] == pytest.approx(direct, abs=2e-3)


def test_gradient_is_that_of_the_value(problem):
    target, nodes, made = problem
    here = Placement(made.rotation, made.shift + np.array([3.0, 2.0, -1.0]), np.array([5.0, 3.0, -4.0, 2.0, 0.0, 1.0]))
    _, gradient = value_at(target, nodes, here)
    steps = np.concatenate([np.full(3, 1e-4), np.full(3, 1e-3), np.full(6, 1e-2)])
    for number, step in enumerate(steps):

        def moved(sign, number=number, step=step):
            change = np.zeros(12)
            change[number] = sign * step
            rotation = Rotation.from_rotvec(change[:3]).as_matrix() @ here.rotation
            placement = Placement(rotation, here.shift + change[3:6], here.amplitudes + change[6:])
            return value_at(target, nodes, placement)[0]

        assert gradient[number] == pytest.approx((moved(1) - moved(-1)) / (2 * step), rel=2e-3, abs=1e-6)


def test_optimum_is_where_the_molecule_is(kinase, problem):
    target, nodes, made = problem
    start = Placement(
        Rotation.from_rotvec([0.1, -0.05, 0.1]).as_matrix() @ made.rotation, made.shift + 2.0, np.zeros(6)
    )
    found = climb(target, nodes, start, Units.of(nodes, kinase.n_atoms), np.zeros(6))
    np.testing.assert_allclose(found.shift, made.shift, atol=0.1)
    np.testing.assert_allclose(found.amplitudes, BENT, atol=2.0)
    assert Rotation.from_matrix(found.rotation @ made.rotation.T).magnitude() < np.radians(0.5)


def test_held_modes_stay(kinase, problem):
    target, nodes, made = problem
    held = np.array([0.0, np.inf, 0.0, 0.0, np.inf, 0.0])
    start = Placement(made.rotation, made.shift, np.array([0.0, 4.0, 0.0, 0.0, 0.0, 0.0]))
    found = climb(target, nodes, start, Units.of(nodes, kinase.n_atoms), held)
    np.testing.assert_array_equal(found.amplitudes[[1, 4]], [4.0, 0.0])
    assert abs(found.amplitudes[0]) > 1


def test_lumped_nodes_keep_weight_and_motion(kinase):
    few = make_nodes(kinase, 9.0)
    assert 20 <= len(few) < kinase.n_atoms
    share = few.weights / few.weights.sum()
    own = kinase.weights / kinase.weights.sum()
    np.testing.assert_allclose(share @ few.places, own @ kinase.centred, atol=1e-9)
    np.testing.assert_allclose(
        np.einsum("n,nim->im", share, few.motions), np.einsum("n,mni->im", own, kinase.vectors), atol=1e-12
    )
