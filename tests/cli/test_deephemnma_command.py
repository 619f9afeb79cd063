"""cflex deephemnma: train, infer and refine end to end; batches, resumption, what is kept, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from continuousflex_dl.core.io.particles import read_particles

FEW = ["--epochs", "3", "--batch-size", "6", "--validation", "0.25", "--test", "0.1", "--network-box", "32"]
FEW += ["--threads", "1"]  # threads that wait for each other crawl on a busy computer


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    """A network that has seen a few images, which is enough for what is not about accuracy."""
    from continuousflex_dl.cli.main import main

    output = tmp_path_factory.mktemp("deep") / "model"
    assert main(["deephemnma", "train", str(tiny.truth), "--modes", str(tiny.modes), "-o", str(output), *FEW]) == 0
    return output


def predictions(folder):
    return read_particles(folder / "predictions.star")


def test_training_leaves_a_network_its_curves_and_what_it_was_tested_on(model, tiny):
    record = json.loads((model / "model.json").read_text())
    assert record["modes"] == [7, 8]
    assert record["preparation"]["box"] == 48
    assert set(record["held_out"]) == {"validation", "test"}
    with open(model / "loss.csv") as stream:
        assert len(list(csv.DictReader(stream))) == 3
    assert (model / "tensorboard" / "events.out.tfevents.cflex").stat().st_size > 100
    with open(model / "held_out.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["set"] for row in rows] == ["validation"] * 6 + ["test"] * 2
    truth = read_particles(tiny.truth)
    by_name = dict(zip(truth.image_name, truth.amplitudes[7], strict=True))
    assert all(float(row["mode7_label"]) == pytest.approx(by_name[row["image"]], rel=1e-3) for row in rows)
    assert not (model / "training").exists()
    assert json.loads((model / "run.json").read_text())["results"]["errors"]["test"]["angle_deg"] > 0


def test_predictions_are_a_complete_particle_file(model, tiny, tmp_path, cflex):
    assert cflex("deephemnma", "infer", model, tiny.particles, "-o", tmp_path / "p").code == 0
    table, source = predictions(tmp_path / "p"), read_particles(tiny.particles)
    assert table.stack_path == source.stack_path
    assert (table.stack_index == source.stack_index).all()
    assert sorted(table.amplitudes) == sorted(table.amplitude_std) == [7, 8]
    assert all((std > 0).all() for std in table.amplitude_std.values())
    assert (table.angle_std_deg > 0).all()
    assert (table.shift_std_angst > 0).all()
    assert not (tmp_path / "p" / "blocks").exists()


def test_batches_of_any_size_agree(model, tiny, tmp_path, cflex):
    """In bfloat16 as in float32, to a thousandth of the expected error."""
    for precision in ("full", "mixed"):
        tables = []
        for size in (1, 5, 64):
            output = tmp_path / f"{precision}{size}"
            options = ["--batch-size", size, "--precision", precision]
            assert cflex("deephemnma", "infer", model, tiny.particles, "-o", output, *options).code == 0
            tables.append(predictions(output))
        for other in tables[1:]:
            for mode in (7, 8):
                off = np.abs(other.amplitudes[mode] - tables[0].amplitudes[mode])
                assert (off <= 1e-3 * tables[0].amplitude_std[mode] + 1e-6).all()


def test_refined_predictions_come_nearer(model, tiny, tmp_path, cflex):
    """From a network that knows next to nothing the search is what helps; it is used where the network is unsure."""
    ended = cflex("deephemnma", "infer", model, tiny.particles, "-o", tmp_path / "r", "--refine", "--batch-size", 12)
    assert ended.code == 0
    results = json.loads((tmp_path / "r" / "run.json").read_text())["results"]
    assert sum(results[name] for name in ("as_predicted", "polished", "refined", "searched")) == 24
    assert 1.0 <= results["error_factor"] < 2.0
    evaluation = ["--modes", tiny.modes, "-o", tmp_path / "e"]
    assert cflex("evaluate", tmp_path / "r" / "predictions.star", tiny.truth, *evaluation).code == 0
    figures = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert figures["axis_distance_deg"]["median"] < 5.0
    assert figures["amplitude_mean_abs_error"] < 8.0


def test_parts_of_the_particle_file_are_kept_on_request(model, tiny, tmp_path, cflex):
    truth = read_particles(tiny.truth)
    assert cflex("deephemnma", "infer", model, tiny.truth, "-o", tmp_path / "a", "--estimate", "amplitudes").code == 0
    kept = predictions(tmp_path / "a")
    np.testing.assert_array_equal(kept.euler_deg, truth.euler_deg)
    assert not np.allclose(kept.amplitudes[7], truth.amplitudes[7])
    assert cflex("deephemnma", "infer", model, tiny.truth, "-o", tmp_path / "p", "--estimate", "poses").code == 0
    kept = predictions(tmp_path / "p")
    np.testing.assert_array_equal(kept.amplitudes[7], truth.amplitudes[7])
    assert not np.allclose(kept.euler_deg, truth.euler_deg)


def test_predicted_and_aligned_particles_share_a_space(model, tiny, tmp_path, cflex):
    """Two sets with the same image names and amplitudes of the same modes: every particle is in the space once."""
    assert cflex("deephemnma", "infer", model, tiny.particles, "-o", tmp_path / "p").code == 0
    shared = ["--also", tiny.truth, "--keep-unconverged", "-o", tmp_path / "space"]
    ended = cflex("space", tmp_path / "p", *shared)  # particles and modes are found by themselves
    assert ended.code == 0, ended.err
    assert (tmp_path / "space" / "modes.npz").is_file()
    with np.load(tmp_path / "space" / "space.npz") as stored:
        assert len(stored["coordinates"]) == 48


def train_in(output, tiny, processes, *options):
    """The processes of a training, as srun starts them."""
    command = [sys.executable, "-m", "continuousflex_dl", "deephemnma", "train", str(tiny.truth), "--modes"]
    command += [str(tiny.modes), *FEW, "--epochs", "8", "-o", str(output), *options]
    names = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS"
    return [
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **dict(zip(names, map(str, (rank, processes, rank, processes)), strict=True))},
        )
        for rank in range(processes)
    ]  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_is_killed_and_resumed_ends_with_the_same_bytes(tiny, tmp_path, processes):
    """Of two processes, it is enough that the one is killed that does not lead."""
    ended = {}
    for name in ("whole", "cut"):
        running = train_in(tmp_path / name, tiny, processes)
        if name == "cut":
            deadline = time.monotonic() + 100
            while not (tmp_path / name / "training" / "state.safetensors").exists() and running[0].poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            running[-1].send_signal(signal.SIGTERM)
        messages = [process.communicate(timeout=200)[1] for process in running]
        ended[name] = messages[0]
        assert {process.returncode for process in running} == {143 if name == "cut" else 0}, messages
    assert "--resume continues" in ended["cut"]
    assert f"steps of {6 // processes * processes} images" in ended["whole"]
    assert (tmp_path / "cut" / "training" / "state.safetensors").exists()
    again = train_in(tmp_path / "cut", tiny, processes, "--resume")
    assert [process.communicate(timeout=200) and process.returncode for process in again] == [0] * processes
    for name in ("model.safetensors", "model.json", "loss.csv", "held_out.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_particles_without_labels_are_enough_to_train(tiny, tmp_path, cflex):
    """A few are aligned to see what images look like; the rest is rendered."""
    options = ["--modes", tiny.modes, "--use", "7,8", "--max-minutes", "0.02", "--batch-size", "4", "--threads", "1"]
    ended = cflex("deephemnma", "train", tiny.particles, *options, "-o", tmp_path / "model", "--network-box", "32")
    assert ended.code == 0, ended.err
    assert "24 particles without labels; rendered particles" in ended.err
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record["source"] == "rendered"
    assert record["images"]["sigma"] == pytest.approx(3.0, abs=0.6)  # of a node per residue
    assert cflex("deephemnma", "infer", tmp_path / "model", tiny.particles, "-o", tmp_path / "p").code == 0


def test_a_trained_network_is_tuned_further(model, tiny, tmp_path, cflex, refused):
    tuned = ["--modes", tiny.modes, "--from", model, "-o", tmp_path / "tuned", *FEW, "--epochs", "1"]
    assert cflex("deephemnma", "train", tiny.truth, *tuned).code == 0
    assert json.loads((tmp_path / "tuned" / "model.json").read_text())["started_from"] == str(model)
    line = refused("deephemnma", "train", tiny.truth, *tuned, "--use", "7", "--overwrite")
    assert "was trained with modes [7, 8], found [7] now" in line


@pytest.fixture
def damaged(model, tmp_path):
    """A copy of the network whose description is changed."""

    def change(**values):
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        for name in ("model.safetensors", "model.json", "run.json"):
            (folder / name).write_bytes((model / name).read_bytes())
        record = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**record, **values}))
        return folder

    return change


def test_networks_that_do_not_fit_are_refused(model, damaged, tiny, tmp_path, refused):
    output = ["-o", tmp_path / "out"]
    infer = ["deephemnma", "infer"]
    assert "found format 0, expected 1" in refused(*infer, damaged(format=0), tiny.particles, *output)
    assert "cryovit infer" in refused(*infer, damaged(method="cryovit"), tiny.particles, *output)
    changed = json.loads((model / "model.json").read_text())["preparation"]
    line = refused(*infer, damaged(preparation={**changed, "box": 64}), tiny.particles, *output)
    assert "found a box of 48 px, but the network is for 64 px" in line
    line = refused(*infer, model, tiny.particles, *output, "--pixel-size", "2.0")
    assert "found a pixel size of 2 Å, but the network is for 2.5 Å" in line
    assert "found no model.json" in refused(*infer, tmp_path, tiny.particles, *output)
    if not os.path.exists("/dev/nvidia0"):
        assert "--device cuda" in refused(*infer, model, tiny.particles, *output, "--device", "cuda")
        train = ["deephemnma", "train", tiny.truth, "--modes", tiny.modes]
        assert "--device cuda" in refused(*train, *output, "--device", "cuda:0")


def test_particles_that_teach_nothing_are_refused(tiny, tmp_path, refused):
    train = ["deephemnma", "train"]
    output = ["--modes", tiny.modes, "-o", tmp_path / "out"]
    assert "_cflexModeAmplitude<m>" in refused(*train, tiny.particles, *output)
    line = refused(*train, tiny.particles, *output, "--use", "7,8", "--source", "labelled")
    assert "found no poses" in line
    line = refused(*train, tiny.truth, *output, "--use", "7-9", "--source", "labelled")
    assert "_cflexModeAmplitude9" in line
    assert "leave 0 for validation" in refused(*train, tiny.truth, *output, "--validation", "0.01")
    assert "leave nothing to train on" in refused(*train, tiny.truth, *output, "--validation", "0.6", "--test", "0.5")


def test_an_image_that_is_not_finite_is_refused(model, tiny, tmp_path, refused):
    import mrcfile

    stack = tmp_path / "nan.mrcs"
    with mrcfile.open(tiny.particles.with_suffix(".mrcs")) as images:
        data = images.data.copy()
    data[3, 5, 5] = np.nan
    with mrcfile.new(stack, data) as images:
        images.voxel_size = 2.5
        images.set_image_stack()
    for name, file in (("particles", tiny.particles), ("truth", tiny.truth)):
        (tmp_path / f"{name}.star").write_text(file.read_text().replace("particles.mrcs", "nan.mrcs"))
    train = ["train", tmp_path / "truth.star", "--modes", tiny.modes, *FEW]
    for command in (["infer", model, tmp_path / "particles.star"], train):
        line = refused("deephemnma", *command, "-o", tmp_path / command[0])
        assert "image 4" in line
        assert "NaN" in line
