"""What a network learns is in the images: guards against leaks between particles and labels that stay behind."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.deephemnma.labels import Labels
from continuousflex_dl.core.deephemnma.objective import constant_like, held_out, mean_errors
from continuousflex_dl.core.deephemnma.particles import Particles, pixel_size_of
from continuousflex_dl.core.deephemnma.presets import PRESETS
from continuousflex_dl.core.deephemnma.sources import moved
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.hemnma.posterior import NEAR_DEG
from continuousflex_dl.core.imaging.rotations import angle_between
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.particles.stack import ImageStack

CPU = torch.device("cpu")
SMALL = replace(PRESETS["default"], batch=32, network_box=32, radii=16, angles=32, widths=(16, 32, 64, 128))


def shares_of_chance(prepared, model, rows=None):
    """Errors over those of the best constant prediction, on the validation particles or on others."""
    batches = list(prepared.learning.held.batches(rows))
    truth = Labels.join([labels for _, labels in batches])
    model.eval()
    found = held_out(model, prepared.objective, batches)
    chance = mean_errors(constant_like(truth), truth, prepared.objective)
    return {kind: found[kind] / chance[kind] for kind in ("amplitude_angst", "angle_deg")}


def test_labels_are_learned(labelled, tmp_path):
    """Fails where images are turned or shifted and their labels are not."""
    prepared = labelled.prepared(source="labelled")
    model, _ = labelled.train(prepared, tmp_path, 120)
    found = shares_of_chance(prepared, model)
    assert found["angle_deg"] < 0.75
    assert found["amplitude_angst"] < 0.9


def test_permuted_labels_are_learned_by_heart_and_teach_nothing(labelled, tmp_path):
    """A validation particle, or a copy of one, that is trained on would be known by heart as well."""
    few = labelled.table.take(np.arange(48))
    order = np.random.default_rng(3).permutation(48)
    wrong = few.with_poses(few.euler_deg[order], few.shift_angst[order])
    wrong = wrong.with_amplitudes({mode: values[order] for mode, values in few.amplitudes.items()})
    preset = replace(SMALL, augment=False, batch=24)
    prepared = labelled.prepared(preset, table=wrong, source="labelled", validation=0.33)
    model, _ = labelled.train(prepared, tmp_path, 60, preset)
    assert max(shares_of_chance(prepared, model, prepared.division.training).values()) < 0.3
    assert min(shares_of_chance(prepared, model).values()) > 0.95


def test_rendered_particles_teach_what_others_show(learned):
    """Trained on rendered particles alone, tested on simulated ones, which are made in another way."""
    _, network = learned
    found = network.record["held_out"]["validation"]
    assert found["angle_deg"] < 60.0  # chance: 126
    assert found["amplitude_angst"] < 27.0  # chance: 30
    assert network.record["errors"]["constant"] is False


@pytest.mark.parametrize(("degrees", "share"), [(90.0, 0.1), (180.0, 0.1), (37.0, 0.5)])
def test_turning_an_image_turns_the_predicted_orientation(labelled, learned, degrees, share):
    """By quarters of a circle the columns of the network change places; between them it has to have learned it."""
    _, network = learned
    particles = Particles(labelled.table, labelled.stack, network.preparation)
    images = particles.prepared(np.arange(64))
    before = network.predict(images)
    angle, still = torch.full((64,), np.deg2rad(degrees), dtype=torch.float32), torch.zeros(64, 2)
    after, wanted = network.predict(moved(images, angle, still)), before.labels.moved(angle, still)
    off = angle_between(after.labels.rotation, wanted.rotation)
    unmoved = angle_between(after.labels.rotation, before.labels.rotation)
    assert off.median() < share * before.angle_std.median()
    assert unmoved.rad2deg().median() == pytest.approx(degrees, abs=10)
    spread = before.amplitude_std.median(0).values
    assert ((after.labels.amplitudes - before.labels.amplitudes).abs().median(0).values < share * spread).all()
    assert (after.labels.shift_angst - wanted.shift_angst).abs().median() < share * before.shift_std.median()


def seen_by(model):
    """What a network is given, from now on."""
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    return seen


@pytest.mark.parametrize("filtering", ["wiener", "flip"])
def test_an_image_reaches_the_network_alike_in_training_validation_and_inference(labelled, tmp_path, filtering):
    """Bit for bit, whatever else is in its batch or its set, and by what the checkpoint says."""
    from continuousflex_dl.cli.held_out import calibrate_and_write
    from continuousflex_dl.core.deephemnma.predict import Network

    preset = replace(SMALL, augment=False, batch=8, filtering=filtering)
    table = labelled.table.take(np.arange(30))
    prepared = labelled.prepared(preset, table=table, validation=0.2)
    learning, division = prepared.learning, prepared.division
    model, _ = labelled.train(prepared, tmp_path, 1, preset)
    calibrate_and_write(tmp_path, prepared, model, table, torch.float32)
    seen = seen_by(model)
    learning.loss(model, learning.batch(0))
    learning.validate(model)
    rows = [learning.source._row(number) for number in range(8)] + division.validation.tolist()
    network = Network.read(tmp_path, CPU)
    other = labelled.table.take(np.arange(59, -1, -1))
    particles = Particles(other, ImageStack(other), network.preparation)
    first = seen_by(network.model)
    for row in rows:
        network.predict_rows(particles, np.array([59 - row]))
    assert torch.equal(seen[0], torch.cat([images[:1] for images in first[:8]]))
    assert torch.equal(seen[1], torch.cat([images[:1] for images in first[8:]]))
    assert all(torch.equal(images, seen[1]) for images in seen[1:])


def test_validation_and_test_share_no_particle_with_training(labelled):
    division = labelled.prepared(test=0.2).division
    rows = [set(rows.tolist()) for rows in (division.training, division.validation, division.test)]
    assert [len(part) for part in rows] == [420, 60, 120]
    assert len(set.union(*rows)) == 600
    source = labelled.prepared(test=0.2).learning.source
    seen = {source._row(number) for number in range(3 * len(rows[0]))}
    assert seen == rows[0]


def test_an_epoch_holds_every_particle_once(labelled):
    source = labelled.prepared().learning.source
    count = len(source.rows)
    for epoch in range(2):
        assert sorted(source._row(epoch * count + number) for number in range(count)) == source.rows.tolist()
    assert [source._row(number) for number in range(count)] != [source._row(count + number) for number in range(count)]


def test_the_edge_of_a_moved_image_does_not_give_the_movement_away(labelled):
    """Its mask stays where it is: what was moved looks like what was not."""
    prepared = labelled.prepared()
    moved_images, _ = prepared.learning.batch(0)
    others, _ = next(prepared.learning.held.batches())
    outside = (others == others[0, 0, 0, 0]).all(0)[0]
    assert 0.1 < outside.float().mean() < 0.4
    assert (moved_images[:, 0, outside] == others[0, 0, 0, 0]).all()
    edge = ~outside & (torch.nn.functional.avg_pool2d(outside[None].float(), 3, 1, 1)[0] > 0)  # of the soft mask
    assert moved_images[:, 0, edge].std() == pytest.approx(float(others[:, 0, edge].std()), rel=0.15)


def test_a_batch_is_a_function_of_its_step(labelled):
    for source in ("labelled", "rendered", "both"):
        first, again = (labelled.prepared(source=source).learning for _ in range(2))
        images, labels = first.batch(7)
        first.batch(8)
        assert torch.equal(images, again.batch(7)[0])
        assert torch.equal(labels.rotation, again.batch(7)[1].rotation)
        assert not torch.equal(images, again.batch(8)[0])


def test_a_batch_of_one_image_comes_from_each_source_in_turn(labelled):
    source = labelled.prepared(source="both").learning.source
    for step in range(4):
        images, labels = source.batch(step, 1)
        assert len(images) == len(labels) == 1
        assert torch.equal(images, (source.second if step % 2 else source.first).batch(step, 1)[0])


def test_processes_see_different_particles(labelled):
    from continuousflex_dl.core.distributed import Place

    def images(rank):
        from continuousflex_dl.core.deephemnma.learning import Request, prepare

        place = Place(rank, 2, rank, 2)
        request = Request(modes=(7, 8), source="both")
        prepared = prepare(
            labelled.table, labelled.stack, labelled.modes, SMALL, request, batch_size=8, dtype=torch.float32,
            device=CPU, place=place,
        )  # fmt: skip
        return prepared.learning.batch(0)[0]

    first, second = images(0), images(1)
    assert len(first) == len(second) == 4
    assert not any(torch.equal(a, b) for a in first for b in second)


@pytest.mark.parametrize(("preset", "count"), [("default", 1), ("default", 3), ("default", 7), ("paper", 7)])
def test_any_number_of_modes_goes_from_labels_to_predictions(labelled, tmp_path, preset, count):
    """Trained, calibrated, written, read again; the peer knows three modes."""
    from continuousflex_dl.cli.held_out import calibrate_and_write
    from continuousflex_dl.core.deephemnma.predict import Network, as_arrays

    modes = tuple(range(7, 7 + count))
    given = labelled.table.take(np.arange(24))
    table = given.with_amplitudes({mode: given.amplitudes.get(mode, 0.5 * given.amplitudes[7]) for mode in modes})
    some = replace(labelled, modes=read_modes(labelled.folder / "nma" / "modes.npz").select(modes))
    chosen = SMALL if preset == "default" else replace(PRESETS["paper"], network_box=32)
    chosen = replace(chosen, batch=8)
    prepared = some.prepared(chosen, table=table, modes=modes, source="labelled", validation=0.25)
    model, _ = labelled.train(prepared, tmp_path, 1, chosen)
    calibrate_and_write(tmp_path, prepared, model, table, torch.float32)
    network = Network.read(tmp_path, CPU)
    found = as_arrays(network.predict_rows(Particles(table, ImageStack(table), network.preparation), np.arange(24)))
    assert network.modes == modes
    assert found["amplitudes"].shape == found["amplitude_std"].shape == (24, count)
    assert np.isfinite(found["amplitudes"]).all()
    assert (found["amplitude_std"] > 0).all()


def test_odd_labels_are_left_out(labelled):
    values = {mode: np.array(v) for mode, v in labelled.table.amplitudes.items()}
    values[7][5] = 900.0
    table = labelled.table.with_amplitudes(values)
    paper = labelled.prepared(replace(PRESETS["paper"], network_box=32), table=table)
    assert 5 not in np.concatenate([paper.division.training, paper.division.validation])
    flags = np.ones(len(table), dtype=bool)
    flags[:3] = False
    kept = labelled.prepared(table=labelled.table.with_results(converged=flags)).division
    assert set(range(3)).isdisjoint(np.concatenate([kept.training, kept.validation]).tolist())


def test_what_cannot_be_divided_is_refused(labelled):
    with pytest.raises(InputError, match="leave 0 for validation"):
        labelled.prepared(table=labelled.table.take(np.arange(4)), validation=0.1)
    with pytest.raises(InputError, match="_cflexConverged is 0 for all particles"):
        labelled.prepared(table=labelled.table.with_results(converged=np.zeros(len(labelled.table), dtype=bool)))


def test_images_that_do_not_show_the_reference_are_refused(labelled):
    with pytest.raises(InputError, match=r"negative correlation\); give --invert-contrast"):
        labelled.prepared(invert=True)
    with pytest.raises(InputError, match=r"mixed: found pixel sizes from 2\.4 to 2\.64 Å, expected one"):
        pixel_size_of(SimpleNamespace(source="mixed", pixel_size=np.array([2.4, 2.64, 2.4])))


def test_confidence_is_the_share_of_a_normal_error_within_ten_degrees():
    from continuousflex_dl.core.deephemnma.predict import _near

    draws = np.random.default_rng(0).normal(scale=6.0, size=(200_000, 3))
    assert _near(6.0) == pytest.approx((np.linalg.norm(draws, axis=1) < NEAR_DEG).mean(), abs=0.005)
