"""What the page is told, and what it can ask for."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flask")

from continuousflex_dl.app.commands import project_of
from continuousflex_dl.app.guard import HEADERS
from continuousflex_dl.app.server import HEADER, make_app
from continuousflex_dl.app.workspace import Workspace, checked_name
from continuousflex_dl.cli.main import main
from continuousflex_dl.cli.run import Run
from continuousflex_dl.cli.view import read_dataset
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.core.space.scene import make_scene
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.options.view import ViewOptions

N_SMALL = 80  # particles of `results`
AXES = {"x": "cflexSpace1", "y": "cflexSpace2"}
LEFT = {
    "steps": [{"how": "new", "columns": list(AXES.values()), "outline": [[-99, -99], [0, -99], [0, 99], [-99, 99]]}]
}


def read(folder, workspace):
    return read_dataset(folder, workspace, None, Run("view", ViewOptions(input=str(folder))))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def client(results, workspace):
    data = [read(results["space"], workspace), read(results["modes"], workspace / "modes")]
    client = make_app(data, "t").test_client()
    client.environ_base["HTTP_" + HEADER.upper().replace("-", "_")] = "t"
    return client


def unpacked(data):
    size = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + size])
    values = np.frombuffer(data[4 + size :], dtype="<f4")
    return head, np.split(values, np.cumsum(head["lengths"])[:-1])


@pytest.fixture(scope="module")
def space(results):
    return Space.load(results["space"])


def test_page_begins_with_everything_it_needs(client, space):
    told = client.get("/api/datasets").json["datasets"]
    first, modes = told
    assert first["count"] == N_SMALL
    assert first["axes"] == ["cflexSpace1", "cflexSpace2"]
    units = {column["name"]: column["unit"] for column in first["columns"]}
    assert units["cflexSpace1"] == "Å"
    assert units["cflexModeAmplitude7"] == "Å"
    assert units["rlnAngleRot"] == "°"
    assert [slider["mode"] for slider in first["sliders"]] == [7, 8]
    assert modes["kind"] == "modes"
    assert [row["mode"] for row in modes["modes"]] == [7, 8, 9, 10]


def test_scene_counts_all_particles_and_draws_a_sample(client, space):
    head, (counts, x, y, _, rows) = unpacked(client.post("/api/0/scene", json={**AXES, "limit": 30}).data)
    assert head["total"] == N_SMALL
    assert len(rows) == 30
    assert counts.sum() == head["inside"]
    np.testing.assert_allclose(x, space.coordinates[rows.astype(int), 0], rtol=1e-5)
    np.testing.assert_allclose(y, space.coordinates[rows.astype(int), 1], rtol=1e-5)


def test_sample_is_as_dense_as_the_particles():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-5, 1, 90_000), rng.normal(5, 1, 10_000)])
    y = rng.normal(size=100_000)
    order = rng.permutation(100_000)
    drawn = make_scene(x, y, 5000, None, order).rows
    assert len(np.unique(drawn)) == 5000
    assert abs(np.mean(x[drawn] < 0) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 5000)  # four standard errors
    inside = make_scene(x, y, 5000, [4.9, 5.1, -0.1, 0.1], order)
    expected = np.flatnonzero((x >= 4.9) & (x <= 5.1) & (y >= -0.1) & (y <= 0.1))
    np.testing.assert_array_equal(inside.rows, expected)  # a small window shows every particle in it
    assert inside.inside == len(expected) == inside.counts.sum()


def test_selection_is_that_of_cflex_group(client, space, workspace, results, tmp_path):
    head, (x, _) = unpacked(client.post("/api/0/select", json={**AXES, "recipe": LEFT}).data)
    expected = np.flatnonzero((space.coordinates[:, 0] < 0) & space.converged)
    assert head["count"] == len(expected) == len(x)
    assert client.put("/api/0/selections/left", json={"recipe": LEFT}).status_code == 200
    answer = client.post("/api/0/command/group", json={"selections": ["left"], "name": "out"}).json
    words = answer["command"].split()
    assert words[:2] == ["cflex", "group"]
    words[words.index("-o") + 1] = str(tmp_path / "groups")
    assert main(words[1:]) == 0
    group = read_particles(tmp_path / "groups" / "group_01.star", check_images=False)
    whole = read_particles(results["space"] / "particles.star", check_images=False)
    assert group.stack_index.tolist() == whole.stack_index[expected].tolist()


def test_selection_is_marked_in_another_result_of_the_same_particles(results, space, tmp_path):
    """By image name: the other result has fewer particles, in another order, with other paths to the images."""
    data = [read(results[name], tmp_path / name) for name in ("space", "other")]
    client = make_app(data, "t").test_client()
    client.environ_base["HTTP_" + HEADER.upper().replace("-", "_")] = "t"
    names = [
        [(Path(path).name, int(section)) for path, section in zip(table.stack_path, table.stack_index, strict=True)]
        for table in (read_particles(results[name] / "particles.star") for name in ("space", "other"))
    ]
    chosen = np.flatnonzero((space.coordinates[:, 0] < 0) & space.converged)
    selected = {names[0][row] for row in chosen}
    there = [name in selected for name in names[1]]
    head, (x, _) = unpacked(client.post("/api/1/linked", json={**AXES, "recipe": LEFT, "from": 0}).data)
    assert head["shared"] == len(names[1])
    assert head["count"] == sum(there) > 10
    assert sorted(x) == sorted(data[1].space.coordinates[there, 0].astype(np.float32))
    # and back: this result has all of them
    head, _ = unpacked(client.post("/api/0/linked", json={**AXES, "recipe": LEFT, "from": 1}).data)
    assert head["count"] == np.count_nonzero(data[1].space.coordinates[:, 0] < 0)
    assert head["shared"] == len(names[1]) < len(names[0])
    # two plots of one result
    head, _ = unpacked(client.post("/api/0/linked", json={**AXES, "recipe": LEFT, "from": 0}).data)
    assert head["count"] == len(chosen)
    assert "number of a dataset" in client.post("/api/0/linked", json={"recipe": LEFT}).json["error"]


def test_results_without_common_particles_are_said_and_large_files_not_waited_for(results, tmp_path, monkeypatch):
    import shutil

    from continuousflex_dl.app import particle_file

    shutil.copytree(results["other"], tmp_path / "strange")
    file = tmp_path / "strange" / "particles.star"
    file.write_text(file.read_text().replace("particles.mrcs", "strange.mrcs"))
    monkeypatch.setattr(particle_file, "SMALL_BYTES", 0)
    data = [read(folder, tmp_path / folder.name) for folder in (results["space"], tmp_path / "strange")]
    client = make_app(data, "t").test_client()
    asked = {"json": {**AXES, "recipe": LEFT, "from": 0}, "headers": {HEADER: "t"}}
    assert unpacked(client.post("/api/1/linked", **asked).data)[0]["waiting"]
    until = time.monotonic() + 120
    while (head := unpacked(client.post("/api/1/linked", **asked).data)[0])["waiting"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert (head["shared"], head["count"]) == (0, 0)


def test_second_start_finds_selections_and_what_was_selected(client, results, workspace):
    client.put("/api/0/selections/kept", json={"recipe": LEFT})
    client.post("/api/0/select", json={**AXES, "recipe": LEFT})
    again = make_app([read(results["space"], workspace)], "t").test_client()
    told = again.get("/api/0/selections", headers={HEADER: "t"}).json
    assert "kept" in [selection["name"] for selection in told["selections"]]
    assert told["current"]["steps"] == Workspace(workspace).current().as_dict()["steps"]
    assert len(told["current"]["steps"]) == 1
    again.delete("/api/0/selections/kept", headers={HEADER: "t"})
    assert "kept" not in Workspace(workspace).names()


def test_unnamed_selection_is_kept_for_the_command_that_uses_it(client, workspace):
    client.post("/api/0/select", json={**AXES, "recipe": LEFT})
    answer = client.post("/api/0/command/export", json={"program": "star"}).json
    path = answer["command"].split("--selection ")[1].split()[0]
    client.post("/api/0/select", json={**AXES, "recipe": {"steps": []}})  # what is selected later changes nothing
    assert len(json.loads(Path(path).read_text())["steps"]) == 1
    assert client.post("/api/0/command/export", json={"program": "star"}).status_code == 400


def test_histograms_count_all_and_selected(client, space):
    found = client.post("/api/0/histogram", json={"columns": ["cflexSpace1", "cflexGroup"], "recipe": LEFT}).json
    first = found["cflexSpace1"]
    assert sum(first["all"]) == N_SMALL
    assert sum(first["chosen"]) == ((space.coordinates[:, 0] < 0) & space.converged).sum()
    assert found["cflexGroup"]["edges"][:2] == [0.5, 1.5]
    np.testing.assert_array_equal(found["cflexGroup"]["all"], np.bincount(space.groups)[1:])


def test_amplitudes_bend_the_structure_as_the_modes_say(client, results, tmp_path):
    with np.load(results["modes"] / "modes.npz") as archive:
        modes = {name: archive[name] for name in archive.files}
    text = client.post("/api/0/structure", json={"amplitudes": {"7": 12.0, "8": -5.0}}).text
    (tmp_path / "s.cif").write_text(text)
    bent, _ = read_structure(tmp_path / "s.cif")
    expected = modes["coordinates"] + 12 * modes["vectors"][0] - 5 * modes["vectors"][1]
    np.testing.assert_allclose(bent.coordinates, expected, atol=1e-3)


def test_mean_structure_of_a_selection_is_the_centroid_of_its_group(client, workspace, tmp_path):
    client.put("/api/0/selections/left", json={"recipe": LEFT})
    words = client.post("/api/0/command/group", json={"selections": ["left"]}).json["command"].split()
    words[words.index("-o") + 1] = str(tmp_path / "groups")
    assert main(words[1:]) == 0
    (tmp_path / "s.cif").write_text(client.post("/api/0/structure", json={"recipe": LEFT}).text)
    shown, written = (read_structure(tmp_path / name)[0] for name in ("s.cif", "groups/group_01.cif"))
    np.testing.assert_allclose(shown.coordinates, written.coordinates, atol=0.02)


def test_trajectory_is_that_of_cflex_animate(client, tmp_path):
    told = client.post("/api/0/trajectory", json={"way": "axis2", "frames": 5}).json
    assert told["cif"].count("\nATOM") == 5 * len([k for k in told["cif"].splitlines() if k.endswith(" 1")])
    words = client.post("/api/0/command/animate", json={"way": "axis2", "frames": 5}).json["command"].split()
    words[words.index("-o") + 1] = str(tmp_path / "motion")
    assert main(words[1:]) == 0
    table = np.genfromtxt(tmp_path / "motion" / "axis_2.csv", delimiter=",", names=True)
    np.testing.assert_allclose([point[1] for point in told["points"]], table["cflexSpace2"], rtol=1e-4)
    np.testing.assert_allclose(told["rmsd"], table["rmsd_angst"], atol=2e-3)


def test_structures_of_a_path_are_sent_compressed(client):
    import gzip

    plain = client.post("/api/0/trajectory", json={"frames": 5})
    zipped = client.post("/api/0/trajectory", json={"frames": 5}, headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.data) == plain.data
    assert len(zipped.data) < len(plain.data) / 3


def test_drawn_path_goes_to_a_file_that_the_command_reads(client, tmp_path):
    corners = [[-10, -5], [0, 8], [12, 3]]
    asked = {"way": "path", "corners": corners, "frames": 4}
    told = client.post("/api/0/trajectory", json=asked).json
    np.testing.assert_allclose([told["points"][0], told["points"][-1]], [corners[0], corners[-1]], atol=1e-6)
    words = client.post("/api/0/command/animate", json=asked).json["command"].split()
    np.testing.assert_allclose(np.loadtxt(words[words.index("--path") + 1], delimiter=",", skiprows=1), corners)


def test_slices_follow_the_path_that_is_shown(client):
    asked = {"way": "path", "corners": [[-10, -5], [0, 8], [12, 3]], "slices": 3}
    first = client.post("/api/0/command/slices", json=asked).json["command"].split()
    assert first[:2] == ["cflex", "group"]
    assert first[first.index("--n-groups") + 1] == "3"
    file = first[first.index("--path") + 1]
    again, other = (
        client.post("/api/0/command/slices", json={**asked, "corners": corners}).json["command"]
        for corners in (asked["corners"], [[0, 0], [1, 1]])
    )
    assert f" {file} " in again
    assert f" {file} " not in other
    minimum = client.post("/api/0/command/slices", json={"way": "minimum", "reconstruct": True}).json["command"]
    assert "--minimum-path" in minimum
    assert minimum.endswith("--reconstruct")


def test_map_of_a_structure_lies_over_it(client, results, tmp_path):
    from continuousflex_dl.core.reconstruction.map_files import read_cube

    (tmp_path / "m.mrc").write_bytes(client.post("/api/0/structure", json={"amplitudes": {"7": 0.0}, "map": True}).data)
    found = read_cube(tmp_path / "m.mrc")
    z, y, x = np.indices(found.values.shape)
    weights = found.values / found.values.sum()
    centre = [float((weights * index).sum()) * found.pixel_size + found.origin[k] for k, index in enumerate((x, y, z))]
    with np.load(results["modes"] / "modes.npz") as archive:
        expected = np.average(archive["coordinates"], axis=0, weights=archive["weights"])
    np.testing.assert_allclose(centre, expected, atol=0.1)


def test_pictures_show_the_particle_and_its_model(client, results):
    import io

    from PIL import Image

    images = [
        np.asarray(Image.open(io.BytesIO(client.get(f"/api/0/{what}/{row}.png").data)), dtype=float)
        for row in (0, 1)
        for what in ("image", "projection")
    ]
    assert all(image.shape == (40, 40) for image in images)
    match = np.corrcoef([image.ravel() for image in images])
    assert match[0, 1] > match[0, 3] + 0.1  # the first particle is like its own model, not like the second's
    assert match[2, 3] > match[2, 1] + 0.1


def test_images_elsewhere_are_found_below_datadir(results, tmp_path):
    import shutil

    shutil.copytree(results["space"], tmp_path / "here" / "space")
    images = results["space"].parent / "simulated"
    shutil.copytree(images, tmp_path / "there" / "simulated")
    run = Run("view", ViewOptions(input="x", datadir=str(tmp_path / "there")))
    data = read_dataset(tmp_path / "here" / "space", tmp_path / "view", None, run)
    client = make_app([data], "t").test_client()
    assert client.get("/api/0/image/0.png", headers={HEADER: "t"}).status_code == 200
    data = read(tmp_path / "here" / "space", tmp_path / "view")
    client = make_app([data], "t").test_client()
    answer = client.get("/api/0/image/0.png", headers={HEADER: "t"})
    assert answer.status_code == 400
    assert "particles.mrcs" in answer.json["error"]


def test_jobs_run_what_is_shown_and_their_files_can_be_had(client):
    client.put("/api/0/selections/left", json={"recipe": LEFT})
    number = client.post("/api/0/command/group", json={"selections": ["left"], "run": True}).json["job"]
    until = time.monotonic() + 120
    while time.monotonic() < until:
        job = next(job for job in client.get("/api/jobs").json["jobs"] if job["number"] == number)
        if job["state"] not in ("waiting", "running"):
            break
        time.sleep(0.3)
    assert job["state"] == "done", job["log"]
    assert {"group_01.star", "group_01.cif", "groups.csv"} <= set(job["files"])
    assert b"_cflexGroup" in client.get(f"/api/jobs/{number}/group_01.star").data
    assert client.get(f"/api/jobs/{number}/../run.json").status_code != 200


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("scene", {}, "two or three columns"),
        ("scene", {"x": "none", "y": "cflexSpace1"}, "no column none"),
        ("scene", {**AXES, "window": [0, 1, "x"]}, "window"),
        ("select", {}, "no steps"),
        ("select", {**AXES, "recipe": {"steps": [{"how": "new", "where": "__import__('os')"}]}}, "not understood"),
        ("structure", {"amplitudes": {"99": 1}}, "99"),
        ("structure", {"place": {"cflexSpace9": 1}}, "no axis"),
        ("structure", {"place": {"cflexSpace1": "x"}}, "numbers"),
        ("trajectory", {"way": "axis9"}, "axis"),
        ("trajectory", {"way": "path", "corners": [[0, 0]]}, "two points"),
        ("trajectory", {"frames": 9999}, "frames"),
        ("command/group", {"selections": ["../../etc/passwd"]}, "name"),
        ("command/group", {"selections": ["none"]}, "no selection none"),
        ("command/animate", {"way": "mode; rm"}, "way"),
        ("command/animate", {"movie": "avi"}, "movie"),
        ("command/slices", {"slices": 0}, "slices"),
        ("command/slices", {"way": "mode7"}, "way"),
        ("command/scipion", {}, "Scipion project"),
    ],
)
def test_bad_requests_are_refused_in_one_line(client, path, body, said):
    answer = client.post(f"/api/0/{path}", json=body)
    assert answer.status_code == 400
    assert said in answer.json["error"]
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_space_of_a_method_is_made_once(results, tmp_path, capfd):
    data = read(results["method"], tmp_path / "view")
    assert data.source == results["method"]
    assert data.path == tmp_path / "view" / "space"
    assert data.count == N_SMALL
    assert "cflex space" in capfd.readouterr().err
    again = read(results["method"], tmp_path / "view")
    assert "cflex space" not in capfd.readouterr().err
    np.testing.assert_array_equal(again.space.coordinates, data.space.coordinates)


def test_space_of_latents_where_there_are_no_amplitudes(results, tmp_path):
    import h5py

    table = read_particles(results["method"] / "particles.star").with_amplitudes({})
    write_star(tmp_path / "particles.star", table)
    latent = np.random.default_rng(0).normal(size=(N_SMALL, 3)) * [3, 2, 1]
    with h5py.File(tmp_path / "conformations.h5", "w") as stored:
        stored["latent"] = latent
    data = read(tmp_path, tmp_path / "view")
    assert data.space.on == "latent"
    assert data.space.n_components == 3
    assert data.decoder is None
    client = make_app([data], "t").test_client()
    told = client.get("/api/datasets", headers={HEADER: "t"}).json["datasets"][0]
    assert told["atoms"] == 0
    assert told["sliders"] == []
    assert client.post("/api/0/structure", json={}, headers={HEADER: "t"}).status_code == 400


def test_latents_with_coordinates_beside_them_have_structures(results, tmp_path):
    """As Cryo-ViT leaves them: particles without amplitudes, latents and coordinates, and the reference."""
    import shutil

    import h5py

    table = read_particles(results["method"] / "particles.star")
    with np.load(results["modes"] / "modes.npz") as archive:
        modes = {name: archive[name] for name in archive.files}
    amplitudes = np.stack([table.amplitudes[mode] for mode in (7, 8)], axis=1)
    write_star(tmp_path / "particles.star", table.with_amplitudes({}))
    with h5py.File(tmp_path / "conformations.h5", "w") as stored:
        stored["latent"] = amplitudes
        moved = np.tensordot(amplitudes, modes["vectors"][:2], 1)
        stored["coordinates"] = (modes["coordinates"] + moved).astype(np.float32)
    shutil.copy(results["modes"] / "reference.cif", tmp_path / "reference.cif")
    data = read(tmp_path, tmp_path / "view")
    assert data.space.on == "latent"
    place = np.array([np.percentile(data.space.coordinates[:, 0], 80), 0.0])
    shown = data.structure_at({"cflexSpace1": place[0], "cflexSpace2": place[1]})
    (latent,) = data.space.inverse_transform(place[None])  # here the structures are linear in the latents
    expected = modes["coordinates"] + np.tensordot(latent, modes["vectors"][:2], 1)
    error, moved = (np.sqrt(((x - expected) ** 2).sum(axis=1).mean()) for x in (shown, modes["coordinates"]))
    assert error < 0.25 * moved


def test_predictions_of_a_network_have_the_structures_of_its_training(results, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "run.json").write_text(
        json.dumps({"options": {"modes": str(results["modes"] / "modes.npz")}, "inputs": {}})
    )
    (tmp_path / "inferred").mkdir()
    (tmp_path / "inferred" / "run.json").write_text(json.dumps({"options": {"model": str(tmp_path / "model")}}))
    write_star(tmp_path / "inferred" / "predictions.star", read_particles(results["method"] / "particles.star"))
    data = read(tmp_path / "inferred", tmp_path / "view")
    assert data.count == N_SMALL
    assert data.decoder is not None
    assert data.decoder.modes.indices.tolist() == [7, 8]


def test_large_particle_files_are_read_by_another_process(results, tmp_path, monkeypatch):
    from continuousflex_dl.app import particle_file

    monkeypatch.setattr(particle_file, "SMALL_BYTES", 0)
    columns = read(results["space"], tmp_path).columns
    assert not columns.ready("cflexScore")
    np.testing.assert_allclose(columns["cflexScore"], np.linspace(0.2, 0.8, N_SMALL), atol=1e-6)
    assert columns.ready()
    assert len(columns.take(np.array([3, 5]))) == 2
    assert len(columns.images().stack_index) == N_SMALL
    with pytest.raises(KeyError):
        columns["none"]


def test_particles_of_another_space_are_refused(results, tmp_path):
    data = read(results["space"], tmp_path)
    data.columns._count -= 1
    with pytest.raises(InputError, match="expected 79 as in the space"):
        data.columns["cflexScore"]


def test_project_of_a_run_is_found(tmp_path):
    run = tmp_path / "demo" / "Runs" / "000042_CflexProtSpace" / "extra" / "space"
    run.mkdir(parents=True)
    assert project_of(run) is None
    (tmp_path / "demo" / "project.sqlite").touch()
    assert project_of(run) == (tmp_path / "demo", 42)
    assert project_of(tmp_path) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "é", "x" * 65, ".hidden", "a b", None, 3])
def test_unsafe_names_are_refused(name):
    with pytest.raises(InputError, match="name"):
        checked_name(name)


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_nothing_to_view(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["view", str(tmp_path / folder), "--no-browser"]) == 2
    assert "cflex: error:" in capsys.readouterr().err
