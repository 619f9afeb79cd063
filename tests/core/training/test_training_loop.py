"""The training loop on a small regression: learns, keeps the best, stops early, resumes to the same bits."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.training.checkpoint import read_checkpoint, write_checkpoint
from continuousflex_dl.core.training.curves import EVENTS, TABLE, read_curves
from continuousflex_dl.core.training.loop import train
from continuousflex_dl.core.training.settings import TrainingSettings
from continuousflex_dl.core.training.state import FOLDER, remove_state

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    head = nn.Flatten(), nn.Linear(4 * 36, 8), nn.Dropout(0.2), nn.Linear(8, 1)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)
    return layers.to(memory_format=torch.channels_last)


class Sums:
    """Learns the sum of the pixels of a noise image."""

    def __init__(self, *, poison_at=-1, validation=None):
        self.description = {"method": "sums"}
        self.poison_at, self._validation = poison_at, list(validation or [])

    def batch(self, step):
        images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        if step == self.poison_at:
            images[3] = torch.nan
        return images, images.sum((1, 2, 3)) / 8

    def loss(self, model, batch):
        loss = (model(batch[0]).flatten() - batch[1]).square().mean()
        return loss, {"square": loss}

    def validate(self, model):
        if self._validation:
            return {"loss": self._validation.pop(0)}
        with torch.no_grad():
            return {"loss": float(self.loss(model, self.batch(10_000))[0])}


def settings(**changes):
    values = {"steps": 40, "validate_every": 10, "learning_rate": 1e-2, "warmup_steps": 4, "average": 0.9}
    return TrainingSettings(**values | changes)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "model.json", TABLE, EVENTS)}


def test_it_learns_and_keeps_the_best(tmp_path):
    outcome = train(network(), Sums(), settings(steps=150), tmp_path, device=CPU)
    rows = read_curves(tmp_path)
    assert outcome.reason == "steps"
    assert len(rows) == 15
    assert outcome.standing.best["loss"] == pytest.approx(min(row["loss"] for row in rows), rel=1e-5)
    assert outcome.standing.best["loss"] < 0.5 * rows[0]["loss"]
    record, weights = read_checkpoint(tmp_path, "sums")
    model = network()
    model.load_state_dict(weights)
    model.eval()
    assert Sums().validate(model)["loss"] == pytest.approx(record["metrics"]["loss"], rel=1e-5)


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("killed_after", [7, 20, 33])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bits(tmp_path, killed_after, average):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    train(network(), Sums(), settings(average=average), tmp_path / "whole", device=CPU)
    steps = iter(range(1, 100))
    first = train(
        network(), Sums(), settings(average=average), tmp_path / "cut", device=CPU,
        stop=lambda: next(steps) == killed_after,
    )  # fmt: skip
    assert first.reason == "interrupted"
    assert first.standing.step == killed_after
    second = train(network(), Sums(), settings(average=average), tmp_path / "cut", device=CPU, resume=True)
    assert second.finished
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    remove_state(tmp_path / "cut")
    assert not (tmp_path / "cut" / FOLDER).exists()


def test_without_improvement_it_stops_and_keeps_what_was_best(tmp_path):
    task = Sums(validation=[3.0, 2.0, 2.5, 2.5, 2.1, 9.0])
    outcome = train(network(), task, settings(steps=1000, patience=3), tmp_path, device=CPU)
    assert outcome.reason == "patience"
    assert (outcome.standing.step, outcome.standing.best_step) == (50, 20)
    assert read_checkpoint(tmp_path, "sums")[0]["step"] == 20


def test_time_ends_a_training_with_a_validated_network(tmp_path):
    outcome = train(network(), Sums(), settings(steps=10**6, max_minutes=0.01), tmp_path, device=CPU)
    assert outcome.reason == "time"
    assert outcome.standing.minutes < 0.2
    assert read_curves(tmp_path)[-1]["step"] == outcome.standing.step


def test_a_loss_that_is_not_finite_says_where_and_keeps_the_last_network(tmp_path):
    with pytest.raises(NonFiniteError, match="step 26: found loss nan"):
        train(network(), Sums(poison_at=25), settings(), tmp_path, device=CPU)
    assert read_checkpoint(tmp_path, "sums")[0]["step"] <= 20


def test_a_training_is_not_resumed_as_another_one(tmp_path):
    first = {"device": CPU, "options": {"preset": "paper", "particles": "a.star"}}
    train(network(), Sums(), settings(steps=10), tmp_path, **first)
    other = {**first, "options": {"preset": "paper", "particles": "b.star"}}
    with pytest.raises(InputError, match=r"had particles a\.star, found b\.star now"):
        train(network(), Sums(), settings(steps=20), tmp_path, resume=True, **other)
    assert train(network(), Sums(), settings(steps=20), tmp_path, resume=True, **first).standing.step == 20


def test_a_damaged_state_is_refused(tmp_path):
    train(network(), Sums(), settings(steps=10), tmp_path, device=CPU)
    state = tmp_path / FOLDER / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="not the state of this training"):
        train(network(), Sums(), settings(steps=10), tmp_path, device=CPU, resume=True)


def test_checkpoints_of_other_versions_methods_and_mixtures_are_refused(tmp_path):
    write_checkpoint(tmp_path, {"a": torch.ones(2)}, {"method": "sums"})
    with pytest.raises(InputError, match="found a network of sums, expected one of deephemnma"):
        read_checkpoint(tmp_path, "deephemnma")
    record = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(InputError, match="found format 99, expected 1"):
        read_checkpoint(tmp_path, "sums")
    (tmp_path / "model.json").write_text(json.dumps({**record, "weights": "0"}))
    with pytest.raises(InputError, match="not the weights"):
        read_checkpoint(tmp_path, "sums")
    with pytest.raises(InputError, match=r"found no model\.json"):
        read_checkpoint(tmp_path / "nowhere", "sums")


def test_the_schedules_go_where_they_should():
    cosine = settings(warmup_steps=10, steps=100, learning_rate=1.0)
    assert cosine.rate(0, 0) == pytest.approx(0.1)
    assert cosine.rate(50, 0) == pytest.approx(0.5)
    assert cosine.rate(99, 0) < 1e-3
    timed = settings(steps=10**6, max_minutes=10.0, learning_rate=1.0, warmup_steps=0)
    assert timed.rate(10, 9.99) < 1e-3  # time ends the schedule, though hardly a step is done
    stairs = settings(schedule="staircase", stair_steps=80, steps=400, learning_rate=1.0, warmup_steps=0)
    assert [stairs.rate(step, 0) for step in (79, 80, 399)] == pytest.approx([1.0, 0.1, 1e-4])


def test_tensorboard_reads_the_event_file(tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    train(network(), Sums(), settings(steps=20), tmp_path, device=CPU)
    data, found = (tmp_path / EVENTS).read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        found.append(event_pb2.Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    tags = {value.tag for event in found for value in event.summary.value}
    assert {"validation/loss", "training/loss", "training/square"} <= tags
    assert [event.step for event in found] == [0, 10, 20]


_WORKER = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    import os, torch
    from continuousflex_dl.core.distributed import place_of
    from continuousflex_dl.core.training.loop import train
    from continuousflex_dl.core.training.parallel import group
    from test_training_loop import Sums, settings
    place, folder = place_of(os.environ), Path(sys.argv[1])
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))

    class Half(Sums):
        def batch(self, step):
            images, sums = super().batch(step)
            return images[place.rank :: place.size], sums[place.rank :: place.size]

    with group(place, torch.device("cpu"), folder):
        train(model, Half(), settings(steps=30), folder, device=torch.device("cpu"), place=place)
"""


def test_two_processes_train_the_network_that_one_trains(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(_WORKER))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    train(model, Sums(), settings(steps=30), tmp_path / "one", device=CPU)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [str(script), str(tmp_path / "two"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (read_checkpoint(tmp_path / name, "sums")[1] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
