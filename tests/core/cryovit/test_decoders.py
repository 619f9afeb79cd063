"""Decoders move nothing as a whole, and start from the undeformed structure."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit.decoders import FreeDecoder, ModesDecoder, SmoothDecoder
from continuousflex_dl.core.cryovit.elastic import elastic_basis, soft_motions
from continuousflex_dl.core.structure.superpose import superpose


@pytest.fixture(scope="module")
def basis(reference):
    return torch.as_tensor(elastic_basis(reference, 4.0))


def _decoder(kind, reference, basis):
    if kind == "free":
        return FreeDecoder(torch.as_tensor(soft_motions(reference, 4.0)).float(), reference, 4, width=16, depth=2)
    return (SmoothDecoder if kind == "smooth" else ModesDecoder)(basis, 4, width=16)


@pytest.mark.parametrize("kind", ["smooth", "modes", "free"])
def test_no_decoder_moves_or_turns_the_structure_as_a_whole(kind, reference, basis):
    torch.manual_seed(1)
    decoder = _decoder(kind, reference, basis)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    nodes = decoder(torch.randn(3, 4))[0].detach().double().numpy()
    displacement = reference.following.astype(np.float64) @ nodes  # of all atoms
    size = np.sqrt((displacement**2).sum(-1).mean())
    assert size > 0.1
    assert np.abs(displacement.mean(axis=1)).max() < 1e-4 * size
    turning = np.cross(reference.atoms, displacement).mean(axis=1)
    assert np.abs(turning).max() < 1e-3 * size * reference.radius
    small = displacement[0] * 0.5 / np.abs(displacement[0]).max()
    rotation, translation, _ = superpose(reference.atoms + small, reference.atoms)
    assert np.allclose(rotation, np.eye(3), atol=1e-4)
    assert np.allclose(translation, 0, atol=1e-3)


@pytest.mark.parametrize("kind", ["smooth", "modes", "free"])
def test_a_latent_of_zero_is_the_reference_at_the_start(kind, reference, basis):
    displacement, cost = _decoder(kind, reference, basis)(torch.zeros(1, 4))
    assert displacement.abs().max() < 1e-6
    assert float(cost.detach()) == 0


@pytest.mark.parametrize("kind", ["smooth", "modes", "free"])
def test_latents_that_begin_at_zero_are_learned(kind, reference, basis, generator):
    torch.manual_seed(0)
    decoder, latent = _decoder(kind, reference, basis), torch.zeros(2, 4, requires_grad=True)
    wanted = torch.randn(2, 214, 3, generator=generator)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=1e-3)
    for _ in range(2):  # the last layer begins at zero: the latent is seen from the second step on
        latent.grad = None
        (decoder(latent)[0] - wanted).square().mean().backward()
        optimizer.step()
    assert latent.grad.abs().max() > 0


def test_the_first_guess_is_the_softest_modes_at_the_expected_spread(reference, basis):
    displacement, cost = SmoothDecoder(basis, 4)(torch.eye(4))
    rmsd = displacement.detach().square().sum(-1).mean(-1).sqrt()
    assert rmsd[0] == pytest.approx(4.0, rel=0.02)  # of the nodes; the frame is that of the atoms
    assert (rmsd[1:] < rmsd[:-1]).all()
    assert cost.detach().numpy() == pytest.approx(0.5)


def test_rough_motion_costs_more_than_soft_motion_of_the_same_size(basis):
    size = basis.square().sum((-2, -1)).sqrt()
    assert (size[1:] <= size[:-1] * 1.02).all()  # to the rigid part that is taken out
    assert size[0] / size[-1] > 20


def _made(decoder, displacement):
    """Numbers of the last layer that make a displacement (N, 3), given to the decoder as its output."""
    motions = decoder.basis.flatten(1)
    unit = motions / motions.norm(dim=1, keepdim=True)
    flat = displacement.flatten()
    along = unit @ flat
    rest = flat - along @ unit
    return (along / motions.norm(dim=1)) @ unit + rest / decoder.least


@pytest.mark.parametrize("keep_rigid", [True, False])
def test_free_displacements_cost_the_energy_of_the_elastic_network(keep_rigid, reference, generator):
    motions = torch.as_tensor(soft_motions(reference, 4.0)).float()
    decoder = FreeDecoder(motions, reference, 4, width=16, depth=1, keep_rigid=keep_rigid)
    size = motions.flatten(1).norm(dim=1)
    # a mode at the size of one standard deviation is half a unit of kT; moving all as one is free
    wanted = torch.stack([2 * motions[6], motions[20] + motions[9], 3 * motions[2], 100 * motions[1] + motions[6]])
    decoder.layers = torch.nn.Identity()
    displacement, energy = decoder(torch.stack([_made(decoder, one) for one in wanted]))
    assert energy.numpy() == pytest.approx([2.0, 1.0, 0.0, 0.5], abs=2e-3)
    if keep_rigid:
        assert torch.allclose(displacement, wanted, atol=1e-3 * float(wanted.abs().max()))
    # any displacement of nodes can be made, at a cost
    rough = torch.randn(214, 3, generator=generator)
    displacement, energy = decoder(_made(decoder, rough)[None])
    if keep_rigid:
        assert torch.allclose(displacement[0], rough, atol=1e-3)
    assert float(energy) > 0.5 * 0.5 * float(rough.square().sum()) / float(size[40]) ** 2


def test_energy_of_the_free_decoder_is_that_of_its_network(reference):
    """Against a Hessian made here: springs between all nodes within 15 Å."""
    nodes = reference.nodes
    apart = nodes[:, None] - nodes[None]
    square = (apart**2).sum(-1)
    near = (square < 15.0**2) & (square > 0)
    springs = np.where(near, 1.0 / np.where(near, square, 1.0), 0.0)
    blocks = -springs[..., None, None] * apart[..., :, None] * apart[..., None, :]
    blocks[np.arange(len(nodes)), np.arange(len(nodes))] = -blocks.sum(1)
    hessian = blocks.transpose(0, 2, 1, 3).reshape(3 * len(nodes), -1)
    values = np.linalg.eigvalsh(hessian)
    motions = soft_motions(reference, 4.0).astype(np.float64)
    decoder = FreeDecoder(torch.as_tensor(motions).float(), reference, 4, width=16, depth=1, keep_rigid=True)
    decoder.layers = torch.nn.Identity()
    generator = np.random.default_rng(5)
    moves = np.einsum("bk,kna->bna", generator.normal(size=(3, 100)), motions[6:106])
    flat = moves.reshape(3, -1)
    expected = 0.5 * np.einsum("bi,ij,bj->b", flat, hessian, flat) / (values[6] * 4.0**2 * len(nodes))
    _, energy = decoder(torch.stack([_made(decoder, torch.as_tensor(one).float()) for one in moves]))
    assert energy.numpy() == pytest.approx(expected, rel=0.01)
