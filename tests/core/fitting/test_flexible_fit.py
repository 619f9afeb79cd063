"""Fits find pose and amplitudes, say how sure they are, and come close to what the modes allow."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.fitting.flexible import fit_modes
from continuousflex_dl.core.fitting.report import report_on
from continuousflex_dl.core.fitting.width import own_width
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.pseudoatoms.structure import other_hand
from continuousflex_dl.core.reconstruction.map_files import Map
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.superpose import superpose

BENT = np.array([60.0, 0.0, -40.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def fitted(kinase, scene):
    made = scene(BENT, seed=4, noise=0.05)
    return made, report_on(fit_modes(made.source, kinase, 3.0), made.source, kinase, 3.0)


def test_pose_and_amplitudes_are_found_from_anywhere(fitted):
    made, report = fitted
    placement = report.fit.placement
    assert Rotation.from_matrix(placement.rotation @ made.rotation.T).magnitude() < np.radians(1.5)
    assert np.linalg.norm(placement.shift - made.shift) < 0.3
    assert np.abs(placement.amplitudes - BENT).max() < 3.0
    assert np.sqrt(((report.coordinates - made.coordinates) ** 2).sum(axis=1).mean()) < 0.4
    assert placement.correlation > report.fit.rigid.correlation + 0.02
    assert report.resolution < report.rigid_resolution


def test_strong_noise_does_not_hide_the_molecule(kinase, scene):
    made = scene(BENT, seed=6, noise=0.5)
    placement = fit_modes(made.source, kinase, 3.0).placement
    assert Rotation.from_matrix(placement.rotation @ made.rotation.T).magnitude() < np.radians(10)
    assert np.linalg.norm(placement.shift - made.shift) < 1.5


def test_modes_that_moved_contribute_most(fitted):
    _, report = fitted
    assert set(report.contributions.order[:2].tolist()) == {0, 2}
    assert report.contributions.gain[[1, 3, 4, 5]].max() < 0.1 * report.contributions.gain[[0, 2]].min()
    assert report.contributions.share.sum() == pytest.approx(1.0)


def test_the_same_fit_gives_the_same_bits(kinase, scene):
    made = scene(BENT, seed=4, noise=0.05, turned=False)
    one, two = (fit_modes(made.source, kinase, 3.0, placed=True).placement for _ in range(2))
    np.testing.assert_array_equal(one.amplitudes, two.amplitudes)
    np.testing.assert_array_equal(one.rotation, two.rotation)


def test_errors_are_as_large_as_said(kinase, scene):
    """Over maps with fresh noise the amplitudes scatter as predicted."""
    found, said = [], []
    for seed in range(8):
        made = scene(BENT, seed=seed, noise=0.4, turned=False)
        report = report_on(fit_modes(made.source, kinase, 3.0, placed=True), made.source, kinase, 3.0)
        found.append(report.fit.placement.amplitudes)
        said.append(report.errors.amplitudes)
    scatter = np.sqrt(((np.array(found) - np.mean(found, axis=0)) ** 2).sum(axis=0) / 7)
    ratio = scatter / np.mean(said, axis=0)
    assert 0.5 < np.exp(np.log(ratio).mean()) < 1.6
    assert (np.abs(np.array(found) - BENT) < 4 * np.array(said) + 4.0).all()


def test_a_map_of_the_wrong_hand_fits_worse(kinase, scene):
    made = scene(np.zeros(6), seed=5)
    right = fit_modes(made.source, kinase.select([7]), 3.0).placement.correlation
    wrong = fit_modes(other_hand(made.source), kinase.select([7]), 3.0).placement.correlation
    assert right > 0.99
    assert wrong < right - 0.03


@pytest.mark.parametrize("width", [2.5, 5.0])
def test_width_of_a_point_is_estimated(kinase, scene, width):
    made = scene(BENT, seed=1, noise=0.02, width=width)
    assert own_width(made.source, kinase) == pytest.approx(width, rel=0.25)


def best_rmsd(modes, target):
    start, vectors = modes.coordinates, modes.vectors.reshape(len(modes), -1).T
    moved, rmsd = start, np.inf
    for _ in range(100):
        rotation, shift, rmsd = superpose(target, moved)
        amplitudes = np.linalg.lstsq(vectors, (target @ rotation.T + shift - start).ravel(), rcond=None)[0]
        moved = start + (vectors @ amplitudes).reshape(-1, 3)
    return rmsd


@pytest.mark.parametrize(("start", "end"), [("4AKE_A", "1AKE_A"), ("1AKE_A", "4AKE_A")])
def test_adenylate_kinase_comes_as_close_as_its_modes_allow(shared_data, start, end):
    reference, target = (
        representation(read_structure(shared_data / f"structures/adk/{name}.pdb")[0], "ca-p") for name in (start, end)
    )
    modes = normal_modes(reference, None, 15.0, 16)
    places = target.coordinates @ Rotation.random(random_state=3).as_matrix().T
    origin = places.min(axis=0) - 12.0
    shape = tuple(np.ceil((places.max(axis=0) + 12.0 - origin)[::-1] / 3.0).astype(int))
    density = render((places - origin)[:, ::-1] / 3.0, target.weights, 2.2 / 3.0, shape)
    x, y, z = origin.tolist()
    source = Map(density, 3.0, (x, y, z))
    fit = fit_modes(source, modes, own_width(source, modes))
    left = np.sqrt(((fit.coordinates(modes) - places) ** 2).sum(axis=1).mean())
    assert left < 1.2 * best_rmsd(modes, places)
