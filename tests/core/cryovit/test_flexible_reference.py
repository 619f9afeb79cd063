"""Nodes that move and atoms that follow."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit import reference as module
from continuousflex_dl.core.cryovit.model import CryoVit
from continuousflex_dl.core.cryovit.reference import FlexibleReference
from continuousflex_dl.core.cryovit.settings import CryoVitSettings
from continuousflex_dl.core.structure.atoms import nameless, representation
from continuousflex_dl.core.structure.reader import read_structure


def test_one_node_per_residue_with_all_atoms_following(reference, heavy):
    assert reference.nodes.shape == (214, 3)
    assert reference.atoms.shape == (len(heavy), 3)
    assert (heavy.atom_name[reference.node_rows] == "CA").all()
    assert np.allclose(reference.atoms[reference.node_rows], reference.nodes)


def test_atoms_follow_rigid_and_affine_motion_exactly(reference):
    rng = np.random.default_rng(0)
    affine = rng.normal(size=(3, 3))
    moved = reference.nodes @ affine.T + [1.0, -2.0, 3.0]
    atoms = reference.atoms + reference.following @ (moved - reference.nodes)
    assert np.abs(atoms - (reference.atoms @ affine.T + [1.0, -2.0, 3.0])).max() < 2e-3


def test_an_atom_moves_with_the_nodes_around_it_and_no_others(reference):
    displacement = np.zeros_like(reference.nodes)
    displacement[0] = [5.0, 0.0, 0.0]
    moved = np.linalg.norm(reference.following @ displacement, axis=1)
    far = np.linalg.norm(reference.atoms - reference.nodes[0], axis=1) > 20
    assert moved[reference.node_rows[0]] == pytest.approx(5.0, abs=1.0)
    assert moved[far].max() == 0


def test_a_reference_of_nodes_only_is_projected_itself(heavy):
    nodes = FlexibleReference.of(representation(heavy, "ca-p"))
    assert nodes.following is None
    assert len(nodes.atoms) == len(nodes.nodes) == 214
    assert nodes.weights.sum() == pytest.approx(1.0)


def test_blobs_are_pieces_of_residues_and_follow_like_atoms(reference, heavy):
    blobs = FlexibleReference.of(heavy, blobs=True)
    count = np.bincount(heavy.residue_index)
    assert len(blobs.atoms) == np.ceil(count / 6).sum()
    mass = heavy.weights / heavy.weights.sum()
    assert blobs.weights.sum() == pytest.approx(1.0)
    assert blobs.weights @ blobs.atoms == pytest.approx(mass @ reference.atoms, abs=1e-9)
    # the eleven atoms of a residue in two pieces, one after the other
    residue = int(np.flatnonzero(count == 11)[0])
    members, first = np.flatnonzero(heavy.residue_index == residue), int(np.ceil(count[:residue] / 6).sum())
    for blob, piece in ((first, members[:6]), (first + 1, members[6:])):
        assert blobs.atoms[blob] == pytest.approx(np.average(reference.atoms[piece], axis=0, weights=mass[piece]))
        assert blobs.weights[blob] == pytest.approx(mass[piece].sum())
    affine = np.random.default_rng(0).normal(size=(3, 3))
    moved = blobs.atoms + blobs.following @ (blobs.nodes @ affine.T - blobs.nodes)
    assert np.abs(moved - blobs.atoms @ affine.T).max() < 2e-3


def test_a_structure_too_large_for_its_atoms_is_projected_as_fewer_blobs(heavy, monkeypatch):
    count = len(FlexibleReference.of(heavy, blobs=True).atoms)
    monkeypatch.setattr(module, "_LARGEST", count * 214)
    assert len(FlexibleReference.of(heavy).atoms) == count
    monkeypatch.setattr(module, "_LARGEST", count * 214 - 1)
    smaller = FlexibleReference.of(heavy)
    assert len(smaller.atoms) == 214
    assert smaller.following is not None
    monkeypatch.setattr(module, "_LARGEST", 1)
    smallest = FlexibleReference.of(heavy)
    assert len(smallest.atoms) == 214
    assert smallest.following is None
    assert smallest.weights.sum() == pytest.approx(1.0)


def test_the_chain_does_not_run_over_a_gap(pytestconfig, tmp_path):
    whole = (pytestconfig.rootpath / "examples" / "adk_4ake_A.pdb").read_text().splitlines(keepends=True)
    kept = [line for line in whole if not (line.startswith("ATOM") and 50 <= int(line[22:26]) < 60)]
    (tmp_path / "gap.pdb").write_text("".join(kept))
    broken = FlexibleReference.of(read_structure(tmp_path / "gap.pdb")[0])
    number = broken.structure.residue_number
    assert len(broken.nodes) == 204
    assert len(broken.chain) == 202
    assert (number[broken.chain[:, 1]] - number[broken.chain[:, 0]] == 1).all()


def test_pseudoatoms_are_nodes_without_a_chain(heavy, images):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(60, 3)) * 8
    blobs = replace(nameless(places, np.ones(60)), sigma=2.0)
    reference = FlexibleReference.of(blobs)
    assert reference.following is None
    assert reference.sigma == 2.0
    assert len(reference.chain) == 0
    model = CryoVit(reference, CryoVitSettings(latent=3), images.stack.box, len(images)).eval()
    parts = model(images.batch(np.arange(2)))
    assert all(torch.isfinite(value).all() for value in parts.values())
    assert float(parts["clashes"].detach().abs().max()) == 0
