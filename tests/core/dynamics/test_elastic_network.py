"""Physics of the elastic network, and agreement with independent numbers and programs."""

import subprocess
import sys

import numpy as np
import prody
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.dynamics import elastic_network, measures
from continuousflex_dl.core.dynamics.blocks import residue_blocks
from continuousflex_dl.core.dynamics.elastic_network import compute_modes, is_rigid, rigid_body_modes, rigid_cutoff
from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.dynamics.network import connecting_cutoff, percentile_cutoff
from continuousflex_dl.core.errors import DisconnectedNetworkError, InputError
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.superpose import match_atoms, superpose


@pytest.fixture(scope="module")
def adk(shared_data):
    return read_structure(shared_data / "particles/hemnma_reference/4akeA.pdb")[0]


@pytest.fixture(scope="module")
def rtb(adk):
    return normal_modes(adk, residue_blocks(adk, 10), 8.0, 20)


@pytest.fixture(scope="module")
def full(adk):
    return normal_modes(adk, None, 8.0, 20)


@pytest.fixture(scope="module")
def ubiquitin(shared_data):
    return representation(read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")[0], "ca-p")


def test_full_network_has_the_reference_numbers(full):
    np.testing.assert_allclose(full.eigenvalues[:3], [0.01557, 0.03652, 0.07823], rtol=0.01)
    np.testing.assert_allclose(full.collectivity[:3], [0.47, 0.51, 0.42], atol=0.006)


def test_blocks_have_the_reference_numbers(rtb, full):
    np.testing.assert_allclose(rtb.eigenvalues[:3], [0.0540, 0.1256, 0.2338], rtol=0.01)
    np.testing.assert_allclose(rtb.collectivity[:3], [0.47, 0.53, 0.44], atol=0.006)
    overlaps = [measures.overlap(full.vectors[k : k + 1], rtb.vectors[k])[0] for k in range(3)]
    np.testing.assert_allclose(overlaps, [1.00, 0.99, 0.98], atol=0.006)


def test_vectors_are_orthonormal_and_numbered_from_seven(rtb):
    flat = rtb.vectors.reshape(14, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(14), atol=1e-9)
    assert rtb.indices.tolist() == list(range(7, 21))
    rigid = rigid_body_modes(rtb.coordinates).reshape(6, -1)
    assert np.abs(flat @ rigid.T).max() < 1e-6


def test_elnemo_gives_the_same_vectors(shared_data, rtb):
    with np.load(shared_data / "particles/hemnma_reference/modes_7_8_9.npz") as reference:
        vectors = reference["vectors"]
    for number, vector in zip((7, 8, 9), vectors, strict=True):
        assert measures.overlap(rtb.select([number]).vectors, vector)[0] > 0.999


def subspace_sine(first, second):
    """Sine of the largest angle between the spaces of two sets of vectors (M, N, 3)."""
    one, two = first.reshape(len(first), -1), second.reshape(len(second), -1)
    return np.linalg.norm(two - (two @ one.T) @ one, ord=2)


def test_prody_gives_the_same_without_blocks(ubiquitin):
    anm = prody.ANM()
    anm.buildHessian(ubiquitin.coordinates, cutoff=15.0)
    anm.calcModes(14)
    modes = normal_modes(ubiquitin, None, 15.0, 20)
    np.testing.assert_allclose(modes.eigenvalues, anm.getEigvals(), rtol=1e-9)
    for k in range(14):
        assert measures.overlap(modes.vectors[k : k + 1], anm.getEigvecs()[:, k].reshape(-1, 3))[0] > 1 - 1e-9
    np.testing.assert_allclose(modes.collectivity[0], prody.calcCollectivity(anm[0]), rtol=1e-9)


def test_prody_gives_the_same_with_blocks(adk, rtb):
    reference = prody.RTB()
    reference.buildHessian(adk.coordinates, residue_blocks(adk, 10), cutoff=8.0)
    reference.calcModes(14)
    np.testing.assert_allclose(rtb.eigenvalues, reference.getEigvals(), rtol=1e-6)
    vectors = reference.getEigvecs().T.reshape(14, -1, 3)
    assert subspace_sine(rtb.vectors, vectors) < 1e-6
    overlaps = [measures.overlap(rtb.vectors[k : k + 1], vectors[k])[0] for k in range(14)]
    assert min(overlaps) > 1 - 1e-9


@pytest.mark.parametrize(
    ("first", "second", "rmsd", "single", "cumulative"),
    [
        ("adk/4AKE_A.pdb", "adk/1AKE_A.pdb", 7.13, 0.80, (0.85, 0.97, 0.97)),
        ("glnbp/1GGG_A.pdb", "glnbp/1WDN_A.pdb", 5.34, 0.74, (0.92, 0.94, 0.95)),
    ],
)
def test_few_modes_describe_the_known_transition(shared_data, first, second, rmsd, single, cumulative):
    start = representation(read_structure(shared_data / "structures" / first)[0], "ca-p")
    end = representation(read_structure(shared_data / "structures" / second)[0], "ca-p")
    match = match_atoms(start, end)
    rotation, translation, found = superpose(end.coordinates[match.second], start.coordinates[match.first])
    assert found == pytest.approx(rmsd, abs=0.01)
    displacement = end.coordinates[match.second] @ rotation.T + translation - start.coordinates
    modes = normal_modes(start, None, 15.0, 26)
    overlaps = measures.overlap(modes.vectors, displacement)
    assert modes.indices[overlaps.argmax()] == 7
    assert overlaps.max() == pytest.approx(single, abs=0.02)
    np.testing.assert_allclose(
        measures.cumulative_overlap(modes.vectors, displacement)[[2, 9, 19]], cumulative, atol=0.02
    )


def test_rotated_structure_has_rotated_modes(adk, rtb):
    turn = Rotation.random(random_state=3).as_matrix()
    moved = adk.with_coordinates(adk.coordinates @ turn.T + [30.0, -20.0, 10.0])
    modes = normal_modes(moved, residue_blocks(moved, 10), 8.0, 20)
    np.testing.assert_allclose(modes.eigenvalues, rtb.eigenvalues, rtol=1e-6)
    for k in range(14):
        assert measures.overlap(modes.vectors[k : k + 1], rtb.vectors[k] @ turn.T)[0] > 1 - 1e-6
    np.testing.assert_allclose(modes.collectivity, rtb.collectivity, rtol=1e-5)
    np.testing.assert_allclose(modes.score, rtb.score)


def test_translation_changes_nothing_and_signs_are_fixed(ubiquitin):
    here = normal_modes(ubiquitin, None, 15.0, 20)
    there = normal_modes(ubiquitin.with_coordinates(ubiquitin.coordinates + 50), None, 15.0, 20)
    np.testing.assert_allclose(here.vectors, there.vectors, atol=1e-8)
    flat = here.vectors.reshape(14, -1)
    assert (flat[np.arange(14), np.abs(flat).argmax(axis=1)] > 0).all()


def test_same_call_gives_the_same_bits(ubiquitin):
    assert (normal_modes(ubiquitin, None, 15.0).vectors == normal_modes(ubiquitin, None, 15.0).vectors).all()


@pytest.mark.parametrize("size", [0, 3])
def test_too_small_a_cutoff_names_one_that_works(ubiquitin, size):
    blocks = residue_blocks(ubiquitin, size) if size else None
    with pytest.raises(DisconnectedNetworkError, match=r"disconnected \(\d+ parts\).*expected 6.*--cutoff") as error:
        compute_modes(ubiquitin.coordinates, blocks, 3.0, 20)
    named = float(str(error.value).split("--cutoff ")[1].split()[0])
    values, _, n_zero = compute_modes(ubiquitin.coordinates, blocks, named, 20)
    assert n_zero == 6
    assert values[6] > 1e-6
    with pytest.raises(DisconnectedNetworkError):
        compute_modes(ubiquitin.coordinates, blocks, named - 0.1, 20)


def test_connected_but_floppy_network_is_refused_too(ubiquitin):
    cutoff = connecting_cutoff(ubiquitin.coordinates) + 0.01
    assert 3.7 < cutoff < 4.0  # neighbouring CA atoms
    with pytest.raises(DisconnectedNetworkError, match="too loosely connected"):
        compute_modes(ubiquitin.coordinates, None, cutoff, 20)


def test_scale_changes_nothing(ubiquitin):
    small = compute_modes(ubiquitin.coordinates / 5, None, 3.0, 20)
    usual = compute_modes(ubiquitin.coordinates, None, 15.0, 20)
    np.testing.assert_allclose(small[0], usual[0], rtol=1e-9)
    np.testing.assert_allclose(small[1], usual[1], atol=1e-9)


def test_percentile_of_a_lattice():
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3) * 2.5
    assert percentile_cutoff(grid, 95) == pytest.approx(2.5)
    assert connecting_cutoff(grid) == pytest.approx(2.5)
    enough = rigid_cutoff(grid, None, 2.5)
    assert enough == pytest.approx(3.6)  # the lattice needs its face diagonals, 3.54 Å
    assert is_rigid(grid, None, enough)
    assert not is_rigid(grid, None, 3.5)


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        (np.zeros((1, 3)), "1 node"),
        (np.arange(10)[:, None] * [1.0, 2.0, 3.0], "one line"),
        (np.random.default_rng(0).normal(size=(10, 3)) * [5, 5, 0], "one plane"),
        (np.vstack([np.random.default_rng(0).normal(size=(10, 3)), np.zeros((2, 3))]), "atoms 11 and 12"),
        (np.random.default_rng(0).normal(size=(5, 3)), "between 7 and 15"),
    ],
)
def test_degenerate_input_is_refused(coordinates, message):
    with pytest.raises(InputError, match=message):
        compute_modes(coordinates, None, 8.0, 20)


def test_memory_is_checked_before_work(ubiquitin, monkeypatch):
    monkeypatch.setattr(elastic_network, "available_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"GiB.*--representation ca-p"):
        compute_modes(ubiquitin.coordinates, None, 15.0, 20)


def test_neither_torch_nor_prody_is_imported():
    code = "import sys, continuousflex_dl.cli.nma; print([n for n in ('prody', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_ribosome_by_residues(shared_data):
    nodes = representation(read_structure(shared_data / "structures/ribosome30S/ribosome.pdb")[0], "ca-p")
    modes = normal_modes(nodes, residue_blocks(nodes, 10), 15.0, 10)
    assert modes.eigenvalues[0] > 1e-3
    assert modes.collectivity[0] > 0.3
    assert modes.sigma == 3.0
