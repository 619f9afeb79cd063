"""Images ready for comparison, and who is in which batch."""

import math

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit.images import ParticleImages
from continuousflex_dl.core.cryovit.latents import Encoder, Latents
from continuousflex_dl.core.cryovit.learning import BatchOrder, Unsupervised, division
from continuousflex_dl.core.cryovit.losses import misfit
from continuousflex_dl.core.cryovit.model import CryoVit
from continuousflex_dl.core.cryovit.settings import CryoVitSettings
from continuousflex_dl.core.cryovit.structure_terms import STRETCH
from continuousflex_dl.core.cryovit.views import about_the_beam, filtered_images, half_plane, turned, upright_angle
from continuousflex_dl.core.distributed import Place
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.imaging.ctf import CtfBatch, ctf
from continuousflex_dl.core.imaging.quadrants import Quadrants
from continuousflex_dl.core.io.star import shortest
from continuousflex_dl.core.nets.vit import VitShape


def test_a_coarse_batch_is_that_of_coarse_images(images, particles, reference):
    coarse = ParticleImages(particles.table, particles.stack, resolution=12.0, particle_radius=reference.radius)
    rows = np.arange(4)
    inner, direct = images.batch(rows).inner(coarse.radius), coarse.batch(rows)
    assert coarse.radius < images.radius
    for name in ("data", "transfer"):
        assert torch.allclose(getattr(inner, name), getattr(direct, name), atol=1e-5)
    inside = direct.transfer[0] != 0
    assert torch.allclose(inner.square_frequency[0][inside], direct.square_frequency[0][inside])


def test_the_true_pose_explains_the_images_and_others_do_not(images, reference):
    model = CryoVit(reference, CryoVitSettings(), images.stack.box, len(images)).eval()
    batch = images.batch(np.arange(6))
    still = torch.zeros(6, 214, 3)
    true = misfit(model.image(batch, still, batch.rotation, batch.shift_px), batch.data)
    other = misfit(model.image(batch, still, batch.rotation.roll(1, 0), batch.shift_px), batch.data)
    moved = misfit(model.image(batch, still, batch.rotation, batch.shift_px + 2), batch.data)
    assert (true < 1.5 * other).all()
    assert (true < moved).all()


def test_what_a_network_sees_is_the_centred_image(images, particles):
    batch = images.batch(np.arange(6))
    box = images.stack.box
    # back to real space without filter: the image, but for what is finer than the disc
    plane = half_plane(batch.data, box)
    assert torch.allclose(half_plane(batch.data, box)[:, 0, 0], torch.zeros(6, dtype=plane.dtype))
    seen = filtered_images(batch, batch.data, box, corrected=True)
    axis = torch.arange(box) - box // 2
    weight = seen.clamp(min=1.5)
    centre = (
        torch.stack([(weight * axis).sum((1, 2)), (weight * axis[:, None]).sum((1, 2))], 1)
        / weight.sum((1, 2))[:, None]
    )
    given = particles.table.shift_angst / images.pixel_sizes[0]
    assert centre.abs().max() < np.abs(given).max()
    assert seen.flatten(1).std(-1).numpy() == pytest.approx(1.0, abs=1e-4)


def test_every_particle_is_in_one_batch_of_an_epoch_whatever_the_number_of_processes():
    for size in (1, 2, 3):
        places = [Place(rank, size, rank, "torchrun") if size > 1 else Place(0, 1, 0, "") for rank in range(size)]
        orders = [BatchOrder(np.arange(23), 4, 0, place) for place in places]
        steps = range(orders[0].per_epoch, 2 * orders[0].per_epoch)
        seen = np.concatenate([order.rows(step) for order in orders for step in steps])
        assert sorted(seen) == list(range(23))


def test_batches_are_a_function_of_the_step_alone():
    order = BatchOrder(np.arange(40), 8, 5)
    first = [order.rows(step).tolist() for step in range(12)]
    again = BatchOrder(np.arange(40), 8, 5)
    assert [again.rows(step).tolist() for step in (11, 3, 7)] == [first[11], first[3], first[7]]
    assert first[:5] != first[5:10]


def test_an_empty_share_is_refused():
    with pytest.raises(InputError, match="--validation"):
        division(3, 0.1, 0)
    train, held = division(100, 0.1, 0)
    assert len(held) == 10
    assert sorted([*train, *held]) == list(range(100))


def test_particles_without_poses_are_refused(particles, reference):
    without = particles.table.particles.without(["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"])
    table = type(particles.table)(particles.table.source, without, particles.table.optics, particles.table.locations)
    with pytest.raises(InputError, match="poses to start from"):
        ParticleImages(table, particles.stack, resolution=6.0, particle_radius=reference.radius)


