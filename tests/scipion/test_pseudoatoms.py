"""Scipion volumes become maps with their origin, and the figures of pseudoatoms are made without a screen."""

import matplotlib

matplotlib.use("Agg")

import mrcfile
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pwem.objects import Volume

from continuousflex_dl.convert import ConversionError, new_volume, prepare_volume
from continuousflex_dl.viewers.viewer_pseudoatoms import curve_figure, slices_figure


@pytest.fixture
def map_file(tmp_path):
    path = tmp_path / "a.mrc"
    values = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    with mrcfile.new(path) as opened:
        opened.set_data(values)
        opened.voxel_size = 2.0
        opened.header.nxstart = -3
    return path


def drawn(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].std() > 0


def test_volume_without_own_origin_is_its_file(map_file, tmp_path):
    volume = Volume(location=f"{map_file}:mrc")
    volume.setSamplingRate(2.0)
    assert prepare_volume(volume, tmp_path / "copy.mrc") == str(map_file)
    assert not (tmp_path / "copy.mrc").exists()


def test_origin_of_scipion_goes_into_a_copy(map_file, tmp_path):
    volume = new_volume(str(map_file), 2.0, (-10.0, 5.0, 2.5))
    path = prepare_volume(volume, tmp_path / "input" / "copy.mrc")
    with mrcfile.open(path) as copy, mrcfile.open(map_file) as original:
        assert [float(copy.header.origin[axis]) for axis in "xyz"] == [-10.0, 5.0, 2.5]
        assert int(copy.header.nxstart) == 0
        np.testing.assert_array_equal(copy.data, original.data)
        assert int(original.header.nxstart) == -3


def test_missing_file_is_said(tmp_path):
    volume = Volume(location=str(tmp_path / "gone.mrc"))
    with pytest.raises(ConversionError, match=r"not there.*gone\.mrc"):
        prepare_volume(volume, tmp_path / "copy.mrc")


def test_figures(map_file, tmp_path):
    model = tmp_path / "model.mrc"
    with mrcfile.open(map_file) as opened, mrcfile.new(model) as copy:
        copy.set_data(0.9 * opened.data)
    assert drawn(slices_figure(str(map_file), str(model)))
    assert drawn(slices_figure(str(map_file), str(model), mirrored=True))
    with mrcfile.new(model, overwrite=True) as copy:
        copy.set_data(np.zeros((7, 7, 8), dtype=np.float32))
    with pytest.raises(ConversionError, match="another order"):
        slices_figure(str(map_file), str(model))
    (tmp_path / "fsc.csv").write_text("frequency_per_angst,correlation\n0,1\n0.1,0.9\n0.2,0.3\n")
    figure = curve_figure(str(tmp_path / "fsc.csv"))
    assert drawn(figure)
    assert figure.axes[0].get_xlim()[1] == pytest.approx(0.2)
