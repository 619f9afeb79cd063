"""The solvers of large networks give what dense linear algebra gives; loose parts are found whatever the solver."""

import numpy as np
import pytest

from continuousflex_dl.core.dynamics import eigensolver, multigrid
from continuousflex_dl.core.dynamics.block_matrix import BlockMatrix
from continuousflex_dl.core.dynamics.blocks import residue_blocks
from continuousflex_dl.core.dynamics.eigensolver import lowest_modes
from continuousflex_dl.core.dynamics.elastic_network import compute_modes
from continuousflex_dl.core.dynamics.hessian import node_hessian, rigid_block_hessian
from continuousflex_dl.core.dynamics.rigid_motion import bisect, make_groups, node_motions
from continuousflex_dl.core.dynamics.springs import count_springs, find_springs
from continuousflex_dl.core.errors import DisconnectedNetworkError
from continuousflex_dl.core.structure.reader import read_structure


@pytest.fixture
def large(monkeypatch, request):
    """Treat small systems as if they were large, with a factorisation or with coarser levels."""
    monkeypatch.setattr(eigensolver, "DENSE_SIZE", 150)
    monkeypatch.setattr(multigrid, "DENSE_SIZE", 300)
    monkeypatch.setattr(eigensolver, "_FACTOR_MOST", 0 if request.param == "levels" else np.inf)


both_solvers = pytest.mark.parametrize("large", ["levels", "factor"], indirect=True)


@pytest.fixture(scope="module")
def cloud():
    """400 points on a shaken lattice, 40 Å long."""
    lattice = np.stack(np.meshgrid(np.arange(10), np.arange(8), np.arange(5), indexing="ij"), axis=-1).reshape(-1, 3)
    points = 4.0 * lattice + np.random.default_rng(1).normal(scale=0.6, size=(400, 3))
    return points - points.mean(axis=0)


def dense_hessian(coordinates, cutoff):
    """Spring by spring, the textbook way."""
    size = len(coordinates)
    matrix = np.zeros((size, 3, size, 3))
    for i in range(size):
        for j in range(i + 1, size):
            arm = coordinates[j] - coordinates[i]
            if np.linalg.norm(arm) <= cutoff:
                block = np.outer(arm, arm) / (arm @ arm)
                matrix[i, :, j] -= block
                matrix[j, :, i] -= block
                matrix[i, :, i] += block
                matrix[j, :, j] += block
    return matrix.reshape(3 * size, 3 * size)


def largest_sine(first, second):
    return np.linalg.norm(second - first @ (first.T @ second), ord=2)


def test_hessian_is_that_of_the_textbook(cloud):
    hessian = node_hessian(find_springs(cloud, 9.0), cloud)
    expected = dense_hessian(cloud, 9.0)
    np.testing.assert_allclose(hessian.toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(hessian.tocsc().toarray(), expected, atol=1e-12)
    vectors = np.random.default_rng(0).normal(size=(1200, 5))
    np.testing.assert_allclose(hessian @ vectors, expected @ vectors, atol=1e-10)
    assert count_springs(cloud, 9.0) == np.count_nonzero(np.triu(expected.reshape(400, 3, 400, 3)[:, 0, :, 0], 1))


def test_block_projection_is_that_of_the_full_matrix(cloud):
    group = bisect(cloud, 37)
    blocks = make_groups(node_motions(cloud), cloud, group)
    springs = find_springs(cloud, 9.0)
    basis = np.zeros((400, 3, 37, 6))
    basis[np.arange(400), :, group] = blocks.basis
    basis = basis.reshape(1200, 222)
    np.testing.assert_allclose(basis.T @ basis, np.eye(222), atol=1e-10)
    expected = basis.T @ dense_hessian(cloud, 9.0) @ basis
    np.testing.assert_allclose(rigid_block_hessian(springs, cloud, blocks).toarray(), expected, atol=1e-9)
    q = np.random.default_rng(0).normal(size=(222, 3))
    np.testing.assert_allclose(blocks.expand(q), basis @ q, atol=1e-12)
    x = np.random.default_rng(0).normal(size=(1200, 3))
    np.testing.assert_allclose(blocks.restrict(x), basis.T @ x, atol=1e-12)


def test_projection_on_own_groups_is_that_of_the_full_matrix(cloud):
    hessian = node_hessian(find_springs(cloud, 9.0), cloud)
    blocks = make_groups(node_motions(cloud), cloud, hessian.group)
    direct = rigid_block_hessian(find_springs(cloud, 9.0), cloud, blocks)
    np.testing.assert_allclose(hessian.project(blocks).toarray(), direct.toarray(), atol=1e-9)


@both_solvers
@pytest.mark.parametrize("cutoff", [8.0, 14.0])
def test_dense_linear_algebra_gives_the_same(large, cloud, cutoff):
    hessian = node_hessian(find_springs(cloud, cutoff), cloud)
    values, vectors = lowest_modes(hessian, node_motions(cloud), cloud, 20)
    expected_values, expected = np.linalg.eigh(dense_hessian(cloud, cutoff))
    np.testing.assert_allclose(values[6:], expected_values[6:20], rtol=1e-8)
    assert largest_sine(vectors[:, 6:], expected[:, 6:20]) < 1e-6
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-10)


