"""Mode files: ours, NMD, ContinuousFlex; each broken one says what is wrong with it."""

import zipfile

import numpy as np
import pytest

from continuousflex_dl.core.dynamics.modes import NormalModes, normal_modes
from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.modes import read_modes, read_reference, write_modes
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.writer import write_structure

NAMES = ("indices", "eigenvalues", "vectors", "coordinates", "collectivity", "score", "weights", "sigma")


@pytest.fixture(scope="module")
def structure(shared_data):
    whole, _ = read_structure(shared_data / "structures/ubiquitin/pdb1ubi.pdb")
    return whole.take(np.isin(whole.atom_name, ["N", "CA", "C", "O"]))


@pytest.fixture(scope="module")
def modes(structure):
    return normal_modes(structure, None, 8.0, 12)


@pytest.fixture
def written(tmp_path, modes, structure):
    write_modes(tmp_path, modes, structure)
    return tmp_path


def rewrite(folder, **changes):
    """Make modes.npz with some arrays replaced, or left out where None."""
    with np.load(folder / "modes.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays.update(changes)
    np.savez(folder / "changed.npz", **{name: value for name, value in arrays.items() if value is not None})
    return folder / "changed.npz"


def assert_same(first: NormalModes, second: NormalModes, **tolerance):
    for name in NAMES:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), err_msg=name, **tolerance)


def test_npz_round_trip_is_exact(written, modes):
    assert sorted(path.name for path in written.iterdir()) == ["modes.nmd", "modes.npz", "reference.cif"]
    with np.load(written / "modes.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(NAMES)
    assert_same(read_modes(written / "modes.npz"), modes, rtol=0)
    assert_same(read_modes(written), modes, rtol=0)


def test_same_modes_give_the_same_bytes(written, tmp_path, modes, structure):
    again = tmp_path / "again"
    again.mkdir()
    write_modes(again, modes, structure)
    for path in again.iterdir():
        assert path.read_bytes() == (written / path.name).read_bytes()


def test_reference_belongs_to_the_modes(written, modes, structure):
    reference = read_reference(written / "modes.npz", modes)
    assert (reference.atom_name == structure.atom_name).all()
    read_modes(written / "modes.npz", written / "reference.cif")


def test_nmd_round_trip(written, modes):
    copy = read_modes(written / "modes.nmd")
    np.testing.assert_allclose(copy.vectors, modes.vectors, atol=1e-7)
    np.testing.assert_allclose(copy.eigenvalues, modes.eigenvalues, rtol=1e-7)
    np.testing.assert_array_equal(copy.indices, modes.indices)
    np.testing.assert_array_equal(copy.weights, modes.weights)
    np.testing.assert_allclose(copy.coordinates, modes.coordinates, atol=1e-3)


def test_prody_reads_our_nmd_and_we_read_prodys(written, modes, structure):
    import prody  # an independent reader of the format

    prody.LOGGER.verbosity = "none"
    nma, atoms = prody.parseNMD(str(written / "modes.nmd"))
    np.testing.assert_allclose(nma.getEigvecs().T.reshape(6, -1, 3), modes.vectors, atol=1e-7)
    np.testing.assert_allclose(nma.getEigvals(), modes.eigenvalues, rtol=1e-6)
    assert atoms.getNames().tolist() == structure.atom_name.tolist()
    prody.writeNMD(str(written / "prody.nmd"), nma, atoms)
    theirs = read_modes(written / "prody.nmd")  # three decimals, numbered from 1
    assert theirs.indices.tolist() == [7, 8, 9, 10, 11, 12]
    for k in range(6):
        assert abs((theirs.vectors[k] * modes.vectors[k]).sum()) > 0.999


def continuousflex_folder(folder, modes, structure, structure_name="atoms.pdb"):
    """What the existing plugin leaves: modes.xmd, modes/vec.N for all modes, the structure."""
    (folder / "modes").mkdir()
    rows = []
    for number in range(1, 13):
        vector = np.zeros(modes.coordinates.shape) if number < 7 else modes.vectors[number - 7]
        if number >= 7:
            np.savetxt(folder / f"modes/vec.{number}", vector, fmt="%.8e")
        rows.append(
            f"{1 if number > 6 else -1} {number / 20} Runs/000123_FlexProtNMA/extra/modes/vec.{number} 0.5 0.1 {number}"
        )
    labels = ("enabled", "nmaCollectivity", "nmaModefile", "nmaScore", "nmaEigenval", "order_")
    text = "# XMIPP_STAR_1 * \n# \ndata_noname\nloop_\n" + "".join(f" _{label}\n" for label in labels)
    (folder / "modes.xmd").write_text(text + "".join(f" {row}\n" for row in rows))
    write_structure(folder / structure_name, structure)
    return folder / "modes.xmd"


def test_continuousflex_modes(tmp_path, modes, structure):
    copy = read_modes(continuousflex_folder(tmp_path, modes, structure))
    assert copy.indices.tolist() == [7, 8, 9, 10, 11, 12]
    np.testing.assert_allclose(copy.vectors, modes.vectors, atol=1e-7)
    np.testing.assert_allclose(copy.collectivity, np.arange(7, 13) / 20)
    np.testing.assert_array_equal(copy.weights, structure.weights)


def test_continuousflex_modes_need_their_structure(tmp_path, modes, structure, shared_data):
    path = continuousflex_folder(tmp_path, modes, structure, "elsewhere.cif")
    with pytest.raises(InputError, match="--structure"):
        read_modes(path)
    assert len(read_modes(path, tmp_path / "elsewhere.cif")) == 6
    with pytest.raises(InputError, match=r"304 rows.* 1656 atoms"):
        read_modes(path, shared_data / "particles/hemnma_reference/4akeA.pdb")
    (tmp_path / "modes/vec.9").unlink()
    with pytest.raises(InputError, match=r"vec\.9 is not found"):
        read_modes(path, tmp_path / "elsewhere.cif")


def test_modes_of_hydrogens_too(tmp_path, shared_data):
    """The existing plugin computes modes on every ATOM record."""
    path = shared_data / "structures/adk/adk_open.pdb"
    every, _ = read_structure(path, keep_all=True)
    assert len(every) == 3_341
    (tmp_path / "modes").mkdir()
    np.savetxt(tmp_path / "modes/vec.7", np.ones((3_341, 3)) / np.sqrt(3 * 3_341))
    (tmp_path / "modes.xmd").write_text("data_\nloop_\n _nmaModefile\n _order\nmodes/vec.7 7\n")
    assert read_modes(tmp_path / "modes.xmd", path).n_atoms == 3_341


def test_elnemo_reference_modes_are_accepted(shared_data):
    folder = shared_data / "particles/hemnma_reference"
    modes = read_modes(folder / "modes_7_8_9.npz", folder / "4akeA.pdb")
    assert modes.indices.tolist() == [7, 8, 9]
    assert modes.weights.sum() == 6 * 1040 + 8 * 320 + 7 * 289 + 16 * 7
    np.testing.assert_allclose(modes.collectivity, [0.467, 0.532, 0.440], atol=0.002)


def test_vectors_are_brought_to_unit_length_and_it_is_said(written, modes, caplog):
    path = rewrite(written, vectors=modes.vectors * 2)
    with caplog.at_level("INFO"):
        np.testing.assert_allclose(read_modes(path).vectors, modes.vectors, atol=1e-12)
    assert "unit length" in caplog.text


def test_skew_vectors_are_said(written, modes, caplog):
    skew = modes.vectors.copy()
    skew[1] += skew[0]
    with caplog.at_level("WARNING"):
        read_modes(rewrite(written, vectors=skew))
    assert "not orthogonal" in caplog.text


def test_rigid_modes_are_left_out(written, modes):
    assert read_modes(rewrite(written, indices=np.arange(5, 11))).indices.tolist() == [7, 8, 9, 10]
    with pytest.raises(InputError, match="from 7 on"):
        read_modes(rewrite(written, indices=np.arange(1, 7)))
    with pytest.raises(InputError, match="expected different ones"):
        read_modes(rewrite(written, indices=np.full(6, 7)))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"vectors": None}, InputError, "has no vectors, found"),
        ({"coordinates": np.zeros((303, 3))}, InputError, "mixes modes of different structures"),
        ({"eigenvalues": np.zeros(3)}, InputError, r"eigenvalues has shape \(3,\), expected \(6,\)"),
        ({"weights": np.full(304, np.nan)}, NonFiniteError, "weights is not finite"),
        ({"vectors": np.zeros((6, 304, 3))}, InputError, "vector of mode 7 is zero"),
        ({"indices": np.array(["a"] * 6)}, InputError, "expected numbers"),
    ],
)
def test_broken_arrays_are_named(written, changes, kind, message):
    with pytest.raises(kind, match=message) as error:
        read_modes(rewrite(written, **changes))
    assert "changed.npz" in str(error.value)


