"""The space of a set, or of a subset of it, as a directory; latents as HDF5."""

import h5py
import numpy as np
import pytest
from pwem.objects import ParticleFlex, SetOfParticlesFlex
from pyworkflow.object import Integer

from continuousflex_dl.convert import (
    ConversionError,
    read_groups,
    space_folder_of,
    write_latents,
    write_space_folder,
)
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles, write_star

N = 6


@pytest.fixture
def made(tmp_path):
    """A space of six particles on disk, and a way to make Scipion sets of some of them."""
    folder = tmp_path / "space"
    folder.mkdir()
    arrays = {
        "coordinates": np.arange(2.0 * N).reshape(N, 2), "mean": np.zeros(2), "components": np.eye(2),
        "explained_variance_ratio": np.array([0.7, 0.3]), "modes": np.array([7, 8]), "method": np.array("pca"),
        "converged": np.arange(N) > 0, "distance": np.arange(N) / 2, "groups": np.zeros(0, dtype=int),
        "conformations": np.array(["../conformations.h5"]),
    }  # fmt: skip
    np.savez(folder / "space.npz", **arrays)
    np.savez(folder / "modes.npz", x=1)
    np.savez(folder / "landscape.npz", x=1)
    names = [f"{i + 1}@p.mrcs" for i in range(N)]
    write_star(folder / "particles.star", ParticleTable.create(names, 1.5, folder=folder, box=8))

    def particles(rows, **attributes):
        number = len(list(tmp_path.glob("*.sqlite")))
        found = SetOfParticlesFlex(filename=str(tmp_path / f"set{number}.sqlite"), progName="x")
        found.setSamplingRate(1.5)
        for number, row in enumerate(rows):
            item = ParticleFlex(progName="x")
            item.setObjId(number + 1)
            item.setLocation(row + 1, "p.mrcs")
            item.setZFlex(attributes.get("latent", [[row, -row]] * len(rows))[number])
            if attributes.get("known", True):
                item._cflexSpaceRow = Integer(row + 1)
            found._insertItem(item)
        return found

    return folder, particles


def test_a_whole_set_keeps_everything(made, tmp_path):
    folder, particles = made
    assert write_space_folder(particles(range(N)), folder, tmp_path / "copy") == N
    with np.load(folder / "space.npz") as old, np.load(tmp_path / "copy/space.npz") as new:
        np.testing.assert_array_equal(old["coordinates"], new["coordinates"])
        assert new["conformations"].tolist() == ["../conformations.h5"]
    assert (tmp_path / "copy/landscape.npz").exists()
    assert (tmp_path / "copy/modes.npz").exists()


def test_a_subset_takes_its_rows_and_no_free_energy_of_others(made, tmp_path):
    folder, particles = made
    assert write_space_folder(particles([4, 1, 2]), folder, tmp_path / "part") == 3
    with np.load(tmp_path / "part/space.npz") as new:
        assert new["coordinates"].tolist() == [[8, 9], [2, 3], [4, 5]]
        assert new["distance"].tolist() == [2.0, 0.5, 1.0]
        assert new["components"].shape == (2, 2)
        assert len(new["conformations"]) == 0
    assert not (tmp_path / "part/landscape.npz").exists()
    table = read_particles(tmp_path / "part/particles.star", check_images=False)
    assert table.stack_index.tolist() == [4, 1, 2]
    with pytest.raises(ConversionError, match="no column _cflexGroup"):
        read_groups(tmp_path / "part/particles.star")


def test_particles_of_no_space_are_named(made, tmp_path):
    folder, particles = made
    with pytest.raises(ConversionError, match="particle 1 does not say where"):
        write_space_folder(particles([0, 1], known=False), folder, tmp_path / "x")
    with pytest.raises(ConversionError, match="has 6 particles"):
        write_space_folder(particles([7]), folder, tmp_path / "x")
    lonely = particles([3])
    assert space_folder_of(lonely, "cflexSpace") is None
    lonely.getFlexInfo().setAttr("cflexSpace", str(folder))
    assert space_folder_of(lonely, "cflexSpace") == str(folder)
    lonely.getFlexInfo().setAttr("cflexSpace", str(tmp_path / "gone"))
    assert space_folder_of(lonely, "cflexSpace") is None


def test_latents_are_written_in_order(made, tmp_path):
    _, particles = made
    assert write_latents(particles([3, 0, 5]), tmp_path / "input/conformations.h5") == 3
    with h5py.File(tmp_path / "input/conformations.h5") as file:
        assert file["latent"][()].tolist() == [[3, -3], [0, 0], [5, -5]]
    with pytest.raises(ConversionError, match="particle 2 has a latent of 1 numbers, expected 2"):
        write_latents(particles([1, 2], latent=[[1, 2], [3]]), tmp_path / "x.h5")