@both_solvers
def test_rigid_blocks_of_a_nucleosome(large, shared_data):
    structure, _ = read_structure(shared_data / "structures/nucleosome/1kx5.pdb")
    centred = structure.coordinates - structure.coordinates.mean(axis=0)
    blocks = make_groups(node_motions(centred), centred, residue_blocks(structure, 10))
    hessian = rigid_block_hessian(find_springs(centred, 8.0), centred, blocks)
    motions = np.matmul(blocks.basis.transpose(0, 2, 1), node_motions(centred))
    motions = np.stack([motions[blocks.group == block].sum(axis=0) for block in range(len(blocks))])
    values, vectors = lowest_modes(hessian, motions, blocks.centres, 20)
    expected_values, expected = np.linalg.eigh(hessian.toarray())
    np.testing.assert_allclose(values[6:], expected_values[6:20], rtol=1e-8)
    assert largest_sine(vectors[:, 6:], expected[:, 6:20]) < 1e-6


@both_solvers
def test_same_call_gives_the_same_bits(large, cloud):
    first, again = (compute_modes(cloud, None, 12.0, 12)[1] for _ in range(2))
    assert (first == again).all()


@both_solvers
@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ([[45.0, 0, 0]], "disconnected"),  # out of reach of everything
        ([[45.0, 0, 0], [48.0, 1, 0], [47.0, -2, 1], [46.0, 2, 2]], "disconnected"),  # a second body
    ],
)
def test_loose_parts_are_found(large, cloud, extra, what):
    with pytest.raises(DisconnectedNetworkError, match=what):
        compute_modes(np.vstack([cloud, extra]), None, 9.0, 20)


@both_solvers
def test_a_hinge_is_found(large, cloud):
    """Two rigid bodies that share two nodes turn about the line through them."""
    axis = np.array([[0.0, 0, -4], [0.0, 0, 4]])
    near = np.array([[5.0, -3, 0], [5.0, 3, 0], [6.5, 0, 1]])  # too far from their mirror images for a spring
    right = np.vstack([near, cloud + np.array([10 - cloud[:, 0].min(), 0, 0])])
    bodies = np.vstack([axis, right, right * [-1, 1, 1]])
    with pytest.raises(DisconnectedNetworkError, match=r"too loosely connected.*found 7 or more"):
        compute_modes(bodies, None, 9.0, 12)


@both_solvers
def test_a_floppy_node_is_found(large, cloud):
    """A node with two springs can move across both."""
    loose = cloud[cloud[:, 0].argmax()] + np.array([7.0, 0, 0])
    reach = np.sort(np.linalg.norm(cloud - loose, axis=1))
    with pytest.raises(DisconnectedNetworkError, match="too loosely connected"):
        compute_modes(np.vstack([cloud, loose]), None, (reach[1] + reach[2]) / 2, 12)


def test_groups_on_a_line_have_no_rotation_about_it():
    line = np.arange(8.0)[:, None] * [1.0, 2.0, 0.5]
    groups = make_groups(node_motions(line), line, np.zeros(8, dtype=int))
    assert np.isfinite(groups.basis).all()
    basis = groups.basis.reshape(24, 6)
    assert np.linalg.matrix_rank(basis) == 5
    np.testing.assert_allclose(np.sort(np.diag(basis.T @ basis)), [0, 1, 1, 1, 1, 1], atol=1e-9)


def test_bisection_makes_compact_groups_of_equal_size(cloud):
    group = bisect(cloud, 50)
    sizes = np.bincount(group)
    assert len(sizes) == 50
    assert sizes.min() >= 7
    assert sizes.max() <= 9
    extent = max(np.ptp(cloud[group == k], axis=0).max() for k in range(50))
    assert extent < 0.5 * np.ptp(cloud, axis=0).max()


def test_filling_counts_the_zeros_of_the_panels(cloud):
    hessian = node_hessian(find_springs(cloud, 9.0), cloud)
    assert isinstance(hessian, BlockMatrix)
    assert hessian.filling * hessian.size >= np.count_nonzero(hessian.toarray())
