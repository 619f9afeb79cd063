"""The HTML report: complete, self-contained, reproducible."""

import base64
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from continuousflex_dl.cli.report import ReportContent, write_report
from continuousflex_dl.cli.report.trace import motion
from continuousflex_dl.core.io.modes import nameless
from continuousflex_dl.core.metrics import particle_errors
from continuousflex_dl.core.space.build import build_space
from continuousflex_dl.core.space.features import amplitude_matrix


def particles(n, modes=(7, 8), **changes):
    rng = np.random.default_rng(0)
    values = {
        "source": "particles.star",
        "image_name": [f"{i + 1}@p.mrcs" for i in range(n)],
        "euler_deg": np.column_stack([rng.uniform(0, 360, n), np.zeros(n), np.zeros(n)]),
        "shift_angst": np.zeros((n, 2)),
        "amplitudes": {mode: rng.normal(size=n) * 50 for mode in modes},
        "amplitude_std": {},
        "converged": None,
        "confidence": None,
        "angle_std_deg": None,
        "shift_std_angst": None,
        "frame": None,
    }
    return SimpleNamespace(**(values | changes))


@pytest.fixture(scope="module")
def content():
    truth = particles(60)
    table = particles(
        60,
        euler_deg=truth.euler_deg + np.array([5, 0, 0]),
        shift_angst=np.full((60, 2), 0.3),
        amplitudes={mode: values + 2 for mode, values in truth.amplitudes.items()},
        amplitude_std={7: np.linspace(1, 3, 60)},
    )
    space = build_space(table, 2)
    errors = particle_errors(table, truth)
    structure = nameless(np.cumsum(np.full((30, 3), 2.0), axis=0), np.ones(30))
    frames = structure.coordinates + np.linspace(-1, 1, 5)[:, None, None] * np.linspace(0, 1, 30)[:, None]
    return ReportContent(
        title="A space <of> particles",
        source="particles.star",
        space=space,
        amplitudes=amplitude_matrix(table)[1],
        amplitude_std=dict(table.amplitude_std),
        n_atoms=30,
        motion=motion(structure, frames),
        path=space.path_along(1, 5),
        errors=errors,
        figures=errors.figures(),
        notes=("A note & more",),
        files=(("axis_1.cif", "structures"),),
    )


@pytest.fixture(scope="module")
def text(content, tmp_path_factory):
    return page(content, tmp_path_factory.mktemp("report"))


def page(content, folder):
    write_report(folder / "report.html", content)
    return (folder / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside in ("h1", "h2"):
            self.headings.append(data)


def test_every_part_has_its_heading(text):
    read = Reader(text)
    assert read.headings == [
        "A space <of> particles",
        "Motion along the first axis",
        "Explained variance",
        "Amplitudes of the normal modes",
        "Quality of the estimates",
        "Comparison with the truth",
        "Files",
    ]


def test_the_page_loads_nothing_from_elsewhere(text):
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    for tag, attributes in Reader(text).tags:
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/png;base64,"), tag
        assert tag not in ("iframe", "object", "embed")
        assert tag != "link" or attributes["href"] == "data:,"


def test_every_picture_is_a_png_with_a_description(text):
    pictures = [attributes for tag, attributes in Reader(text).tags if tag == "img"]
    assert len(pictures) == 7
    for picture in pictures:
        assert base64.b64decode(picture["src"].split(",")[1]).startswith(b"\x89PNG")
        assert len(picture["alt"]) > 30


def test_the_same_content_gives_the_same_bytes_whatever_the_users_style(content, text, tmp_path):
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert page(content, tmp_path) == text
    assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]


def test_the_error_table_holds_the_figures(text):
    assert "<td>amplitude, mode 7</td><td>2.00 Å</td>" in text
    assert "<td>rotation angle</td><td>5.00°</td>" in text
    assert "A note &amp; more" in text


def test_the_animation_has_a_place_in_the_plot_for_every_frame(content, text):
    stored = re.search(r"id='motion'>(.*?)</script>", text, re.S)[1]
    data = json.loads(stored)
    assert len(data["frames"]) == len(data["markers"]) == len(data["positions"]) == 5
    assert data["positions"] == pytest.approx(content.path[:, 0], abs=1e-3)
    markers = np.array(data["markers"])
    assert ((markers > 0) & (markers < 1)).all()
    assert (np.diff(markers[:, 0]) > 0).all()


def test_without_truth_and_modes_the_page_is_shorter(content, tmp_path):
    bare = ReportContent("Bare", "p.star", content.space, content.amplitudes)
    assert Reader(page(bare, tmp_path)).headings == [
        "Bare",
        "Conformational space",
        "Explained variance",
        "Amplitudes of the normal modes",
    ]


def test_trace_keeps_distances_and_breaks_at_gaps():
    coordinates = np.concatenate([np.arange(10)[:, None] * [3.8, 0, 0], np.arange(10)[:, None] * [3.8, 0, 0] + 100])
    frames = np.stack([coordinates, coordinates + np.linspace(0, 5, 20)[:, None] * [0, 1, 0]])
    found = motion(nameless(coordinates, np.ones(20)), frames)
    assert found["starts"] == [0, 10]
    drawn = np.array(found["frames"]).reshape(2, 20, 3) * found["unit"]
    steps = np.linalg.norm(np.diff(drawn, axis=1), axis=2)
    assert steps == pytest.approx(np.linalg.norm(np.diff(frames, axis=1), axis=2), abs=0.02)
    assert found["moved"] == pytest.approx(np.linspace(0, 5, 20), abs=0.02)
    assert found["rmsd"] == pytest.approx(np.sqrt((np.linspace(0, 5, 20) ** 2).mean()))


def test_large_structures_are_thinned():
    coordinates = np.arange(9000)[:, None] * [3.8, 0, 0]
    found = motion(nameless(coordinates, np.ones(9000)), np.stack([coordinates, coordinates + 1.0]))
    assert len(found["moved"]) <= 2500
    assert found["starts"] == [0]


@pytest.mark.parametrize("n", [2, 6000])
def test_few_and_many_particles_are_drawn(tmp_path, n):
    table = particles(n, modes=(7, 8, 9))
    space = build_space(table, 3)
    assert "data:image/png" in page(ReportContent("x", "x", space, amplitude_matrix(table)[1]), tmp_path)
