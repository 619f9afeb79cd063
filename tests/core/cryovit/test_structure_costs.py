"""Bonds and clashes: costs, and figures of how protein-like structures are."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit.structure_terms import StructureTerms, count_clashes, sanity


@pytest.fixture(scope="module")
def terms(reference):
    return StructureTerms(reference.nodes, reference.chain, bond_scale=0.3, clash_std=0.5)


def test_the_reference_costs_nothing(terms):
    bonds, clashes = terms(torch.zeros(2, 214, 3))
    assert bonds.abs().max() < 1e-6
    assert clashes.abs().max() < 1e-6


def test_a_torn_chain_costs_and_is_counted(terms, reference):
    displacement = torch.zeros(1, 214, 3)
    bond = reference.nodes[100] - reference.nodes[99]
    displacement[:, 100:] += torch.as_tensor(3.0 * bond / np.linalg.norm(bond), dtype=torch.float32)
    bonds, _ = terms(displacement)
    assert float(bonds) == pytest.approx((3.0 - 0.25 - 0.05) / 0.3, rel=0.01)  # slack, then in proportion
    figures = sanity((reference.nodes + displacement.numpy()), reference.nodes, reference.chain)
    whole = sanity(reference.nodes[None], reference.nodes, reference.chain)
    assert figures.backbone < whole.backbone == whole.reference_backbone
    assert whole.reference_backbone > 0.99


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
