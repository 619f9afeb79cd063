"""The space of a particle table, and its file."""

from types import SimpleNamespace

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.space.build import build_space
from continuousflex_dl.core.space.result import Space


def table(amplitudes, converged=None):
    return SimpleNamespace(source="particles.star", amplitudes=amplitudes, converged=converged)


@pytest.fixture
def arc():
    angle = np.linspace(0, np.pi, 200)
    return {8: 100 * np.sin(angle), 7: 200 * np.cos(angle)}


def test_modes_are_sorted_and_coordinates_belong_to_particles(arc):
    space = build_space(table(arc), 2)
    assert space.modes.tolist() == [7, 8]
    assert space.coordinates.shape == (200, 2)
    assert np.abs(np.corrcoef(space.coordinates[:, 0], arc[7])[0, 1]) == pytest.approx(1)
    amplitudes = np.stack([arc[7], arc[8]], axis=1)
    assert space.inverse_transform(space.coordinates) == pytest.approx(amplitudes)
    assert space.transform(amplitudes) == pytest.approx(space.coordinates)


def test_unconverged_particles_get_coordinates_but_do_not_turn_the_axes(arc):
    converged = np.ones(200, dtype=bool)
    converged[:20] = False
    spoilt = {7: arc[7].copy(), 8: arc[8].copy()}
    spoilt[8][:20] = 1e5
    space = build_space(table(spoilt, converged), 2)
    assert np.abs(space.components[0]) == pytest.approx([1, 0], abs=0.1)
    assert space.coordinates[0, 1] > 5e4
    everything = build_space(table(spoilt, converged), 2, keep_unconverged=True)
    assert np.abs(everything.components[0]) == pytest.approx([0, 1], abs=0.1)


def test_the_path_spans_the_populated_range(arc):
    space = build_space(table(arc), 2)
    path = space.path_along(1, 11)
    assert path.shape == (11, 2)
    assert (path[:, 1] == 0).all()
    assert path[[0, -1], 0] == pytest.approx(np.percentile(space.coordinates[:, 0], [2, 98]))
    with pytest.raises(InputError, match="expected 1 to 2"):
        space.path_along(3, 5)


def test_what_is_written_is_read_and_bytes_are_equal(arc, tmp_path):
    space = build_space(table(arc), 2)
    space.save(tmp_path / "a.npz")
    space.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = Space.load(tmp_path / "a.npz")
    for name, value in vars(space).items():
        assert np.array_equal(getattr(read, name), value), name
    with np.load(tmp_path / "a.npz") as archive:
        assert set(archive) == set(vars(space))
        assert (archive["coordinates"].shape, archive["components"].shape) == ((200, 2), (2, 2))


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_damaged_files_are_named(tmp_path, content):
    file = tmp_path / "space.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"space\.npz: is not a conformational space"):
        Space.load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Space.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("amplitudes", "converged", "error", "message"),
    [
        ({}, None, InputError, "no _cflexModeAmplitude columns"),
        ({7: [1.0, 1.0]}, None, InputError, "particles.star: .*same"),
        ({7: [1.0]}, None, InputError, "found 1 usable of 1"),
        ({7: [1.0, 2.0, 3.0]}, [1, 0, 0], InputError, "--keep-unconverged"),
        ({7: [1.0, 2.0], 9: [1.0, np.nan]}, None, NonFiniteError, "row 2, _cflexModeAmplitude9"),
    ],
)
def test_tables_without_a_space_are_refused(amplitudes, converged, error, message):
    with pytest.raises(error, match=message):
        build_space(table(amplitudes, converged))
