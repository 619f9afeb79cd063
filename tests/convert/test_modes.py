"""Normal modes of this plugin and of others become files for the command line, and back."""

import numpy as np
import pytest
from pwem.objects import AtomStruct, NormalMode, SetOfNormalModes

from continuousflex_dl.convert import (
    ConversionError,
    mode_numbers,
    prepare_modes,
    read_modes,
    write_modes_folder,
)
from continuousflex_dl.core.io.modes import read_modes as read_mode_files

ATOMS = 12


@pytest.fixture
def coordinates():
    return np.random.default_rng(0).normal(scale=10.0, size=(ATOMS, 3))


def modes_npz(path, coordinates, count=4):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(count, ATOMS, 3))
    vectors /= np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    np.savez(
        path,
        indices=np.arange(7, 7 + count),
        eigenvalues=np.linspace(0.1, 0.4, count),
        vectors=vectors,
        coordinates=coordinates,
        collectivity=np.linspace(0.6, 0.05, count),
        score=np.linspace(0.1, 0.9, count),
        weights=np.ones(ATOMS),
        sigma=1.0,
    )
    return vectors


def foreign_set(folder, coordinates, *, rigid, first_id=1, count=3, pdb=True):
    """A set as another plugin makes it: text files, identifiers from `first_id`."""
    rng = np.random.default_rng(2)
    vectors = []
    if rigid:
        vectors += [np.tile(axis, (ATOMS, 1)) for axis in np.eye(3)]
        vectors += [np.cross(axis + 0.1, coordinates) for axis in np.eye(3)]
    vectors += [rng.normal(size=(ATOMS, 3)) for _ in range(count)]
    modes = SetOfNormalModes(filename=str(folder / "modes.sqlite"))
    for number, vector in enumerate(vectors, first_id):
        file = folder / f"mode_{number:02d}.txt"
        np.savetxt(file, vector / np.linalg.norm(vector))
        item = NormalMode(modeFile=str(file), collectivity=0.5, score=0.1)
        item.setObjId(number)
        modes.append(item)
    if pdb:
        (folder / "model.pdb").write_text("END\n")
        structure = AtomStruct(str(folder / "model.pdb"))
        structure.setObjId(1)
        modes.setPdb(structure)
    return modes


def test_own_modes_are_used_as_they_are(tmp_path, coordinates):
    vectors = modes_npz(tmp_path / "modes.npz", coordinates)
    listed = write_modes_folder(tmp_path / "modes.npz", tmp_path / "modes", collectivity_threshold=0.15)
    assert [mode.number for mode in listed] == [7, 8, 9, 10]
    assert [mode.enabled for mode in listed] == [True, True, True, False]
    np.testing.assert_allclose(np.loadtxt(listed[2].file), vectors[2], atol=1e-9)
    modes = SetOfNormalModes(filename=str(tmp_path / "m.sqlite"))
    for mode in listed[:2]:  # a subset of the modes is still of the same file
        item = NormalMode(modeFile=mode.file)
        item.setObjId(mode.number)
        modes.append(item)
    prepared = prepare_modes(modes, tmp_path / "in")
    assert prepared.path == str(tmp_path / "modes.npz")
    assert prepared.structure is None
    assert prepared.numbers == (7, 8)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(("rigid", "first_id"), [(True, 1), (False, 1), (False, 7)])
def test_modes_of_other_plugins_get_their_numbers(tmp_path, coordinates, rigid, first_id):
    modes = foreign_set(tmp_path, coordinates, rigid=rigid, first_id=first_id)
    assert mode_numbers(modes) == [7, 8, 9]
    prepared = prepare_modes(modes, tmp_path / "in")
    assert prepared.structure == str(tmp_path / "model.pdb")
    assert prepared.numbers == (7, 8, 9)
    text = (tmp_path / "in" / "modes.xmd").read_text()
    assert text.startswith("# XMIPP_STAR_1 *")
    for number in (7, 8, 9):
        assert f"vec.{number} " in text
        assert np.loadtxt(tmp_path / "in" / f"vec.{number}").shape == (ATOMS, 3)


def test_modes_of_other_plugins_are_read_by_the_library(tmp_path, coordinates):
    modes = foreign_set(tmp_path, coordinates, rigid=True)
    lines = [
        f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for n, (x, y, z) in enumerate(coordinates, 1)
    ]
    (tmp_path / "model.pdb").write_text("\n".join([*lines, "END", ""]))
    prepared = prepare_modes(modes, tmp_path / "in")
    for structure in (prepared.structure, None):  # the structure beside modes.xmd is found without being named
        found = read_mode_files(prepared.path, structure)
        assert found.indices.tolist() == [7, 8, 9]
        np.testing.assert_allclose(
            found.coordinates - found.coordinates.mean(axis=0), coordinates - coordinates.mean(axis=0), atol=1e-3
        )
        expected = np.loadtxt(tmp_path / "mode_08.txt")
        overlap = abs((found.vectors[1] * expected).sum())
        assert overlap == pytest.approx(1.0, abs=1e-6)


def test_disabled_modes_stay_listed_and_are_marked(tmp_path, coordinates):
    modes_npz(tmp_path / "modes.npz", coordinates)
    modes = SetOfNormalModes(filename=str(tmp_path / "m.sqlite"))
    for mode in write_modes_folder(tmp_path / "modes.npz", tmp_path / "modes", 0.3):
        item = NormalMode(modeFile=mode.file, collectivity=mode.collectivity)
        item.setObjId(mode.number)
        item.setEnabled(mode.enabled)
        modes.append(item)
    modes.write()
    modes.close()
    again = SetOfNormalModes(filename=str(tmp_path / "m.sqlite"))
    assert [mode.enabled for mode in read_modes(again)] == [True, True, False, False]


def test_set_without_structure_is_refused(tmp_path, coordinates):
    modes = foreign_set(tmp_path, coordinates, rigid=False, pdb=False)
    with pytest.raises(ConversionError, match="no structure"):
        prepare_modes(modes, tmp_path / "in")


def test_rigid_modes_alone_are_refused(tmp_path, coordinates):
    modes = foreign_set(tmp_path, coordinates, rigid=True, count=0)
    with pytest.raises(ConversionError, match="no non-rigid mode"):
        prepare_modes(modes, tmp_path / "in")


def test_missing_displacements_are_named(tmp_path, coordinates):
    modes = foreign_set(tmp_path, coordinates, rigid=False, first_id=7)
    (tmp_path / "mode_08.txt").unlink()
    with pytest.raises(ConversionError, match=r"mode_08\.txt"):
        prepare_modes(modes, tmp_path / "in")
