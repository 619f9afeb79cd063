"""Filters, masks, maps of structures, and map files."""

import mrcfile
import numpy as np
import pytest
import torch

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.reconstruction.filters import automatic_mask, radial_filter, sphere_mask
from continuousflex_dl.core.reconstruction.map_files import centred_origin, read_cube, read_map, write_map
from continuousflex_dl.core.reconstruction.model_map import model_map
from continuousflex_dl.core.simulation.images import rasterise


def wave(box, frequency):
    """Cosine along x with so many periods in the box."""
    return torch.cos(2 * torch.pi * frequency * torch.arange(box) / box).expand(box, box, box)


@pytest.mark.parametrize(("frequency", "kept"), [(3, 1.0), (8, 0.5), (13, 0.0)])
def test_low_pass_halves_the_amplitude_at_its_resolution(frequency, kept):
    signal = wave(32, frequency)
    filtered = radial_filter(signal, 1.5, low_pass=32 * 1.5 / 8)
    assert float((filtered * signal).sum() / (signal * signal).sum()) == pytest.approx(kept, abs=1e-5)


@pytest.mark.parametrize("b_factor", [80.0, -80.0])
def test_b_factor_changes_amplitudes_by_its_formula(b_factor):
    signal = wave(32, 6)
    s = 6 / (32 * 1.5)
    filtered = radial_filter(signal, 1.5, b_factor=b_factor)
    assert float((filtered * signal).sum() / (signal * signal).sum()) == pytest.approx(np.exp(-b_factor * s**2 / 4))


def test_no_filter_changes_nothing():
    volume = torch.randn(15, 15, 15, generator=torch.Generator().manual_seed(0))
    assert radial_filter(volume, 2.0).numpy() == pytest.approx(volume.numpy(), abs=1e-5)


def test_automatic_mask_covers_the_particle_and_leaves_the_solvent():
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(400, 3, generator=generator))
    atoms = direction * 20 * torch.rand(400, 1, generator=generator) ** (1 / 3)  # a ball of 20 Å
    density = model_map(atoms, torch.ones(400), 2.0, 48, 2.0)
    noisy = density + 0.02 * density.max() * torch.randn(density.shape, generator=generator)
    mask = automatic_mask(noisy, 2.0)
    assert float(mask.min()) == 0.0
    assert float(mask.max()) == 1.0
    assert float((density * mask).sum() / density.sum()) > 0.99
    assert float(mask.mean()) < 0.25
    assert float(((mask > 0.01) & (mask < 0.99)).float().mean()) > 0.02  # the edge is soft
    with pytest.raises(ValueError, match="nothing in the map"):
        automatic_mask(torch.zeros(48, 48, 48), 2.0)


def test_sphere_mask_is_centred():
    mask = sphere_mask(21, 5.0, 2.0)
    assert float(mask[10, 10, 10]) == 1.0
    assert torch.equal(mask, mask.flip((0, 1, 2)))
    assert float(mask[10, 10, 15]) == 1.0
    assert float(mask[10, 10, 18]) == 0.0


@pytest.mark.parametrize("box", [40, 41])
def test_map_of_a_structure_projects_to_its_image(box):
    """Summed along an axis it is the image that the simulation makes, a different calculation."""
    generator = torch.Generator().manual_seed(1)
    atoms = torch.randn(30, 3, generator=generator).double() * 6
    weights = torch.rand(30, generator=generator) + 0.5
    volume = model_map(atoms, weights, 1.7, box, 1.4)
    assert float(volume.sum()) == pytest.approx(float(weights.sum()), rel=1e-3)
    for axis, (first, second) in ((0, (0, 1)), (1, (0, 2)), (2, (1, 2))):
        image = rasterise(atoms[None, :, [first, second]].float(), weights, 1.7, box, 1.4)[0]
        assert (volume.sum(axis) - image).abs().max() < 1e-5 * volume.sum(axis).max() + 1e-6


def test_maps_on_disk_keep_values_size_and_place(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)
    origin = centred_origin(6, 1.3, (10.0, 20.0, -5.0))
    write_map(tmp_path / "a.mrc", values, 1.3, origin)
    found = read_cube(tmp_path / "a.mrc")
    np.testing.assert_array_equal(found.values, values)
    assert found.pixel_size == pytest.approx(1.3)
    assert found.origin == pytest.approx((10 - 3.9, 20 - 3.9, -5 - 3.9))
    write_map(tmp_path / "b.mrc", values, 1.3, origin)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()
    assert mrcfile.validate(tmp_path / "a.mrc")


def test_axes_in_another_order_are_put_right(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)  # z, y, x
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.ascontiguousarray(np.transpose(values, (2, 0, 1))))  # sections are x, rows z, columns y
        file.header.mapc, file.header.mapr, file.header.maps = 2, 3, 1
        file.header.mx, file.header.my, file.header.mz = 6, 5, 4
        file.header.cella = (6 * 2.0, 5 * 2.0, 4 * 2.0)
        file.header.nxstart, file.header.nystart, file.header.nzstart = 2, 3, 1  # of y, z, x
    found = read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(found.values, values)
    assert found.pixel_size == pytest.approx(2.0)
    assert found.origin == pytest.approx((2.0, 4.0, 6.0))


def test_real_maps_are_read(shared_data):
    with pytest.raises(InputError, match="expected cubes"):
        read_map(shared_data / "maps/EMD-3001.map")  # a crystal's: 0.448 x 0.393 x 0.459 Å, axes z, x, y
    assert read_map(shared_data / "maps/EMD-3001.map", 1.0).values.shape == (73, 25, 43)
    assert read_cube(shared_data / "maps/emd_5168.map").pixel_size == pytest.approx(1.742, abs=0.001)
    assert read_map(shared_data / "maps/1ake.mrc").origin == pytest.approx((-64, -64, -64))
    assert read_map(shared_data / "maps/EMD-3197.map").origin != (0.0, 0.0, 0.0)  # nxstart and no origin


def test_bad_maps_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_map(tmp_path / "none.mrc")
    (tmp_path / "text.mrc").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as an MRC map"):
        read_map(tmp_path / "text.mrc")
    values = np.zeros((3, 3, 3), np.float32)
    values[1, 1, 1] = np.nan
    write_map(tmp_path / "nan.mrc", values, 1.0)
    with pytest.raises(NonFiniteError, match=r"nan\.mrc"):
        read_map(tmp_path / "nan.mrc")
    with mrcfile.new(tmp_path / "flat.mrc") as file:
        file.set_data(np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="three-dimensional"):
        read_map(tmp_path / "flat.mrc")
    with mrcfile.new(tmp_path / "oblong.mrc") as file:
        file.set_data(np.zeros((4, 4, 4), np.float32))
        file.voxel_size = (1.0, 1.0, 2.0)
    with pytest.raises(InputError, match="expected cubes"):
        read_map(tmp_path / "oblong.mrc")
    write_map(tmp_path / "sizeless.mrc", np.zeros((3, 3, 3)), 0.0)
    with pytest.raises(InputError, match="no pixel size"):
        read_cube(tmp_path / "sizeless.mrc")
    assert read_cube(tmp_path / "sizeless.mrc", 2.0).pixel_size == 2.0
