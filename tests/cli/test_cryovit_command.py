"""cflex cryovit: learns the motion, reads no labels, resumes to the same bytes, says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.block_files import records
from continuousflex_dl.core.io.particles import read_particles, write_star

FEW = ["--epochs", "2", "--threads", "1"]
SMALL = ["--latent-size", "3", "--max-resolution", "8"]


@dataclass(frozen=True)
class Kinase:
    """Adenylate kinase on its helix of conformations: structure, modes, particles with true poses."""

    structure: Path
    modes: Path
    truth: Path


@pytest.fixture(scope="module")
def kinase(pytestconfig, tmp_path_factory) -> Kinase:
    folder = tmp_path_factory.mktemp("kinase")
    structure = pytestconfig.rootpath / "examples" / "adk_4ake_A.pdb"
    assert main(["nma", str(structure), "-o", str(folder / "nma")]) == 0
    images = ["--n-particles", "96", "--box", "64", "--pixel-size", "1.3", "--downsample", "32", "--snr", "0.5"]
    assert main(["simulate", str(folder / "nma" / "modes.npz"), "-o", str(folder / "sim"), *images]) == 0
    return Kinase(structure, folder / "nma" / "modes.npz", folder / "sim" / "truth.star")


@pytest.fixture(scope="module")
def trained(kinase, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    arguments = ["cryovit", "train", kinase.truth, "--reference", kinase.structure, "-o", folder, "--epochs", "10"]
    assert main([str(argument) for argument in [*arguments, "--threads", "1"]]) == 0
    return folder


@pytest.fixture(scope="module")
def few(kinase, tmp_path_factory) -> Path:
    """Some of the particles, enough to see what is read and what is written."""
    path = tmp_path_factory.mktemp("few") / "few.star"
    write_star(path, read_particles(kinase.truth).rows(0, 24))
    return path


def _train(kinase, output, *more, particles=None):
    return [
        "cryovit",
        "train",
        particles or kinase.truth,
        "--reference",
        kinase.structure,
        "-o",
        output,
        *FEW,
        *SMALL,
        *more,
    ]


def _evaluate(cflex, result, kinase, output):
    files = [result / "particles.star", kinase.truth, "--coordinates", result / "conformations.h5", kinase.modes]
    assert cflex("evaluate", *files, "-o", output).code == 0
    return json.loads((output / "metrics.json").read_text())


def test_the_motion_is_learned_from_a_hundred_images(cflex, trained, kinase, tmp_path):
    figures = _evaluate(cflex, trained, kinase, tmp_path / "metrics")
    still = 5.55  # Å, mean RMSD of the undeformed reference from the truth on this helix
    assert figures["rmsd_angst"]["structures"]["mean"] < 0.3 * still
    assert 0.8 < figures["recovered_motion"] < 1.1
    assert figures["rotation_deg"]["mean"] < 3


def test_the_record_says_what_the_latent_knows_and_how_sane_the_structures_are(trained):
    results = json.loads((trained / "run.json").read_text())["results"]
    assert max(results["latent_correlation"]["pose"]) < 0.5
    assert results["structures"]["backbone"] > 0.9
    assert results["structures"]["reference_backbone"] > 0.99
    assert json.loads((trained / "diagnostics.json").read_text())["structures"] == results["structures"]


def test_new_particles_are_fitted_by_a_trained_network(cflex, trained, kinase, tmp_path):
    few = read_particles(kinase.truth).rows(0, 32)
    write_star(tmp_path / "few.star", few)
    assert cflex("cryovit", "infer", trained, tmp_path / "few.star", "-o", tmp_path / "out", "--threads", "1").code == 0
    figures = _evaluate(cflex, tmp_path / "out", kinase, tmp_path / "metrics")
    assert figures["n_particles"] == 32
    assert figures["rmsd_angst"]["structures"]["mean"] < 0.3 * 5.55
    with h5py.File(tmp_path / "out" / "conformations.h5") as file:
        assert file["coordinates"].shape == (32, 214, 3)
        assert file["latent"].shape == (32, 8)


@pytest.mark.parametrize("on", ["latent", "coordinates"])
def test_the_result_has_a_conformational_space(cflex, trained, tmp_path, on):
    ended = cflex("space", trained, "-o", tmp_path / "space", "--on", on)
    assert ended.code == 0, ended.err
    assert (tmp_path / "space" / "space.npz").is_file()


def test_unsupervised_training_never_reads_labels(cflex, kinase, few, tmp_path):
    table = read_particles(few)
    labels = [label for label in table.particles.labels if label.startswith("cflex")]
    assert len(labels) == 3
    bare = type(table)(table.source, table.particles.without(labels), table.optics, table.locations)
    write_star(tmp_path / "bare.star", bare)
    shuffled = {number: values[::-1] for number, values in table.amplitudes.items()}
    write_star(tmp_path / "wrong.star", table.with_amplitudes(shuffled))
    for name, file in (("with", few), ("bare", tmp_path / "bare.star"), ("wrong", tmp_path / "wrong.star")):
        command = ["cryovit", "train", file, "--reference", kinase.structure, "-o", tmp_path / name, *FEW, *SMALL]
        assert cflex(*command).code == 0
    for other in ("bare", "wrong"):
        for name in ("model.safetensors", "model.json", "conformations.h5", "loss.csv"):
            assert (tmp_path / "with" / name).read_bytes() == (tmp_path / other / name).read_bytes()


def test_a_training_that_is_stopped_and_resumed_ends_with_the_same_bytes(cflex, kinase, few, tmp_path, monkeypatch):
    assert cflex(*_train(kinase, tmp_path / "whole", particles=few)).code == 0

    class Counting(list):
        """Says stop after four of six steps, as SIGTERM would."""

        asked = 0

        def __bool__(self):
            self.asked += 1
            return self.asked >= 4

    @contextmanager
    def soon():
        yield Counting([signal.SIGTERM])

    # a limit of time that is not reached changes nothing either
    limited = [*_train(kinase, tmp_path / "parts", particles=few), "--max-minutes", "600"]
    with monkeypatch.context() as patched:
        patched.setattr("continuousflex_dl.cli.cryovit_train.asked_to_stop", soon)
        ended = cflex(*limited)
        assert ended.code == 143
        assert "--resume" in ended.err
    assert not (tmp_path / "parts" / "particles.star").exists()
    other = cflex(*limited, "--resume", "--clash-std", "0.7")
    assert other.code == 2
    assert "clash_std" in other.err
    assert cflex(*limited, "--resume").code == 0
    for name in ("model.safetensors", "model.json", "loss.csv", "conformations.h5", "particles.star"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name
    assert not (tmp_path / "parts" / "training").exists()


def test_an_inference_that_is_killed_and_resumed_ends_with_the_same_bytes(cflex, kinase, few, tmp_path):
    particles = tmp_path / "twelve.star"
    write_star(particles, read_particles(few).rows(0, 12))
    assert cflex(*_train(kinase, tmp_path / "model", particles=particles)).code == 0
    infer = ["cryovit", "infer", tmp_path / "model", particles, "--batch-size", "4", "--threads", "1"]
    assert cflex(*infer, "-o", tmp_path / "whole").code == 0
    output = tmp_path / "parts"

    def finished():
        return sum(1 for path in (output / "blocks").glob("*.blocks") for _ in records(path, skip_damaged=True))

    command = [sys.executable, "-m", "continuousflex_dl", *map(str, infer), "-o", str(output)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None and finished() < 1:
        time.sleep(0.01)
    running.kill()
    running.wait(30)
    assert 0 < finished() < 3
    assert not (output / "particles.star").exists()
    ended = cflex(*infer, "-o", output, "--resume")
    assert ended.code == 0, ended.err
    for name in ("particles.star", "conformations.h5", "diagnostics.json", "reference.cif"):
        assert (tmp_path / "whole" / name).read_bytes() == (output / name).read_bytes(), name


def test_two_processes_learn_what_one_learns_with_batches_of_twice_the_size(cflex, kinase, few, tmp_path):
    fixed = ["--no-refine-poses"]
    assert cflex(*_train(kinase, tmp_path / "one", *fixed, "--batch-size", "12", particles=few)).code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shared = _train(kinase, tmp_path / "two", *fixed, "--batch-size", "6", particles=few)
    ended = subprocess.run(
        [*launcher, "-m", "continuousflex_dl", *map(str, shared)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = {}
    for name in ("one", "two"):
        with h5py.File(tmp_path / name / "conformations.h5") as file:
            found[name] = file["coordinates"][()]
    moved = np.abs(found["one"] - found["one"].mean(0)).max()
    assert moved > 0.3  # Å: there is something to agree on
    assert np.abs(found["one"] - found["two"]).max() < 0.02 * moved
    assert len(json.loads((tmp_path / "two" / "run.json").read_text())["processes"]) == 2


def test_a_vision_transformer_makes_the_latents_of_new_particles_at_once(cflex, kinase, few, tmp_path):
    vit = ["--encoder", "vit", "--vit-width", "16", "--patch", "8"]
    assert cflex(*_train(kinase, tmp_path / "model", *vit, particles=few)).code == 0
    ended = cflex("cryovit", "infer", tmp_path / "model", few, "-o", tmp_path / "out", "--no-refine")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("source", ["structures", "amplitudes"])
def test_known_structures_are_learned(cflex, kinase, tmp_path, trained, source):
    labels = trained / "conformations.h5" if source == "structures" else kinase.modes
    known = ["--supervised", labels, "--max-resolution", "12", "--epochs", "6"]
    assert cflex(*_train(kinase, tmp_path / "model", *known)).code == 0
    results = json.loads((tmp_path / "model" / "run.json").read_text())["results"]
    assert results["variant"] == "supervised"
    figures = _evaluate(cflex, tmp_path / "model", kinase, tmp_path / "metrics")
    assert figures["rmsd_angst"]["structures"]["mean"] < 0.6 * 5.55


def test_the_presets_of_the_thesis_run(cflex, kinase, few, trained, tmp_path):
    with h5py.File(trained / "conformations.h5") as stored, h5py.File(tmp_path / "known.h5", "w") as file:
        file["coordinates"] = stored["coordinates"][:24]
    small = ["--preset", "thesis", "--vit-width", "32"]
    for name, more in (("unsupervised", []), ("supervised", ["--supervised", tmp_path / "known.h5"])):
        ended = cflex(*_train(kinase, tmp_path / name, *small, *more, particles=few))
        assert ended.code == 0, ended.err
        record = json.loads((tmp_path / name / "model.json").read_text())
        assert record["variant"] == name
        assert record["settings"]["vit"]["depth"] == 6
        infer = ["cryovit", "infer", tmp_path / name, few, "-o", tmp_path / f"{name}-out", "--no-refine"]
        assert cflex(*infer).code == 0
        with h5py.File(tmp_path / f"{name}-out" / "conformations.h5") as file:
            assert np.isfinite(file["coordinates"][()]).all()


def test_a_loss_that_is_not_finite_stops_with_one_line(refused, kinase, tmp_path):
    line = refused(*_train(kinase, tmp_path / "out", "--learning-rate", "1e30"))
    assert "expected finite numbers" in line or "not finite" in line
    assert "learning rate" in line


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_bad_input_is_said_in_one_line(refused, trained, kinase, tiny, tmp_path):
    infer = ["cryovit", "infer"]
    assert "cflex cryovit train" in refused(*infer, tmp_path, kinase.truth, "-o", tmp_path / "a")
    assert "box of 48 px" in refused(*infer, trained, tiny.truth, "-o", tmp_path / "b")
    assert "pixel size of 3" in refused(*infer, trained, kinase.truth, "-o", tmp_path / "c", "--pixel-size", "3")
    assert "no encoder" in refused(*infer, trained, kinase.truth, "-o", tmp_path / "d", "--no-refine")
    assert "CUDA" in refused(*_train(kinase, tmp_path / "e", "--device", "cuda:7"))
    assert "no such file" in refused(*_train(kinase, tmp_path / "f", "--supervised", tmp_path / "none.h5"))
    train = ["cryovit", "train", tiny.particles, "--reference", tiny.structure, *FEW]
    assert "poses to start from" in refused(*train, "-o", tmp_path / "g")
    assert "heads" in refused(*_train(kinase, tmp_path / "h", "--vit-width", "30"))
    many = ["--decoder", "modes", "--latent-size", "200"]
    small = ["cryovit", "train", tiny.truth, "--reference", tiny.structure, *FEW, *many]
    assert "--latent-size 200" in refused(*small, "-o", tmp_path / "k")
    thesis = ["--preset", "thesis", "--supervised", kinase.modes, "--encoder", "none"]
    assert "--encoder none" in refused(*_train(kinase, tmp_path / "l", *thesis))
    with mrcfile.open(kinase.truth.parent / "particles.mrcs") as stack:
        data = stack.data.copy()
    data[5, 7, 7] = np.nan
    with mrcfile.new(tmp_path / "nan.mrcs") as stack:
        stack.set_data(data)
    text = kinase.truth.read_text().replace("particles.mrcs", "nan.mrcs")
    (tmp_path / "nan.star").write_text(text)
    assert "NaN" in refused(*_train(kinase, tmp_path / "j", particles=tmp_path / "nan.star"))
    write_star(tmp_path / "three.star", read_particles(kinase.truth).rows(0, 3))
    three = ["cryovit", "train", tmp_path / "three.star", "--reference", kinase.structure, *FEW]
    assert "--validation" in refused(*three, "-o", tmp_path / "i", "--encoder", "vit")


def test_labels_of_other_particles_or_atoms_are_refused(refused, trained, kinase, tmp_path):
    with h5py.File(tmp_path / "few.h5", "w") as file:
        file["coordinates"] = np.zeros((5, 214, 3), dtype=np.float32)
    assert "structures of 5 particles" in refused(*_train(kinase, tmp_path / "a", "--supervised", tmp_path / "few.h5"))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["coordinates"] = np.zeros((96, 100, 3), dtype=np.float32)
    assert "100 atoms" in refused(*_train(kinase, tmp_path / "b", "--supervised", tmp_path / "other.h5"))
    with h5py.File(trained / "conformations.h5") as good, h5py.File(tmp_path / "nan.h5", "w") as file:
        broken = good["coordinates"][()]
        broken[17, 3] = np.nan
        file["coordinates"] = broken
    write_star(tmp_path / "bare.star", read_particles(trained / "particles.star").with_amplitudes({}))
    bare = _train(kinase, tmp_path / "d", "--supervised", kinase.modes, particles=tmp_path / "bare.star")
    assert "_cflexModeAmplitude" in refused(*bare)
    assert "row 18" in refused(*_train(kinase, tmp_path / "c", "--supervised", tmp_path / "nan.h5"))


def test_a_network_of_another_version_is_refused(refused, trained, kinase, tmp_path):
    for change, expected in (({"format": 99}, "format 99"), ({"settings": {"latent": 3}}, "another version")):
        copy = tmp_path / f"copy-{expected.replace(' ', '-')}"
        copy.mkdir()
        for name in ("model.safetensors", "model.json"):
            (copy / name).write_bytes((trained / name).read_bytes())
        record = json.loads((copy / "model.json").read_text())
        (copy / "model.json").write_text(json.dumps({**record, **change}))
        assert expected in refused("cryovit", "infer", copy, kinase.truth, "-o", copy / "out")
