"""Which hypotheses survive: those that the image leaves open, each place once."""

from dataclasses import replace
from types import SimpleNamespace

import torch

from continuousflex_dl.core.hemnma.refine import Hypotheses
from continuousflex_dl.core.hemnma.selection import FEWEST, best_distinct, within_margin, worth_refining
from continuousflex_dl.core.imaging.rotations import rotation_grid

FLAT = SimpleNamespace(amplitude_unit=10.0, gyration_radius=20.0)  # all that distances between hypotheses need


def hypotheses(image, cost, rotation=None):
    count = len(image)
    rotation = torch.eye(3).expand(count, 3, 3) if rotation is None else rotation
    start = Hypotheses.start(torch.tensor(image), rotation, torch.zeros(count, 2), torch.zeros(count, 1))
    return replace(start, cost=torch.tensor(cost))


def test_a_well_seen_particle_needs_few_orientations_and_a_faint_one_many():
    falling = torch.linspace(0, 1, 96)
    clear, faint = 1000.0 - 5000.0 * falling, 30.0 - 8.0 * falling
    likely = worth_refining(torch.stack([clear, faint]))
    assert likely.sum(1).tolist() == [FEWEST, 96]


def test_the_best_orientation_always_goes_on():
    likely = worth_refining(torch.tensor([[0.0, 0.0], [1e-9, -1.0]]))
    assert likely[:, 0].all()


def test_each_image_keeps_its_own_best():
    grid = rotation_grid(60.0)[:6].float()
    h = hypotheses([1] * 6 + [0] * 6, [float(k) for k in range(12)], torch.cat([grid, grid]))
    kept = best_distinct(h, 2, 2, FLAT)
    assert kept.image.tolist() == [0, 0, 1, 1]
    assert kept.cost.tolist() == [6, 7, 0, 1]


def test_the_same_place_counts_once_with_its_best_cost():
    h = hypotheses([0, 0, 0], [3.0, 1.0, 2.0])
    kept = best_distinct(h, 1, 3, FLAT, within_angst=0.5)
    assert kept.cost.tolist() == [1.0]


def test_a_margin_is_a_share_of_what_the_particle_gains():
    power = torch.tensor([2000.0])
    h = hypotheses([0, 0, 0], [200.0, 270.0, 290.0])  # gains 800, 730 and 710; 720 is asked for
    assert within_margin(h, power, 1, 0.1).cost.tolist() == [200.0, 270.0]
