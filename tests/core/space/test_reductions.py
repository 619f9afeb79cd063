"""Reductions of known shapes, the way back, and what takes part in them."""

import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError, MissingDependencyError, NonFiniteError
from continuousflex_dl.core.space.build import Reduction, build_space, reduce_features
from continuousflex_dl.core.space.features import Features, amplitude_features, stored_features
from continuousflex_dl.core.space.local_map import LocalMap
from continuousflex_dl.core.space.outliers import mahalanobis
from continuousflex_dl.core.space.pca import PrincipalAxes
from continuousflex_dl.core.space.result import Space


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rolled(rng, count=1500):
    """A sheet rolled up in three dimensions, with its two true coordinates."""
    angle, height = rng.uniform(1.5 * np.pi, 4.5 * np.pi, count), rng.uniform(0, 40, count)
    return np.stack([4 * angle * np.cos(angle), height, 4 * angle * np.sin(angle)], axis=1), angle


def features_of(values):
    return Features("latent", (values,), np.zeros(0, dtype=np.int64), ("latents",))


def every(count):
    return np.ones(count, dtype=bool)


def rank_correlation(a, b):
    from scipy.stats import spearmanr

    return abs(float(spearmanr(a, b).statistic))


# ---------------------------------------------------------------- linear


def test_wide_data_in_blocks_give_the_axes_of_all_at_once(rng):
    """2,000 columns go through a random subspace; the exact answer is that of a singular value decomposition."""
    axes = np.linalg.qr(rng.normal(size=(2000, 3)))[0].T
    values = rng.normal(size=(150, 3)) * [50, 30, 10] @ axes + 0.05 * rng.normal(size=(150, 2000)) + 7
    blocks = [values[:40], values[40:41], values[41:]]
    found = PrincipalAxes(3).fit_blocks(lambda: blocks)
    singular = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    assert found.explained_variance_ == pytest.approx(singular[:3] ** 2 / 149)
    assert found.explained_variance_ratio_ == pytest.approx(singular[:3] ** 2 / (singular**2).sum())
    assert np.abs(np.diag(found.components_ @ np.linalg.svd(values - values.mean(axis=0))[2][:3].T)) == pytest.approx(1)


def test_error_of_a_linear_way_back_is_what_lies_off_the_axes(rng):
    values = rng.normal(size=(2000, 4)) * [40, 20, 5, 1] + 10
    space = reduce_features(features_of(values), every(2000), Reduction(n_components=2))
    back = space.inverse_transform(space.coordinates)
    assert space.inverse_error == pytest.approx(np.sqrt(((back - values) ** 2).sum(axis=1).mean()))
    assert space.inverse_error == pytest.approx(np.sqrt(26), rel=0.05)
    whole = reduce_features(features_of(values), every(2000), Reduction(n_components=4))
    assert whole.inverse_error == pytest.approx(0, abs=1e-6)


def test_outliers_have_a_place_but_no_say(rng):
    values = rng.normal(size=(500, 2)) * [30, 10]
    values[:6] = [[0.0, 2000.0]]
    plain = reduce_features(features_of(values), every(500), Reduction(n_components=1))
    assert abs(plain.components[0, 1]) > 0.9
    guarded = reduce_features(features_of(values), every(500), Reduction(n_components=1, outlier_distance=4.0))
    assert abs(guarded.components[0, 0]) > 0.99
    assert not guarded.converged[:6].any()
    assert guarded.converged[6:].mean() > 0.99
    assert guarded.distance[0] > 50
    assert len(guarded.coordinates) == 500


