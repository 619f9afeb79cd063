"""`cflex plot`: the figure shows the particles where they are, in the colours of the web viewer."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

import continuousflex_dl.app
from continuousflex_dl.cli.main import main
from continuousflex_dl.cli.report import plane
from continuousflex_dl.core.space.result import Space

N = 400
LEFT = {
    "how": "new",
    "columns": ["cflexSpace1", "cflexSpace2"],
    "outline": [[-200, -50], [0, -50], [0, 50], [-200, 50]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two states in a space of three axes; a particle file with scores; a selection of the left state."""
    path = tmp_path_factory.mktemp("space")
    rng = np.random.default_rng(0)
    state = np.repeat([-60.0, 60.0], N // 2)
    coordinates = np.stack([state, np.zeros(N), np.zeros(N)], axis=1) + rng.normal(size=(N, 3)) * [15, 10, 5]
    Space(
        coordinates=coordinates,
        mean=np.zeros(3),
        components=np.eye(3),
        explained_variance_ratio=np.array([0.9, 0.08, 0.02]),
        modes=np.array([7, 8, 9]),
        method="pca",
        converged=np.arange(N) % 10 > 0,
        groups=np.repeat([1, 2], N // 2),
        set_index=np.zeros(N, dtype=np.int64),
        distance=np.zeros(N),
    ).save(path / "space.npz")
    rows = "".join(f"{k + 1:06d}@x.mrcs 1 {k / N:.4f} {1 + k % 2}\n" for k in range(N))
    (path / "particles.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 2.0\n\ndata_particles\n\nloop_\n"
        f"_rlnImageName #1\n_rlnOpticsGroup #2\n_cflexScore #3\n_rlnClassNumber #4\n{rows}"
    )
    (path / "left.json").write_text(json.dumps({"format": 1, "steps": [LEFT]}))
    return path


def plot(*arguments):
    return main(["plot", *map(str, arguments)])


@pytest.fixture
def views(monkeypatch):
    """What is handed to the drawing, and the figures that come of it."""
    seen = []

    def spy(view, draw=plane.draw):
        seen.append((view, draw(view)))
        return seen[-1][1]

    monkeypatch.setattr(plane, "draw", spy)
    return seen


def test_colours_are_those_of_the_viewer():
    text = (Path(continuousflex_dl.app.__file__).parent / "static" / "tools.js").read_text()
    colours = dict(re.findall(r"export const (INK|SELECTED) = '(#\w+)'", text))
    assert colours == {"INK": plane.INK, "SELECTED": plane.SELECTED}
    groups = re.search(r"export const GROUPS = \[(.*?)\]", text)[1]
    assert tuple(re.findall(r"'(#\w+)'", groups)) == plane.GROUPS


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_same_command_gives_the_same_bytes(folder, tmp_path, kind):
    words = ["--selection", folder / "left.json", "--axis", 1, "--at=-10,5,0", "--dpi", 60]
    for name in ("a", "b"):
        assert plot(folder, "-o", tmp_path / f"{name}.{kind}", *words) == 0
    first, second = (tmp_path / f"{name}.{kind}" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[kind])
    assert main(["rerun", str(tmp_path / "a.json"), "-o", str(tmp_path / f"c.{kind}")]) == 0
    assert (tmp_path / f"c.{kind}").read_bytes() == first.read_bytes()


def test_particles_stand_at_their_places_with_units(folder, tmp_path, views):
    assert plot(folder, "-o", tmp_path / "a.png", "--dpi", 60) == 0
    view, figure = views[0]
    np.testing.assert_allclose(view.points, Space.load(folder).coordinates[:, :2])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("PC1 (90 %) [Å]", "PC2 (8 %) [Å]")
    assert figure.axes[1].get_ylabel() == "local density"
    assert not view.is_sample


def test_few_points_stand_over_the_density_of_all(folder, tmp_path, views, capsys):
    assert plot(folder, "-o", tmp_path / "a.png", "--points", 50, "--dpi", 60, "--palette", "cividis") == 0
    view, figure = views[0]
    assert len(view.points) == 50
    (image,) = figure.axes[0].images
    counts = 10 ** np.ma.getdata(image.get_array()) - 1
    assert counts.sum() == pytest.approx(view.scene.inside)
    assert N - 4 <= view.scene.inside <= N  # all but the farthest
    assert image.get_cmap().name == "cividis"
    assert figure.axes[1].get_ylabel() == "particles per cell"
    assert f"50 of {view.scene.inside} particles as points" in capsys.readouterr().out


def test_window_and_selection(folder, tmp_path, views, capsys):
    words = ["--window=-100,0,-20,20", "--selection", folder / "left.json", "--dpi", 60]
    assert plot(folder, "-o", tmp_path / "a.png", *words) == 0
    view, figure = views[0]
    axes = figure.axes[0]
    assert (*axes.get_xlim(), *axes.get_ylim()) == (-100, 0, -20, 20)
    space = Space.load(folder)
    x, y = space.coordinates[:, :2].T
    inside = (x >= -100) & (x <= 0) & (np.abs(y) <= 20)
    assert len(view.points) == inside.sum() == view.scene.inside
    left = (x < 0) & (np.abs(y) < 50) & space.converged  # as cflex group takes them
    assert sorted(view.selected[:, 0]) == sorted(x[left])
    np.testing.assert_array_equal(view.outline, LEFT["outline"])
    assert f"{left.sum()} of {N} particles selected" in capsys.readouterr().out
    assert plot(folder, "-o", tmp_path / "b.png", "--keep-unconverged", *words) == 0
    assert len(views[1][0].selected) == ((x < 0) & (np.abs(y) < 50)).sum()
    # an outline in other columns is not drawn
    assert plot(folder, "-o", tmp_path / "c.png", "--y", "PC3", "--selection", folder / "left.json", "--dpi", 60) == 0
    assert not len(views[2][0].outline)
    assert len(views[2][0].selected) == left.sum()


def test_selection_of_another_space_is_crossed(folder, tmp_path, views, capsys):
    """The other space has half of the particles, backwards; those selected there are the ones crossed here."""
    rows = np.arange(N)[::-2]
    other = tmp_path / "other"
    other.mkdir()
    whole = Space.load(folder)
    scores = np.random.default_rng(1).normal(size=(len(rows), 3))
    kept = {"groups": whole.groups[rows], "converged": np.ones(len(rows), bool), "set_index": np.zeros(len(rows), int)}
    replace(whole, coordinates=scores, distance=np.zeros(len(rows)), **kept).save(other / "space.npz")
    lines = (folder / "particles.star").read_text().splitlines(keepends=True)
    head = lines.index(next(line for line in lines if "@" in line))
    text = "".join([*lines[:head], *(lines[head + row] for row in rows)])
    (other / "particles.star").write_text(text.replace("@x.mrcs", f"@{folder}/x.mrcs"))
    (tmp_path / "up.json").write_text('{"steps": [{"how": "new", "where": "cflexSpace1 > 0"}]}')
    words = ["--beside", other, "--beside-selection", tmp_path / "up.json", "--dpi", 60]
    assert plot(folder, "-o", tmp_path / "a.png", *words) == 0
    chosen = rows[scores[:, 0] > 0]
    assert sorted(views[0][0].linked[:, 0]) == sorted(whole.coordinates[chosen, 0])
    assert f"{len(chosen)} particles are selected in {other}, {len(chosen)} crossed" in capsys.readouterr().out
    assert any(len(drawn.get_offsets()) == len(chosen) for drawn in views[0][1].axes[0].collections)
    (other / "particles.star").write_text(text.replace("@x.mrcs", "@y.mrcs"))
    assert plot(folder, "-o", tmp_path / "b.png", *words) == 2
    assert "share no particles" in capsys.readouterr().err


def test_groups_have_their_colours_and_a_legend(folder, tmp_path, views):
    assert plot(folder, "-o", tmp_path / "a.png", "--colour", "cflexGroup", "--dpi", 60) == 0
    _, figure = views[0]
    colours = figure.axes[0].collections[0].get_facecolor()
    assert [to_hex(colours[0]), to_hex(colours[-1])] == [plane.GROUPS[1], plane.GROUPS[2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]


def test_path_and_place_lie_in_the_axes_of_the_figure(folder, tmp_path, views):
    (folder / "path.csv").write_text("0,0,0\n10,20,30\n")
    words = ["--x", "PC3", "--y", "cflexSpace1", "--path", folder / "path.csv", "--dpi", 60]
    assert plot(folder, "-o", tmp_path / "a.png", *words, "--at=1,2,3") == 0
    view = views[0][0]
    np.testing.assert_allclose(view.path, [[0, 0], [30, 10]])
    np.testing.assert_allclose(view.at, [[3, 1]])
    assert not len(view.basins)
    words = ["--x", "cflexScore", "--at", "cflexScore=0.5,cflexSpace2=-4", "--dpi", 60]
    assert plot(folder, "-o", tmp_path / "b.png", *words) == 0
    np.testing.assert_allclose(views[1][0].at, [[0.5, -4]])


def test_three_dimensions_are_seen_from_where_one_stands(folder, tmp_path, views):
    words = ["--z", "PC3", "--colour", "cflexScore", "--axis", 2, "--direction=-20,100", "--dpi", 60]
    assert plot(folder, "-o", tmp_path / "a.png", *words) == 0
    view, figure = views[0]
    assert (figure.axes[0].elev, figure.axes[0].azim) == (-20, 100)
    assert view.points.shape == (N, 3)
    assert view.path.shape[1] == 3
    assert figure.axes[0].get_zlabel() == "PC3 (2 %) [Å]"


def test_pixels_of_a_picture_are_those_of_the_particles(folder, tmp_path, views):
    """Read from the PNG: the selected state is orange, the other one is not."""
    from PIL import Image

    assert plot(folder, "-o", tmp_path / "a.png", "--selection", folder / "left.json", "--dpi", 100, "--no-basins") == 0
    figure = views[0][1]
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).convert("RGB")).astype(int)
    orange = np.abs(picture - [0xD5, 0x5E, 0x00]).sum(axis=2) < 40
    figure.set_dpi(100)
    figure.canvas.draw()
    box = figure.axes[0].get_window_extent()
    centre = figure.axes[0].transData.transform((0, 0))[0]
    columns = np.flatnonzero(orange.any(axis=0))
    assert columns.min() > box.x0 - 2
    assert columns.max() < centre + 4  # the line of the outline has a width
    assert orange.sum() > 200


def test_bad_input(folder, tmp_path, capsys):
    def refused(*words, output="a.png"):
        assert plot(folder, "-o", tmp_path / output, *words) == 2
        assert not (tmp_path / output).exists()
        return capsys.readouterr().err

    assert "expected .svg, .pdf or .png" in refused(output="a.jpg")
    assert "there is no column none; there are cflexSpace1" in refused("--x", "none")
    assert "no column cflexNone" in refused("--colour", "cflexNone")
    assert "no column PC4" in refused("--z", "PC4")
    assert "expected 4 numbers" in refused("--window=1,2,3")
    assert "expected the lower limit of X" in refused("--window=2,1,3,4")
    assert "--window is for two axes" in refused("--window=1,2,3,4", "--z", "PC3")
    assert "where there are no particles" in refused("--window=900,901,0,1")
    assert "--axis and --path exclude each other" in refused("--axis", 1, "--path", "x")
    assert "paths lie in the axes of the space" in refused("--x", "cflexScore", "--axis", 1)
    assert "expected values of cflexScore, cflexSpace2" in refused("--x", "cflexScore", "--at=1,2,3")
    assert "expected 3 numbers" in refused("--at=1,2")
    assert "--beside and --beside-selection go together" in refused("--beside", folder)
    assert "expected 2 numbers" in refused("--direction=1")
    assert "cannot be read" in refused("--selection", tmp_path / "none.json")
    assert plot(tmp_path, "-o", tmp_path / "a.png") == 2
    assert "cflex space" in capsys.readouterr().err
