"""Several particle tables as one."""

import mrcfile
import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.particle_table import CtfParameters, ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.particles.merge import merge_tables
from continuousflex_dl.core.particles.stack import ImageStack


def write_set(folder, count, voltage, seed):
    """Particles with images in a folder of their own, and one CTF."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    with mrcfile.new(folder / "p.mrcs") as file:
        file.set_data(rng.normal(size=(count, 8, 8)).astype(np.float32))
        file.voxel_size = 2.0
    full = lambda value: np.full(count, float(value))  # noqa: E731
    ctf = CtfParameters(full(voltage), full(2.7), full(0.1), full(9000), full(9000), full(0), full(0))
    table = ParticleTable.create([f"{i + 1}@p.mrcs" for i in range(count)], 2.0, folder=folder, box=8, ctf=ctf)
    table = table.with_amplitudes({7: rng.normal(size=count)})
    write_star(folder / "particles.star", table)
    return read_particles(folder / "particles.star")


def test_particles_keep_their_images_optics_and_order(tmp_path):
    first, second = write_set(tmp_path / "a", 3, 300, 0), write_set(tmp_path / "b", 2, 200, 1)
    second = second.with_results(score=[0.5, 0.6])
    merged, dropped = merge_tables([first, second], tmp_path / "both.star")
    assert dropped == ["cflexScore"]
    (tmp_path / "out").mkdir()
    write_star(tmp_path / "out" / "both.star", merged)
    read = read_particles(tmp_path / "out" / "both.star")
    assert read.ctf.voltage_kv.tolist() == [300, 300, 300, 200, 200]
    assert read.numbers("cflexSet").tolist() == [1, 1, 1, 2, 2]
    np.testing.assert_allclose(read.amplitudes[7], [*first.amplitudes[7], *second.amplitudes[7]], atol=1e-6)
    images = ImageStack(read).read([4, 0])
    np.testing.assert_array_equal(images[0], ImageStack(second).read([1])[0])
    np.testing.assert_array_equal(images[1], ImageStack(first).read([0])[0])
    assert read.optics.text("rlnOpticsGroup") == ["1", "2"]


def test_sets_with_other_optics_columns_are_refused(tmp_path):
    first = write_set(tmp_path / "a", 2, 300, 0)
    names = [f"{i + 1}@p.mrcs" for i in range(2)]
    bare = ParticleTable.create(names, 2.0, folder=tmp_path / "a", box=8)
    with pytest.raises(InputError, match=r"_rlnAmplitudeContrast, _rlnSphericalAberration, _rlnVoltage"):
        merge_tables([first, bare], tmp_path / "x.star")