def test_broken_files_are_named(tmp_path, written):
    data = (written / "modes.npz").read_bytes()
    for name, content in (("cut.npz", data[:2000]), ("text.npz", b"hello"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            read_modes(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "pickle.npz", "w") as archive:
        archive.writestr("indices.npy", b"\x80\x04.")
    with pytest.raises(InputError, match="has no indices, vectors, coordinates"):
        read_modes(tmp_path / "pickle.npz")
    np.savez(tmp_path / "object.npz", indices=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_modes(tmp_path / "object.npz")
    with pytest.raises(InputError, match="no such file"):
        read_modes(tmp_path / "absent.npz")
    (tmp_path / "modes.txt").write_text("x")
    with pytest.raises(InputError, match="by its suffix"):
        read_modes(tmp_path / "modes.txt")
    (tmp_path / "bad.nmd").write_text("name x\ncoordinates 0 0 0 1 1 1\nmode 7 1.0 0 0 0\n")
    with pytest.raises(InputError, match=r"line 3: mode has 5 numbers, expected 6 for 2 atoms"):
        read_modes(tmp_path / "bad.nmd")


def test_structure_of_another_molecule_or_frame(written, structure, shared_data, tmp_path):
    with pytest.raises(InputError, match=r"modes of 304 atoms, but .* has 1656"):
        read_modes(written / "modes.npz", shared_data / "particles/hemnma_reference/4akeA.pdb")
    write_structure(tmp_path / "moved.cif", structure, structure.coordinates + 1)
    with pytest.raises(InputError, match=r"differ from .* by up to 1\.00 Å"):
        read_modes(written / "modes.npz", tmp_path / "moved.cif")