def test_mahalanobis_distance_counts_in_standard_deviations(rng):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    values = rng.normal(size=(20_000, 3)) * [100, 10, 1] @ turn
    distance = mahalanobis(values)
    assert (distance**2).mean() == pytest.approx(3, rel=0.05)  # chi squared of three degrees of freedom
    assert mahalanobis(values * [2, 2, 2] + 5) == pytest.approx(distance)  # whatever the unit
    flat = np.column_stack([values[:, 0], np.zeros(20_000)])
    assert mahalanobis(flat) == pytest.approx(np.abs(flat[:, 0] - flat[:, 0].mean()) / flat[:, 0].std(ddof=1))
    hidden = np.concatenate([values, np.full((200, 3), 3000.0)])  # these widen the spread that they are measured by
    assert mahalanobis(hidden)[-1] < 15
    assert mahalanobis(hidden, limit=5.0)[-1] > 100


# ---------------------------------------------------------------- not linear


def test_a_diffusion_map_unrolls_a_sheet(rng):
    values, angle = rolled(rng)
    space = reduce_features(features_of(values), every(len(values)), Reduction("diffusion", 2, neighbours=12))
    assert rank_correlation(space.coordinates[:, 0], angle) > 0.98
    linear = reduce_features(features_of(values), every(len(values)), Reduction(n_components=2))
    assert rank_correlation(linear.coordinates[:, 0], angle) < 0.8
    assert space.axis_name == "DC"
    assert space.unit == ""


def test_the_way_back_from_a_curved_space_has_the_error_it_states(rng):
    """A noisy helix in three amplitudes is one coordinate; particles that were left out measure the error."""
    r = rng.uniform(size=3000)
    values = 200 * np.stack([-r, np.sin(np.pi * r), np.cos(np.pi * r)], axis=1) + rng.normal(size=(3000, 3)) * 4
    table = SimpleNamespace(
        source="p.star", amplitudes={7: values[:, 0], 8: values[:, 1], 9: values[:, 2]}, converged=None
    )
    space = build_space(table, how=Reduction("diffusion", 1))
    assert rank_correlation(space.coordinates[:, 0], r) > 0.99
    # noise across the curve is lost and noise along it is not: two of three directions
    assert space.inverse_error == pytest.approx(4 * np.sqrt(2), rel=0.15)
    back = space.inverse_transform(space.coordinates[::10])
    assert np.sqrt(((back - values[::10]) ** 2).sum(axis=1).mean()) == pytest.approx(space.inverse_error, rel=0.1)
    assert space.explained_variance_ratio[0] > 0.98
    path = space.path_along(1, 9)
    features = space.inverse_transform(path)
    assert np.abs(features[:, 1] ** 2 + features[:, 2] ** 2 - 200**2).max() < 0.06 * 200**2  # stays on the helix
    there = space.transform(values[:50])
    assert there == pytest.approx(space.coordinates[:50], abs=0.15)


def test_umap_keeps_neighbours_and_is_the_same_every_time(rng):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    values, angle = rolled(rng, 400)
    made = [
        reduce_features(features_of(values), every(400), Reduction("umap", 2, neighbours=10, seed=1)) for _ in (0, 1)
    ]
    np.testing.assert_array_equal(made[0].coordinates, made[1].coordinates)
    guess = LocalMap(made[0].coordinates, angle[:, None], 10).error()
    assert np.abs(guess).mean() < 0.1 * angle.std()


def test_umap_says_what_to_install(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match="pip install umap-learn"):
        reduce_features(features_of(rng.normal(size=(50, 3))), every(50), Reduction("umap"))


def test_too_few_particles_for_neighbours_are_said(rng):
    with pytest.raises(InputError, match="at least 6 for --method diffusion"):
        reduce_features(features_of(rng.normal(size=(4, 3))), every(4), Reduction("diffusion", 2))


def test_a_curved_space_is_read_as_written(rng, tmp_path):
    values, _ = rolled(rng, 300)
    space = reduce_features(features_of(values), every(300), Reduction("diffusion", 2))
    space.save(tmp_path / "space.npz")
    read = Space.load(tmp_path)
    for name in ("coordinates", "scores", "mean", "components", "distance", "set_index"):
        np.testing.assert_array_equal(getattr(read, name), getattr(space, name))
    assert (read.method, read.on, read.sets) == ("diffusion", "latent", ("latents",))
    at = space.coordinates[:5]
    np.testing.assert_array_equal(read.inverse_transform(at), space.inverse_transform(at))