def test_a_turned_image_is_that_of_the_turned_pose(images, reference):
    model = CryoVit(reference, CryoVitSettings(), images.stack.box, len(images)).eval()
    batch, still = images.batch(np.arange(6)), torch.zeros(6, 214, 3)
    angle = torch.tensor([0.4, -1.3, math.pi / 2, 3.0, 5.0, 2.2])
    plane = about_the_beam(angle)

    def seen(rotation, shift_px):
        points = model.projector(still, rotation, shift_px, batch.pixel_size, batch.radius)
        blurred = points * model.projector.blur(batch.square_frequency)[:, None]
        return filtered_images(batch, blurred, images.stack.box, corrected=False)[:, None]

    straight = turned(seen(batch.rotation, batch.shift_px), angle)
    posed = seen(plane @ batch.rotation, (plane[:, :2, :2] @ batch.shift_px[..., None])[..., 0])
    for one, other in zip(straight.flatten(1), posed.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.95


def test_an_encoder_sees_the_same_of_an_image_however_it_lies_in_its_plane(images):
    torch.manual_seed(0)
    box = images.stack.box
    encoder = Encoder(box, 3, VitShape(patch=8, width=16, depth=1, heads=2, mlp=16), informed=False).eval()
    batch = images.batch(np.arange(6))
    quarter = torch.tensor([math.pi / 2]).expand(6)  # about the pixel in the middle: exact but for the rim
    plane = about_the_beam(quarter)
    found, found_angle = encoder._views(batch, None)[0], upright_angle(batch.rotation)
    other = upright_angle(plane @ batch.rotation)
    assert torch.allclose(torch.cos(found_angle - other - math.pi / 2), torch.ones(6), atol=1e-5)
    straight = turned(filtered_images(batch, batch.data, box)[:, None], quarter)
    again = turned(straight, other)
    for one, same in zip(found.flatten(1), again.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, same]))[0, 1] > 0.9
    # turned so that the axis of the structure lies along x
    upright = about_the_beam(found_angle) @ batch.rotation
    assert upright[:, 1, 2].abs().max() < 1e-5
    assert (upright[:, 0, 2] >= 0).all()


def test_images_are_turned_a_little_more_in_training_only(images):
    torch.manual_seed(0)
    encoder = Encoder(images.stack.box, 3, VitShape(patch=8, width=16, depth=1, heads=2, mlp=16), informed=True)
    batch = images.batch(np.arange(6))
    seen = [encoder.train(training)._views(batch, batch.data) for training in (False, False, True, True)]
    assert torch.equal(seen[0][0], seen[1][0])
    assert not torch.equal(seen[2][0], seen[3][0])
    for pictures, rotation, back in seen:
        assert torch.allclose(back @ rotation, batch.rotation, atol=1e-5)
        assert torch.equal(pictures[:, 0], pictures[:, 1])  # image and expectation are turned alike
    apart = torch.rad2deg(torch.atan2(seen[2][1][:, 1, 2], seen[2][1][:, 0, 2]))
    assert 0 < apart.abs().max() <= 10


def test_every_particle_passes_through_its_own_ctf(particles, reference):
    labels = {"rlnDefocusU": 6000.0 + 1000.0 * np.arange(6), "rlnDefocusV": 6000.0 + 1000.0 * np.arange(6)}
    table = particles.table
    columns = table.particles.with_columns({name: shortest(values) for name, values in labels.items()})
    varied = type(table)(table.source, columns, table.optics, table.locations)
    images = ParticleImages(varied, particles.stack, resolution=6.0, particle_radius=reference.radius)
    batch = images.batch(np.array([0, 4]))
    disc, quadrants = images.disc, Quadrants(images.stack.box, images.radius)
    for place, row in enumerate((0, 4)):
        known = ctf(CtfBatch.from_arrays(varied.ctf.take([row])), disc.frequency(float(table.pixel_size[row])))
        spread = quadrants.spread(known, disc)[0]
        ratio = batch.transfer[place][spread.abs() > 0.1] / spread[spread.abs() > 0.1]
        assert (ratio > 0).all()
    assert not torch.allclose(batch.transfer[0], batch.transfer[1])


def test_resolution_rises_from_stage_to_stage(images):
    rows = np.arange(6)
    task = Unsupervised(
        images, resolution=6.0, batch_size=3, steps=8, seed=0, description={}, train_rows=rows, validation_rows=rows
    )
    radii = [task.batch(step).radius for step in range(8)]
    assert radii == sorted(radii)
    assert len(set(radii)) == 3
    assert radii[-1] == images.radius


@pytest.mark.parametrize("coarse_to_fine", [True, False])
def test_the_training_takes_the_costs_of_stretches_from_stage_to_stage(images, reference, coarse_to_fine):
    model = CryoVit(reference, CryoVitSettings(), images.stack.box, len(images)).train()
    rows = np.arange(6)
    task = Unsupervised(
        images, resolution=6.0, coarse_to_fine=coarse_to_fine, batch_size=3, steps=100, seed=0, description={},
        train_rows=rows, validation_rows=rows,
    )  # fmt: skip
    costs = []
    for step in (0, 50, 99):
        task.loss(model, task.batch(step))
        costs.append(model.terms.stretch)
    assert costs == ([0.0, 4 * STRETCH, STRETCH] if coarse_to_fine else [STRETCH] * 3)


def test_resolution_goes_on_by_the_clock_where_an_earlier_run_left_it(images):
    rows = np.arange(6)
    common = {"resolution": 6.0, "batch_size": 3, "steps": 10**6, "seed": 0, "description": {}, "max_minutes": 10.0}
    common |= {"train_rows": rows, "validation_rows": rows}
    begun, resumed = Unsupervised(images, **common), Unsupervised(images, **common, minutes_spent=9.0)
    assert begun.batch(0).radius < images.radius
    assert resumed.batch(0).radius == images.radius


def test_images_of_any_grey_values_are_fitted_at_their_scale(images, reference):
    model = CryoVit(reference, CryoVitSettings(likelihood="mse"), images.stack.box, len(images)).eval()
    batch = images.batch(np.arange(6))
    model.fit_scale(batch)
    still = Latents(torch.zeros(6, 8), torch.zeros(6, 3), torch.zeros(6, 2))
    cost = model.cost(batch, still)["image"].detach()
    empty = 0.5 * batch.data.square().flatten(1).sum(-1)
    assert (cost < 0.5 * empty).all()
    best = float(cost.sum())
    for factor in (0.8, 1.25):
        model.log_scale.data += np.log(factor)
        assert float(model.cost(batch, still)["image"].detach().sum()) > best
        model.log_scale.data -= np.log(factor)
