"""The particle table: what is written reads back, what is not touched stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.particle_table import CtfParameters, ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star


def some_ctf(n: int, seed: int = 0) -> CtfParameters:
    rng = np.random.default_rng(seed)
    volts = rng.choice([200.0, 300.0], n)
    return CtfParameters(
        volts, np.full(n, 2.7), np.full(n, 0.1), *rng.uniform(5000, 20000, (2, n)), *rng.uniform(0, 180, (2, n))
    )


def some_table(folder, n: int = 6, **kwargs) -> ParticleTable:
    names = [f"{i + 1:06d}@particles.mrcs" for i in range(n)]
    return ParticleTable.create(names, 1.25, folder=folder, box=32, **kwargs)


def assert_same(one: ParticleTable, two: ParticleTable) -> None:
    for block in ("particles", "optics"):
        a, b = getattr(one, block), getattr(two, block)
        assert a.labels == b.labels
        assert all(a.columns[label].tolist() == b.columns[label].tolist() for label in a.labels)
    assert one.stack_path == two.stack_path
    assert one.stack_index.tolist() == two.stack_index.tolist()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_everything_written_reads_back(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    n = data.draw(st.integers(1, 4))
    numbers = st.lists(st.floats(-500, 500), min_size=n, max_size=n)
    table = some_table(
        folder, n, ctf=data.draw(st.sampled_from([None, some_ctf(n)])), phase_flipped=data.draw(st.booleans())
    )
    euler, shift = (
        np.transpose([data.draw(numbers) for _ in range(3)]),
        np.transpose([data.draw(numbers) for _ in range(2)]),
    )
    modes = data.draw(st.lists(st.integers(1, 40), unique=True, max_size=3))
    table = table.with_poses(euler, shift).with_amplitudes(
        {m: data.draw(numbers) for m in modes}, {m: np.full(n, np.nan) for m in modes}
    )
    table = table.with_results(score=data.draw(numbers), converged=np.arange(n) % 2 == 0, frame=np.arange(n) + 1)
    write_star(folder / "a.star", table)
    back = read_particles(folder / "a.star", check_images=False)
    assert_same(table, back)
    np.testing.assert_allclose(back.euler_deg, euler, atol=1e-6)
    np.testing.assert_allclose(back.shift_angst, shift, atol=1e-6)
    assert list(back.amplitudes) == modes
    assert back.converged.tolist() == [i % 2 == 0 for i in range(n)]
    assert back.frame.tolist() == [i + 1 for i in range(n)]
    write_star(folder / "b.star", back)
    assert (folder / "a.star").read_bytes() == (folder / "b.star").read_bytes()


def test_typed_columns_of_a_new_table(tmp_path):
    ctf = some_ctf(20)
    table = some_table(tmp_path, 20, ctf=ctf, phase_flipped=True)
    assert (len(table), len(table.optics)) == (20, 2)
    assert table.phase_flipped.all()
    assert (table.sign == 1).all()
    assert table.pixel_size.tolist() == [1.25] * 20
    assert table.stack_path[3] == str(tmp_path.resolve() / "particles.mrcs")
    assert table.stack_index.tolist() == list(range(20))
    for name in vars(ctf):
        np.testing.assert_allclose(getattr(table.ctf, name), getattr(ctf, name), atol=1e-6)
    assert (table.euler_deg, table.shift_angst, table.score, table.converged, table.frame) == (None,) * 5
    assert table.amplitudes == {}
    assert some_table(tmp_path).ctf is None


def test_take_keeps_rows_together(tmp_path):
    table = some_table(tmp_path, 6, ctf=some_ctf(6)).with_amplitudes({7: np.arange(6)})
    for chosen in ([4, 0, 4], np.array([True, False, False, False, True, False])):
        part, rows = table.take(chosen), np.arange(6)[chosen]
        assert part.stack_index.tolist() == rows.tolist()
        assert part.amplitudes[7].tolist() == rows.tolist()
        np.testing.assert_array_equal(part.ctf.voltage_kv, table.ctf.take(chosen).voltage_kv)


def test_tables_do_not_change(tmp_path):
    table = some_table(tmp_path)
    table.with_poses(np.zeros((6, 3)), np.zeros((6, 2)))
    assert table.euler_deg is None


def test_new_amplitudes_replace_all_old_ones(tmp_path):
    table = some_table(tmp_path).with_amplitudes({7: np.ones(6), 8: np.ones(6)}, {7: np.ones(6), 8: np.ones(6)})
    table = table.with_amplitudes({8: np.zeros(6), 12: np.ones(6)})
    assert list(table.amplitudes) == [8, 12]
    assert table.amplitude_std == {}


def test_values_that_are_no_numbers_are_refused(tmp_path):
    table, euler = some_table(tmp_path), np.zeros((6, 3))
    euler[2, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"row 3 \(000003@particles.mrcs\): the new pose"):
        table.with_poses(euler, np.zeros((6, 2)))
    with pytest.raises(NonFiniteError, match="amplitude of mode 9"):
        table.with_amplitudes({9: np.full(6, np.inf)})
    with pytest.raises(ValueError, match="shape"):
        table.with_amplitudes({9: np.zeros(5)})
    assert np.isnan(table.with_results(score=np.full(6, np.nan)).score).all()


def test_downsampling_changes_pixels_not_shifts(tmp_path):
    (tmp_path / "a.star").write_text(
        "data_\nloop_\n_rlnImageName\n_rlnMagnification\n_rlnDetectorPixelSize\n_rlnOriginX\n_rlnOriginY\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n"
        "1@s.mrcs 10000 1.5 2 -4 10 20 30\n2@s.mrcs 10000 3.0 2 -4 10 20 30\n"
    )
    table = read_particles(tmp_path / "a.star", check_images=False)
    assert table.pixel_size.tolist() == [1.5, 3.0]
    half = table.with_downsampled(16, [3.0, 6.0])
    assert half.pixel_size.tolist() == [3.0, 6.0]
    np.testing.assert_array_equal(half.shift_angst, table.shift_angst)
    assert half.particles.numbers("rlnOriginX").tolist() == [1, 1]
    assert half.particles.numbers("rlnDetectorPixelSize").tolist() == [3, 6]
    assert half.optics.text("rlnImageSize") == ["16", "16"]


def test_new_images_are_relative_to_the_written_file(tmp_path):
    (tmp_path / "out").mkdir()
    table = some_table(tmp_path).with_images([f"{i + 1}@made.mrcs" for i in range(6)], tmp_path / "out")
    write_star(tmp_path / "out" / "a.star", table)
    assert read_particles(tmp_path / "out" / "a.star", check_images=False).image_name[0] == "1@made.mrcs"


def test_names_follow_the_file_through_links(tmp_path):
    for folder in ("data/deep", "real/project/run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/project/run")
    table = some_table(tmp_path / "data/deep")
    (tmp_path / "data/deep/particles.mrcs").touch()
    write_star(tmp_path / "link/a.star", table)
    back = read_particles(tmp_path / "link/a.star", check_images=False)
    assert back.image_name[0] == "000001@../../../data/deep/particles.mrcs"
    assert (
        tmp_path / "real/project/run" / back.image_name[0].split("@")[1]
    ).resolve() == tmp_path.resolve() / "data/deep/particles.mrcs"


def test_names_with_spaces_are_quoted_and_said(tmp_path, caplog):
    (tmp_path / "my data").mkdir()
    table = some_table(tmp_path / "my data")
    write_star(tmp_path / "a.star", table)
    assert "older RELION versions cannot read them" in caplog.text
    assert read_particles(tmp_path / "a.star", check_images=False).stack_path == table.stack_path


def test_many_rows(tmp_path):
    n = 20000
    table = some_table(tmp_path, n, ctf=some_ctf(n)).with_poses(np.zeros((n, 3)), np.zeros((n, 2)))
    write_star(tmp_path / "a.star", table)
    assert len(read_particles(tmp_path / "a.star", check_images=False)) == n


def test_unknown_optics_group(tmp_path):
    (tmp_path / "a.star").write_text(
        "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 1.0\n\n"
        "data_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@a.mrcs 1\n2@a.mrcs 3\n"
    )
    with pytest.raises(InputError, match="row 2, _rlnOpticsGroup: found group 3"):
        read_particles(tmp_path / "a.star", check_images=False)