def test_a_plane_is_mapped_exactly_and_far_points_stay_put(rng):
    x = rng.uniform(-1, 1, size=(400, 2))
    y = x @ [[3.0, 1.0], [-2.0, 0.5]] + [10, 20]
    local = LocalMap(x, y)
    at = rng.uniform(-0.8, 0.8, size=(50, 2))
    assert local(at) == pytest.approx(at @ [[3.0, 1.0], [-2.0, 0.5]] + [10, 20], abs=0.02)
    assert np.abs(local.error()).max() < 0.1
    assert np.abs(local([[1e6, 1e6]]) - [10, 20]).max() < 10


# ---------------------------------------------------------------- where values come from


def tables(*sets):
    return [SimpleNamespace(source=f"{i}.star", amplitudes=a, converged=None) for i, a in enumerate(sets)]


def test_sets_are_reduced_together_and_keep_their_order(rng):
    first, second = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) + 5
    features = amplitude_features(tables({7: first[:, 0], 9: first[:, 1]}, {9: second[:, 1], 7: second[:, 0]}))
    assert len(features) == 50
    space = reduce_features(features, every(50), Reduction(n_components=2))
    assert space.set_index.tolist() == [0] * 30 + [1] * 20
    assert space.inverse_transform(space.coordinates) == pytest.approx(np.concatenate([first, second]))
    with pytest.raises(InputError, match=r"1\.star: found amplitudes of modes \[8\], but 0\.star has \[7\]"):
        amplitude_features(tables({7: first[:, 0]}, {8: second[:, 0]}))


def test_coordinates_are_reduced_from_disk(rng, tmp_path):
    """More columns than fit a covariance matrix; rows are read block by block and never all together."""
    direction = rng.normal(size=(400, 3))
    position = rng.normal(size=60)
    frames = (position[:, None, None] * direction + 100).astype(np.float32)
    with h5py.File(tmp_path / "conformations.h5", "w") as file:
        file["coordinates"] = frames
    features = stored_features("coordinates", [tmp_path / "conformations.h5"], [60])
    assert features.width == 1200
    space = reduce_features(features, every(60), Reduction(n_components=2))
    assert space.n_components == 1
    assert rank_correlation(space.coordinates[:, 0], position) == pytest.approx(1)
    assert space.inverse_transform(space.coordinates) == pytest.approx(frames.reshape(60, -1), abs=1e-3)
    wanted = np.array([5, 3, 5, 59])
    np.testing.assert_array_equal(features.rows(wanted), frames[wanted].reshape(4, -1))


def test_latents_of_other_programs_are_read(rng, tmp_path):
    z = rng.normal(size=(25, 8)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    np.savez(tmp_path / "z.npz", latent=z, other=np.zeros(3))
    np.savez(tmp_path / "one.npz", z=z)
    for name in ("z.npy", "z.npz", "one.npz"):
        np.testing.assert_array_equal(stored_features("latent", [tmp_path / name], [25]).all(), z)


def test_bad_conformations_are_named(rng, tmp_path):
    def read(name, on="latent", count=25):
        return stored_features(on, [tmp_path / name], [count]).all()

    with pytest.raises(InputError, match="give --conformations"):
        read("none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="not a readable HDF5"):
        read("text.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["latent"] = rng.normal(size=(25, 2))
    with pytest.raises(InputError, match=r"found datasets latent, expected 'coordinates'"):
        read("a.h5", "coordinates")
    with pytest.raises(InputError, match="of 25 particles, expected 24"):
        read("a.h5", count=24)
    np.save(tmp_path / "object.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="must not be pickled"):
        read("object.npy")
    np.save(tmp_path / "flat.npy", np.zeros(25))
    with pytest.raises(InputError, match="one row per particle"):
        read("flat.npy")
    bad = rng.normal(size=(25, 2))
    bad[7, 1] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    with pytest.raises(NonFiniteError, match="row 8, latent 2"):
        read("nan.npy")
