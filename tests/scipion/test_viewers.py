"""Figures are made without a screen, from sets of this and of other plugins."""

import matplotlib

matplotlib.use("Agg")

import mrcfile
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pwem.objects import NormalMode, Particle, SetOfNormalModes, SetOfParticles
from pyworkflow.object import CsvList, Float

from continuousflex_dl.convert import ConversionError, set_amplitudes
from continuousflex_dl.viewers import plots
from continuousflex_dl.viewers.data import amplitude_values, space_values
from continuousflex_dl.viewers.viewer_amplitudes import chosen, scatter_figure
from continuousflex_dl.viewers.viewer_fit import agreement_figure, amplitude_figure, course_figure
from continuousflex_dl.viewers.viewer_maps import curves_figure, slices_figure
from continuousflex_dl.viewers.viewer_modes import fluctuation_figure, mode_figure, overlap_figure, profile_figure
from continuousflex_dl.viewers.viewer_rank import evidence_figure
from continuousflex_dl.viewers.viewer_space import energy_figure
from continuousflex_dl.wizards.mode_selection import mode_rows, provider, suggestion


def draw(figure):
    """Render, so that a broken axis fails here."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    assert image[..., :3].std() > 0
    return image


@pytest.fixture
def particles(tmp_path):
    """Twelve particles with amplitudes of modes 7, 8, 10 and a score, two of them without convergence."""
    from pyworkflow.object import Integer

    rng = np.random.default_rng(0)
    found = SetOfParticles(filename=str(tmp_path / "p.sqlite"))
    found.setSamplingRate(1.0)
    found._firstDim.set((8, 8, 1))
    for number in range(12):
        item = Particle()
        item.setObjId(number + 1)
        item.setLocation(number + 1, "a.mrcs")
        set_amplitudes(item, (7, 8, 10), rng.normal(size=3).tolist())
        item._cflexScore = Float(0.5 + 0.01 * number)
        item._cflexConverged = Integer(int(number > 1))
        found._insertItem(item)
        found._size.increment()
    return found


@pytest.fixture
def modes(tmp_path):
    found = SetOfNormalModes(filename=str(tmp_path / "m.sqlite"))
    for number in (7, 8, 9):
        np.savetxt(tmp_path / f"vec.{number}", np.random.default_rng(number).normal(size=(20, 3)))
        item = NormalMode(modeFile=str(tmp_path / f"vec.{number}"), collectivity=0.1 * number, score=0.2)
        item.setObjId(number)
        item.setEnabled(number != 9)
        found.append(item)
    return found


def test_amplitudes_and_scores_are_read(particles):
    found = amplitude_values(particles)
    assert found.values.shape == (12, 3)
    assert found.names == ("mode 7", "mode 8", "mode 10")
    assert found.converged.sum() == 10
    assert found.has_score


@pytest.mark.parametrize("selection", ["", "7", "8,10", "10,7,8"])
def test_scatter_of_chosen_modes(particles, selection):
    found = amplitude_values(particles)
    figure = scatter_figure(found, selection)
    draw(figure)
    axes = figure.axes[0]
    if selection == "8,10":
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("mode 8 (Å)", "mode 10 (Å)")
        drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets())])
        np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(found.values[:, 1]))
        assert "2 not converged" in axes.get_title()


@pytest.mark.parametrize(("selection", "message"), [("9", "no amplitude of mode 9"), ("x", "expected mode numbers")])
def test_wrong_choice_is_said(particles, selection, message):
    with pytest.raises(ConversionError, match=message):
        chosen(amplitude_values(particles), selection)


def test_particles_without_amplitudes_are_said(tmp_path):
    empty = SetOfParticles(filename=str(tmp_path / "e.sqlite"))
    with pytest.raises(ConversionError, match="no amplitudes"):
        amplitude_values(empty)


def test_set_of_another_plugin_without_score(tmp_path):
    found = SetOfParticles(filename=str(tmp_path / "p.sqlite"))
    for number in range(3):
        item = Particle()
        item.setObjId(number + 1)
        item.setLocation(number + 1, "a.mrcs")
        item._xmipp_nmaDisplacements = CsvList()
        item._xmipp_nmaDisplacements.set([str(number), "2.5"])
        found._insertItem(item)
    values = amplitude_values(found)
    assert values.names == ("mode 7", "mode 8")
    assert not values.has_score
    draw(scatter_figure(values, ""))


def test_bars_and_profile(modes):
    figure = mode_figure(modes, "collectivity", 0.75)
    draw(figure)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([0.7, 0.8, 0.9])
    assert figure.axes[0].patches[2].get_facecolor() != figure.axes[0].patches[0].get_facecolor()
    draw(profile_figure(modes, 8))
    with pytest.raises(ConversionError, match="no mode 12"):
        profile_figure(modes, 12)
    with pytest.raises(ConversionError, match="no eigenvalue"):
        mode_figure(modes, "eigenvalue")


def test_profile_is_by_residue_where_the_run_names_them(modes, tmp_path):
    rows = [f"{k},{'A' if k < 12 else 'B'},{k // 4},ALA,CA" for k in range(20)]
    (tmp_path / "f.csv").write_text("\n".join(["node,chain,residue,residue_name,atom", *rows]) + "\n")
    figure = profile_figure(modes, 8, str(tmp_path / "f.csv"))
    draw(figure)
    lines = figure.axes[0].lines
    assert [len(line.get_xdata()) for line in lines[:2]] == [3, 2]
    square = (np.loadtxt(tmp_path / "vec.8") ** 2).sum(axis=1).reshape(5, 4).mean(axis=1)
    drawn = np.concatenate([line.get_ydata() for line in lines[:2]])
    np.testing.assert_allclose(drawn, np.sqrt(square / square.max()))


def test_tables_of_a_run(tmp_path):
    table = "mode,overlap,cumulative_overlap,amplitude_angst,rmsd_left_angst\n7,0.8,0.8,83,4.29\n8,0.28,0.85,-29,3.81\n"
    (tmp_path / "overlap.csv").write_text(table)
    figure = overlap_figure(str(tmp_path / "overlap.csv"))
    draw(figure)
    assert [patch.get_height() for patch in figure.axes[0].patches] == pytest.approx([0.8, 0.28])
    assert "3.81" in figure.axes[0].get_title()
    with pytest.raises(ConversionError, match="no target"):
        overlap_figure(str(tmp_path / "absent.csv"))
    rows = [f"{k},A,{k},ALA,CA,0.1,{10 + k},{12 + k}" for k in range(5)]
    header = "node,chain,residue,residue_name,atom,mean_square,b_predicted,b_in_file"
    (tmp_path / "fluctuations.csv").write_text("\n".join([header, *rows]) + "\n")
    figure = fluctuation_figure(str(tmp_path / "fluctuations.csv"))
    draw(figure)
    assert "correlation 1.00" in figure.axes[0].get_title()
    (tmp_path / "fluctuations.csv").write_text(f"{header}\n1,A,1,ALA,CA,0.1,,0.0\n")
    with pytest.raises(ConversionError, match="no B factors"):
        fluctuation_figure(str(tmp_path / "fluctuations.csv"))


def test_histogram_leaves_out_nan():
    figure = plots.histogram(np.array([1.0, 2.0, np.nan, 3.0]), "mode 7")
    draw(figure)
    assert figure.axes[0].get_title().startswith("mean 2,") or figure.axes[0].get_title().startswith("mean 2")


def test_a_million_points_are_thinned():
    figure = plots.scatter(np.zeros((1_000_000, 2)), ("a", "b"))
    assert "100000 of 1000000" in figure.axes[0].get_title()


def test_four_dimensions_are_refused():
    with pytest.raises(ValueError, match="expected"):
        plots.scatter(np.zeros((5, 4)), "abcd")


def test_space_leaves_out_padding(tmp_path):
    from pwem.objects import ParticleFlex, SetOfParticlesFlex

    found = SetOfParticlesFlex(filename=str(tmp_path / "f.sqlite"), progName="x")
    for number in range(4):
        item = ParticleFlex(progName="x")
        item.setObjId(number + 1)
        item.setLocation(number + 1, "a.mrcs")
        item.setZRed([1.0 * number, 2.0, 0.0])
        found._insertItem(item)
    assert space_values(found).values.shape == (4, 2)


def test_wizard_lists_the_modes(modes):
    rows = mode_rows(modes)
    assert [number for number, _ in rows] == [7, 8, 9]
    assert rows[0][1][0] == "0.7"
    assert [texts[-1] for _, texts in rows] == ["yes", "yes", "no"]


def test_curves_and_slices_of_a_reconstruction(tmp_path):
    rows = ["shell,frequency_per_angst,resolution_angst,halves,model"]
    rows += [f"{k},{k / 100},inf,{1 - k / 20},{1 - k / 15}" for k in range(20)]
    (tmp_path / "map_fsc.csv").write_text("\n".join(rows) + "\n")
    figure = curves_figure(str(tmp_path / "map_fsc.csv"))
    draw(figure)
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(drawn["model"], 1 - np.arange(20) / 15)
    values = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    with mrcfile.new(tmp_path / "map.mrc") as file:
        file.set_data(values)
        file.voxel_size = 2.0
    figure = slices_figure(str(tmp_path / "map.mrc"))
    draw(figure)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), values[3])
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), values[:, :, 4])
    assert figure.axes[0].images[0].get_extent() == [-8, 8, -7, 7]
    for path in ("none.csv", "map.mrc"):
        with pytest.raises(ConversionError, match="cannot be read as correlations"):
            curves_figure(str(tmp_path / path))


def test_free_energy_and_groups(tmp_path):
    rng = np.random.default_rng(0)
    x, y = np.linspace(-1, 1, 20), np.linspace(-2, 2, 30)
    energy = 3 * (x[:, None] ** 2 + y**2)
    energy[0, 0] = np.nan
    arrays = {"grid_1": x, "grid_2": y, "energy": energy, "std": energy / 10, "basin_minima": np.zeros((1, 2))}
    np.savez(tmp_path / "landscape.npz", **arrays)
    draw(energy_figure(str(tmp_path / "landscape.npz")))
    np.savez(tmp_path / "line.npz", grid_1=x, energy=x**2, std=x * 0 + 0.1, basin_minima=np.zeros((1, 1)))
    draw(energy_figure(str(tmp_path / "line.npz")))
    with pytest.raises(ConversionError, match="no free energy"):
        energy_figure(str(tmp_path / "none.npz"))
    labels = rng.integers(0, 3, 500)
    figure = plots.grouped(rng.normal(size=(500, 2)), ("a", "b"), labels, ("one", "two"))
    draw(figure)
    assert [len(found.get_offsets()) for found in figure.axes[0].collections] == np.bincount(labels).tolist()


def test_ranked_modes_come_first_in_the_wizard(modes, tmp_path):
    assert suggestion(modes) == ()
    ranked = SetOfNormalModes(filename=str(tmp_path / "r.sqlite"))
    for item, gain in zip(modes.iterItems(), (0.1, 2.5, -0.2), strict=True):
        copy = item.clone(copyEnable=True)
        copy._cflexGain, copy._cflexGainError, copy._cflexOverlap = Float(gain), Float(0.1), Float(0.5)
        copy.setEnabled(gain > 1)
        ranked.append(copy)
    modes = ranked
    rows = mode_rows(modes)
    assert [number for number, _ in rows] == [8, 7, 9]
    assert rows[0][1][-2:] == ("2.5 +- 0.1", "0.5")
    listed = provider(rows, suggestion(modes))
    assert [column for column, _ in listed.getColumns()][-2:] == ["Evidence", "Overlap"]
    first = listed.getObjects()[0]
    assert first.numbers == (8,)
    assert listed.getObjectInfo(first)["values"][0] == "by the images"


def test_figures_of_fits_and_rankings(tmp_path):
    figures = {
        "maps": ["a.mrc"], "modes": [7, 8, 9], "amplitudes_angst": [[10.0, -5.0, 1.0]],
        "amplitudes_std_angst": [[1.0, 1.0, 1.0]], "gain": [[0.1, 0.02, 0.0]],
    }  # fmt: skip
    draw(amplitude_figure(figures, 0))
    with pytest.raises(ConversionError, match="no fit 2"):
        amplitude_figure(figures, 1)
    (tmp_path / "fsc.csv").write_text("frequency_per_angst,fitted,at_rest\n0,1,1\n0.1,0.9,0.5\n0.2,0.3,0.1\n")
    draw(agreement_figure(str(tmp_path / "fsc.csv")))
    (tmp_path / "fits.csv").write_text("map,mode_7,mode_7_std\na.mrc,10,1\nb.mrc,20,2\n")
    draw(course_figure(str(tmp_path / "fits.csv")))
    header = "rank,mode,supported,gain,gain_error,collectivity"
    (tmp_path / "ranking.csv").write_text(f"{header}\n1,8,1,2.5,0.1,0.5\n2,7,0,0.1,0.1,0.3\n")
    figure = evidence_figure(str(tmp_path / "ranking.csv"))
    draw(figure)
    assert [patch.get_height() for patch in figure.axes[0].patches] == pytest.approx([0.1, 2.5])
    with pytest.raises(ConversionError, match="not ranked"):
        evidence_figure(str(tmp_path / "absent.csv"))
