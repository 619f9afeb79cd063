"""Rigid blocks follow the file order and never join what is apart."""

import numpy as np
import pytest

from continuousflex_dl.core.dynamics.blocks import residue_blocks, spans_plane
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.structure.atoms import nameless
from continuousflex_dl.core.structure.reader import read_structure


def points(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)) * 10


def test_adk_has_22_blocks_of_10_residues(shared_data):
    structure, _ = read_structure(shared_data / "particles/hemnma_reference/4akeA.pdb")
    blocks = residue_blocks(structure, 10)
    assert blocks.max() + 1 == 22
    residues = [len(np.unique(structure.residue_index[blocks == block])) for block in range(22)]
    assert residues == [10] * 21 + [4]


@pytest.mark.parametrize("name", ["structures/ribosome30S/ribosome.pdb", "structures/nucleosome/1kx5.pdb"])
def test_no_block_crosses_a_chain_or_a_gap(shared_data, name):
    structure, _ = read_structure(shared_data / name)
    blocks = residue_blocks(structure, 10)
    for labels in (structure.chain_index, structure.segment_index):
        for block in range(blocks.max() + 1):
            assert len(np.unique(labels[blocks == block])) == 1
    extent = [np.ptp(structure.coordinates[blocks == block], axis=0).max() for block in range(blocks.max() + 1)]
    assert max(extent) < 80  # consecutive residues are near each other: 10 nucleotides stretch to some 60 Å
    residue_of_block = np.unique(np.stack([blocks, structure.residue_index]), axis=1)
    assert residue_of_block.shape[1] == structure.n_residues  # no residue is cut
    assert np.bincount(residue_of_block[0]).max() <= 12


def test_short_rest_is_merged_with_the_block_before_it():
    structure = nameless(points(22), np.ones(22))
    assert np.bincount(residue_blocks(structure, 10)).tolist() == [10, 12]


def test_atoms_on_a_line_are_merged():
    coordinates = points(30)
    coordinates[10:20] = np.arange(10)[:, None] * [1.0, 1.0, 0.0] + 50
    assert np.bincount(residue_blocks(nameless(coordinates, np.ones(30)), 10)).tolist() == [20, 10]


def test_lone_atom_of_another_chain_joins_the_nearest_block():
    from dataclasses import replace

    coordinates = points(21)
    coordinates[:10] += 100
    coordinates[20] = coordinates[:10].mean(axis=0)
    segment = np.array([0] * 20 + [1])
    structure = replace(nameless(coordinates, np.ones(21)), segment_index=segment, chain_index=segment)
    blocks = residue_blocks(structure, 10)
    assert blocks[20] == blocks[0] == 0
    assert np.bincount(blocks).tolist() == [11, 10]


def test_one_block_is_refused():
    with pytest.raises(InputError, match="smaller --block-size"):
        residue_blocks(nameless(points(8), np.ones(8)), 10)


def test_plane():
    assert not spans_plane(points(2))
    assert not spans_plane(np.arange(5)[:, None] * [1.0, 2.0, 3.0])
    assert spans_plane(points(3))
