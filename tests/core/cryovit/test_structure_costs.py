"""Bonds and clashes: costs, and figures of how protein-like structures are."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit.structure_terms import StructureTerms, count_clashes, sanity


@pytest.fixture
def terms(reference):
    return StructureTerms(reference.nodes, reference.chain, bond_scale=0.3, clash_std=0.5)


def test_the_reference_costs_nothing(terms):
    bonds, clashes = terms(torch.zeros(2, 214, 3))
    assert bonds.abs().max() < 1e-6
    assert clashes.abs().max() < 1e-6


def _pulled(reference, by):
    """One bond of the chain longer by so many Å."""
    displacement = torch.zeros(1, 214, 3)
    bond = reference.nodes[100] - reference.nodes[99]
    displacement[:, 100:] += torch.as_tensor(by * bond / np.linalg.norm(bond), dtype=torch.float32)
    return displacement


def test_a_torn_chain_costs_and_is_counted(terms, reference):
    torn = _pulled(reference, 3.0)
    assert float(terms(torn)[0]) > 1
    figures = sanity((reference.nodes + torn.numpy()), reference.nodes, reference.chain)
    whole = sanity(reference.nodes[None], reference.nodes, reference.chain)
    assert figures.backbone < whole.backbone == whole.reference_backbone
    assert whole.reference_backbone > 0.99


def test_short_bonds_cost_in_proportion_and_long_ones_less_and_less(terms, reference):
    terms.train()
    terms.go_on(1.0)
    cost = {by: float(terms(_pulled(reference, by))[0]) for by in (-1.0, -0.6, -0.15, 0.15, 0.5, 1.0, 1.5)}
    assert cost[-0.15] == cost[0.15] == 0
    assert cost[-1.0] == pytest.approx((1.0 - 0.2 - 0.05) / 0.3, rel=0.01)  # slack, then in proportion
    assert cost[-1.0] - cost[-0.6] == pytest.approx(0.4 / 0.3, rel=0.01)
    assert cost[1.5] - cost[1.0] < 0.7 * (cost[1.0] - cost[0.5])
    assert cost[1.0] < 0.5 * cost[-1.0]


def test_stretches_cost_nothing_at_first_then_most_and_are_always_judged_alike(terms, reference):
    terms.train()
    costs = []
    for done in (0.0, 0.3, 0.5, 0.9):
        terms.go_on(done)
        costs.append(float(terms(_pulled(reference, 1.0))[0]))
    assert costs[0] == costs[1] == 0
    assert costs[2] > 2 * costs[3] > 0
    rough = StructureTerms(reference.nodes, reference.chain, bond_scale=0.3, clash_std=0.5, soft=False)
    rough.go_on(0.0)
    assert float(rough(_pulled(reference, 1.0))[0]) == pytest.approx(costs[2])
    terms.go_on(0.0)
    assert float(terms.eval()(_pulled(reference, 1.0))[0]) == pytest.approx(costs[3])


def test_parts_that_meet_clash_however_far_apart_they_were(terms, reference):
    distance = np.linalg.norm(reference.nodes[:, None] - reference.nodes[None], axis=-1)
    a, b = np.unravel_index(distance.argmax(), distance.shape)
    displacement = torch.zeros(1, 214, 3)
    displacement[0, a] = torch.as_tensor(reference.nodes[b] - reference.nodes[a] + [0, 0, 1.0])
    _, clashes = terms(displacement)
    assert float(clashes) > 1
    moved = reference.nodes + displacement[0].numpy()
    assert count_clashes(moved, reference.chain) > count_clashes(reference.nodes, reference.chain)


def test_a_rigid_motion_costs_nothing(terms, reference):
    rotation = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    displacement = torch.as_tensor(reference.nodes @ rotation.T + 5 - reference.nodes, dtype=torch.float32)[None]
    bonds, clashes = terms(displacement)
    assert float(bonds) + float(clashes) < 1e-4
