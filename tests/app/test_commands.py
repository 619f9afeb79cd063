"""Whatever the viewer makes is made by a command that it shows, and that anybody can run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flask")

import continuousflex_dl.app
from continuousflex_dl.app.commands import COMMANDS
from continuousflex_dl.app.server import HEADER, make_app
from continuousflex_dl.cli.main import main
from continuousflex_dl.cli.parser import build_parser, values_of
from continuousflex_dl.cli.run import Run
from continuousflex_dl.cli.view import read_dataset
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.reconstruction.map_files import read_cube
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.options import COMMANDS as OPTIONS
from continuousflex_dl.options.view import ViewOptions

STATIC = Path(continuousflex_dl.app.__file__).parent / "static"
AXES = {"x": "cflexSpace1", "y": "cflexSpace2"}
LEFT = {
    "steps": [{"how": "new", "columns": list(AXES.values()), "outline": [[-99, -99], [0, -99], [0, 99], [-99, 99]]}]
}
# buttons of the page by the command that they run, as the guide calls them
BUTTONS = {
    "group": ("Particles + structure", "All saved"),
    "slices": ("Slices",),
    "animate": ("Motion",),
    "structure": ("Structure",),
    "plot": ("SVG", "PNG", "PDF"),
    "export": ("RELION", "Xmipp"),
    "scipion": ("Create in Scipion",),
}
# what the buttons of the page ask for
ASKED = [
    ("group", {"selections": ["left"], "reconstruct": True, "unconverged": True}),
    ("group", {}),
    ("slices", {"way": "axis2", "slices": 3, "reconstruct": True}),
    ("slices", {"way": "path", "corners": [[-10, -5], [0, 8], [12, 3]]}),
    ("animate", {"way": "minimum", "movie": "gif", "maps": True, "format": "dcd"}),
    ("animate", {"way": "mode7", "amplitude": 12}),
    ("structure", {"place": {"cflexSpace1": -12.5, "cflexSpace2": 3.25}, "maps": True}),
    ("structure", {"place": {"cflexSpace2": -3}, "format": "pdb"}),
    ("structure", {"place": {"cflexSpace1": 2, "cflexScore": 0.4}}),
    ("structure", {"amplitudes": {"7": -12, "8": 5.5}}),
    ("structure", {"selections": ["left"]}),
    ("plot", {**AXES, "color": "cflexGroup", "palette": "cividis", "window": [-20, 5, -30, 8], "format": "pdf"}),
    ("plot", {**AXES, "selected": True, "selections": ["left"], "unconverged": True, "way": "axis1", "points": 100}),
    ("plot", {**AXES, "z": "cflexScore", "direction": [-12.5, 100], "at": {"cflexSpace1": -3, "cflexSpace2": 1}}),
    ("plot", {"x": "cflexScore", "y": "cflexSpace1", "at": {"cflexScore": 0.3, "cflexSpace1": -1}}),
    ("plot", {**AXES, "beside": {"number": 0, "recipe": LEFT}}),
    ("export", {"program": "star", "selections": ["left"]}),
    ("export", {"program": "xmd"}),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


def opened(folder, workspace, structure=None, **options):
    return read_dataset(folder, workspace, structure, Run("view", ViewOptions(input=str(folder), **options)))


def client_of(*datasets):
    client = make_app(datasets, "t").test_client()
    client.environ_base["HTTP_" + HEADER.upper().replace("-", "_")] = "t"
    return client


@pytest.fixture(scope="module")
def client(results, workspace):
    found = client_of(opened(results["space"], workspace), opened(results["modes"], workspace / "modes"))
    found.put("/api/0/selections/left", json={"recipe": LEFT})
    found.post("/api/0/select", json={**AXES, "recipe": LEFT})
    return found


def shown(client, what, asked, number=0):
    answer = client.post(f"/api/{number}/command/{what}", json=asked)
    assert answer.status_code == 200, answer.json
    words = shlex.split(answer.json["command"])
    assert words[0] == "cflex"
    return words[1:]


def run_into(words, output):
    """Run a command that is shown, with another output."""
    words = list(words)
    words[words.index("-o") + 1] = str(output)
    assert main(words) == 0


@pytest.mark.parametrize(("what", "asked"), ASKED, ids=[f"{what}-{k}" for k, (what, _) in enumerate(ASKED)])
def test_shown_command_is_one_that_cflex_takes(client, what, asked):
    words = shown(client, what, asked)
    namespace = build_parser(OPTIONS).parse_args(words)
    namespace.cflex_entry.options.parse(values_of(namespace, namespace.cflex_entry.options))
    assert namespace.cflex_entry.name in ({"slices": "group", "structure": "animate"}.get(what, what), "group")


def test_every_button_that_makes_something_shows_its_command():
    """The page has no other way to make a file: neither a picture of its own nor a request beside the commands."""
    text = "".join(path.read_text() for path in STATIC.glob("*.js"))
    assert set(re.findall(r"make\('(\w+)'", text)) == set(COMMANDS) == set(BUTTONS)
    assert {what for what, _ in ASKED} | {"scipion"} == set(COMMANDS)
    for own in ("toImage(", "downloadImage(", "toDataURL(", "createObjectURL(", "new Blob(", "getImageDataUri("):
        assert own not in text
    assert re.findall(r"`(?:\$\{number\}/)?command/", text) == ["`${number}/command/"]  # one request, which shows it
    documented = (STATIC.parents[2] / "docs" / "viewer.md").read_text()
    for button in (name for names in BUTTONS.values() for name in names):
        assert f"'{button}'" in text
        assert f"*{button}*" in documented


def test_nothing_else_writes(results, tmp_path):
    """Every route but that of the commands leaves the disk as it is, but for selections, which commands take."""
    client = client_of(opened(results["space"], tmp_path / "view"))

    def files():
        folders = (results["space"], tmp_path)
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    requests = {
        "datasets": ("get", "/api/datasets", None),
        "scene": ("post", "/api/0/scene", AXES),
        "select": ("post", "/api/0/select", {**AXES, "recipe": LEFT}),
        "linked": ("post", "/api/0/linked", {**AXES, "recipe": LEFT, "from": 0}),
        "histograms": ("post", "/api/0/histogram", {"columns": ["cflexSpace1"]}),
        "selections": ("get", "/api/0/selections", None),
        "keep_selection": ("put", "/api/0/selections/a", {"recipe": LEFT}),
        "forget_selection": ("delete", "/api/0/selections/a", None),
        "sample": ("post", "/api/0/sample", {}),
        "picture": ("get", "/api/0/projection/0.png", None),
        "structure": ("post", "/api/0/structure", {"map": True}),
        "trajectory": ("post", "/api/0/trajectory", {"frames": 3}),
        "jobs": ("get", "/api/jobs", None),
        "stop_job": ("delete", "/api/jobs/1", None),
        "job_file": ("get", "/api/jobs/1/x", None),
    }
    there = {rule.endpoint for rule in client.application.url_map.iter_rules()}
    assert there == {"page", "asset", "routes.command"} | {f"routes.{name}" for name in requests}
    before = files()
    for method, path, body in requests.values():
        getattr(client, method)(path, json=body)
    after = files()
    assert {path: after[path] for path in before} == before
    assert {path.name for path in set(after) - set(before)} == {"current.json"}


def test_structure_of_the_command_is_the_one_that_is_shown(client, results, tmp_path):
    cases = [
        (0, {"place": {"cflexSpace1": -12.0, "cflexSpace2": 7.0}}, "place"),
        (0, {"place": {"cflexSpace2": 6.0}}, "place"),
        (0, {"place": {"cflexSpace1": -3.0, "cflexScore": 0.4}}, "place"),
        (0, {"amplitudes": {"7": 12, "8": -5}}, "amplitudes"),
        (1, {"amplitudes": {"9": 0, "10": 8}}, "amplitudes"),
        (0, {"recipe": LEFT, "selections": ["left"]}, "group_01"),
    ]
    for number, (data, asked, name) in enumerate(cases):
        run_into(shown(client, "structure", asked, data), tmp_path / str(number))
        (tmp_path / "s.cif").write_text(client.post(f"/api/{data}/structure", json=asked).text)
        seen, written = (read_structure(tmp_path / file)[0] for file in ("s.cif", f"{number}/{name}.cif"))
        np.testing.assert_allclose(seen.coordinates, written.coordinates, atol=0.02, err_msg=str(asked))
    run_into(shown(client, "structure", {**cases[0][1], "maps": True}), tmp_path / "m")
    assert read_cube(tmp_path / "m" / "place.mrc").pixel_size == pytest.approx(2.5)  # as the particles


def test_figure_shows_the_sample_and_the_selection_of_the_page(client, tmp_path, monkeypatch):
    from continuousflex_dl.cli.report import plane

    views = []
    monkeypatch.setattr(plane, "draw", lambda view, draw=plane.draw: views.append(view) or draw(view))
    window = [-20.0, 20.0, -25.0, 15.0]
    asked = {**AXES, "window": window, "selected": True, "selections": ["left"], "points": 30, "format": "png"}
    run_into([*shown(client, "plot", asked), "--dpi", "60"], tmp_path / "a.png")
    scene = unpacked(client.post("/api/0/scene", json={**AXES, "window": window, "limit": 30}).data)
    marked = unpacked(client.post("/api/0/select", json={**AXES, "recipe": LEFT}).data)
    np.testing.assert_allclose(views[0].points.T, scene[1:3], rtol=1e-6)
    np.testing.assert_allclose(views[0].scene.counts.ravel(), scene[0])
    np.testing.assert_allclose(views[0].selected.T, marked, rtol=1e-6)


def unpacked(data):
    import json

    size = int.from_bytes(data[:4], "little")
    lengths = json.loads(data[4 : 4 + size])["lengths"]
    return np.split(np.frombuffer(data[4 + size :], dtype="<f4"), np.cumsum(lengths)[:-1])


def test_what_the_viewer_was_given_goes_on_to_its_commands(results, tmp_path):
    """Images that were found below --datadir, and the structure of --structure, are those of the commands too."""
    import shutil

    shutil.copytree(results["space"], tmp_path / "here" / "space")
    shutil.copytree(results["space"].parent / "simulated", tmp_path / "there" / "simulated")
    structure = results["modes"] / "reference.cif"
    options = {"structure": str(structure), "datadir": str(tmp_path / "there")}
    client = client_of(opened(tmp_path / "here" / "space", tmp_path / "view", **options))
    client.post("/api/0/select", json={**AXES, "recipe": LEFT})
    for what, asked in (("export", {}), ("group", {"reconstruct": True})):
        words = shown(client, what, asked)
        assert words[words.index("--datadir") + 1] == options["datadir"]
    assert "--datadir" not in shown(client, "group", {})
    for what, asked in (("group", {}), ("structure", {"amplitudes": {"7": 1}}), ("animate", {})):
        words = shown(client, what, asked)
        assert words[words.index("--structure") + 1] == str(structure)
    run_into(shown(client, "export", {}), tmp_path / "out" / "particles.star")
    assert len(read_particles(tmp_path / "out" / "particles.star")) > 0


@pytest.mark.parametrize(
    ("what", "body", "said"),
    [
        ("structure", {}, "move the slider"),
        ("structure", {"place": {"cflexSpace1": "x"}}, "numbers by name"),
        ("structure", {"amplitudes": 3}, "numbers by name"),
        ("plot", {"x": "none"}, "no column none"),
        ("plot", {**AXES, "window": [1, 2]}, "4 numbers"),
        ("plot", {**AXES, "format": "jpg"}, "format"),
        ("plot", {**AXES, "palette": "jet"}, "palette"),
    ],
)
def test_bad_requests_are_refused(client, what, body, said):
    answer = client.post(f"/api/0/command/{what}", json=body)
    assert answer.status_code == 400
    assert said in answer.json["error"]


def test_command_of_no_project(client):
    with pytest.raises(InputError, match="Scipion project"):
        COMMANDS["scipion"](client.application.extensions["cflex"].dataset(0), None, {})
