"""cryoSPARC .cs and Xmipp .xmd files."""

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.cryosparc import rotation_from_vector
from continuousflex_dl.core.io.particles import read_particles, write_star

FIELDS = [
    ("uid", "<u8"),
    ("blob/path", "S40"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"),
    ("ctf/df1_A", "<f4"),
    ("ctf/df2_A", "<f4"),
    ("ctf/df_angle_rad", "<f4"),
    ("ctf/phase_shift_rad", "<f4"),
    ("ctf/accel_kv", "<f4"),
    ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"),
    ("ctf/tilt_A", "<f4", (2,)),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/psize_A", "<f4"),
    ("alignments3D/split", "<u4"),
]


def particles(n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    data = np.zeros(n, dtype=FIELDS)
    data["uid"], data["blob/idx"] = rng.permutation(n).astype(np.uint64) + np.uint64(2**63), np.arange(n)
    data["blob/path"], data["blob/shape"], data["blob/psize_A"], data["blob/sign"] = (
        b">J1/imported/s.mrc",
        4,
        1.3,
        [-1, 1, -1, -1],
    )
    data["ctf/df1_A"], data["ctf/accel_kv"], data["ctf/cs_mm"], data["ctf/amp_contrast"] = 12345.6, 300, 2.7, 0.1
    data["ctf/phase_shift_rad"] = np.pi / 2
    data["alignments3D/pose"], data["alignments3D/shift"] = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    data["alignments3D/psize_A"], data["alignments3D/split"] = 2.6, [0, 1, 0, 1]
    return data


@pytest.fixture
def project(tmp_path):
    (tmp_path / "J1/imported").mkdir(parents=True)
    (tmp_path / "J2").mkdir()
    mrcfile.write(tmp_path / "J1/imported/s.mrc", np.zeros((4, 4, 4), np.float32), voxel_size=1.3)
    return tmp_path


def save(path, data):
    with open(path, "wb") as stream:
        np.save(stream, data)
    return path


def test_cs_fields(project):
    data = particles()
    table = read_particles(save(project / "J2/J2_particles.cs", data))
    assert table.stack_path[0] == str(project.resolve() / "J1/imported/s.mrc")
    assert table.image_name[3] == "000004@J1/imported/s.mrc"
    assert table.sign.tolist() == [-1, 1, -1, -1]
    assert table.pixel_size.astype(np.float32).tolist() == data["blob/psize_A"].tolist()
    assert table.ctf.defocus_u_angst.astype(np.float32).tolist() == data["ctf/df1_A"].tolist()
    np.testing.assert_allclose(table.ctf.phase_shift_deg, 90, atol=1e-5)
    np.testing.assert_allclose(table.shift_angst, data["alignments3D/shift"] * 2.6, atol=1e-5)
    expected = Rotation.from_rotvec(data["alignments3D/pose"]).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(matrix_from_euler(table.euler_deg), expected, atol=1e-6)
    assert table.particles.text("rlnRandomSubset") == ["1", "2", "1", "2"]


def test_sign_and_poses_survive_the_star(project):
    table = read_particles(save(project / "J2/J2_particles.cs", particles()))
    write_star(project / "J2/a.star", table)
    back = read_particles(project / "J2/a.star")
    assert back.sign.tolist() == [-1, 1, -1, -1]
    np.testing.assert_array_equal(back.euler_deg, table.euler_deg)
    assert back.stack_path == table.stack_path


def test_passthrough_is_joined_by_uid(project):
    data = particles()
    whole = read_particles(save(project / "J2/whole.cs", data))
    main = [name for name in data.dtype.names if not name.startswith("ctf/")]
    rest = ["uid"] + [name for name in data.dtype.names if name.startswith("ctf/")]
    data["ctf/df1_A"] = np.arange(4)
    save(project / "J2/P1_J2_003_particles.cs", data[main].copy())
    companion = project / "J2/P1_J2_passthrough_particles.cs"
    save(companion, data[rest][::-1].copy())
    table = read_particles(project / "J2/P1_J2_003_particles.cs")
    assert table.ctf.defocus_u_angst.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(table.euler_deg, whole.euler_deg)
    save(companion, data[rest][:2].copy())
    with pytest.raises(InputError, match="has no row with uid"):
        read_particles(project / "J2/P1_J2_003_particles.cs")


def test_cs_refusals(project):
    data = particles()
    data["ctf/tilt_A"][2] = 0.1
    with pytest.raises(InputError, match=r"row 3, ctf/tilt_A: .*beam tilt"):
        read_particles(save(project / "J2/a.cs", data))
    with pytest.raises(InputError, match="found no field blob/path"):
        read_particles(save(project / "J2/a.cs", particles()[["uid", "ctf/df1_A"]].copy()))
    with pytest.raises(InputError, match="without fields"):
        read_particles(save(project / "J2/a.cs", np.zeros(3)))
    (project / "J2/a.cs").write_bytes(b"no numpy file")
    with pytest.raises(InputError, match="is no cryoSPARC"):
        read_particles(project / "J2/a.cs")
    (project / "J2/a.cs").write_bytes(save(project / "J2/b.cs", particles()).read_bytes()[:-20])
    with pytest.raises(InputError, match="is no cryoSPARC"):
        read_particles(project / "J2/a.cs")


def test_rotation_vectors():
    vectors = np.vstack([np.random.default_rng(1).normal(size=(50, 3)) * 2, np.zeros((1, 3))])
    np.testing.assert_allclose(rotation_from_vector(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_star_and_cs_of_the_same_images(shared_data):
    star, cs = (read_particles(shared_data / f"particles/cryodrgn/empiar_10076_7.{kind}") for kind in ("star", "cs"))
    assert star.stack_path == cs.stack_path
    assert star.stack_index.tolist() == cs.stack_index.tolist()
    np.testing.assert_allclose(star.pixel_size, cs.pixel_size, rtol=1e-6)
    for name in vars(star.ctf):
        np.testing.assert_allclose(getattr(star.ctf, name), getattr(cs.ctf, name), rtol=1e-6, err_msg=name)
    assert (cs.sign == -1).all()


def test_real_cryosparc_poses(shared_data):
    path = shared_data / "particles/cryodrgn/cryosparc_P12_J24_001_particles.cs"
    table, data = read_particles(path, check_images=False), np.load(path)
    expected = Rotation.from_rotvec(data["alignments3D/pose"]).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(matrix_from_euler(table.euler_deg), expected, atol=1e-6)
    assert len(table.optics) == len(np.unique(data["ctf/exp_group_id"])) or len(table.optics) == 1


# Xmipp


def xmd(project, labels, *rows):
    text = (
        "# XMIPP_STAR_1 * \n# \ndata_noname\nloop_\n"
        + "".join(f" _{label}\n" for label in labels)
        + "".join(row + "\n" for row in rows)
    )
    (project / "a.xmd").write_text(text)
    return project / "a.xmd"


def test_xmd_columns(project):
    labels = [
        "image",
        "enabled",
        "angleRot",
        "angleTilt",
        "anglePsi",
        "shiftX",
        "shiftY",
        "ctfVoltage",
        "ctfSphericalAberration",
        "ctfQ0",
    ]
    labels += ["ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "nmaDisplacements", "cost", "itemId"]
    row = "1 10 20 30 2 -1 200 2.0 0.1 5000 4000 12 '  1.5 -2.0 ' 0.5 0007"
    path = xmd(project, labels, f"000001@J1/imported/s.mrc {row}", f"000002@J1/imported/s.mrc {row}")
    table = read_particles(path, modes=[8, 12])
    assert table.amplitudes[12].tolist() == [-2, -2]
    assert list(read_particles(path).amplitudes) == [7, 8]
    assert table.pixel_size.tolist() == [1.3, 1.3]
    np.testing.assert_allclose(table.shift_angst[0], [2.6, -1.3])
    assert table.euler_deg[1].tolist() == [10, 20, 30]
    assert table.ctf.defocus_v_angst.tolist() == [4000, 4000]
    assert table.particles.text("xmipp_itemId") == ["0007", "0007"]
    with pytest.raises(InputError, match="found 2 values, expected 1"):
        read_particles(path, modes=[7])


def test_xmd_traps(project, caplog):
    read_particles(xmd(project, ["image", "enabled"], "1@J1/imported/s.mrc 1", "2@J1/imported/s.mrc -1"))
    assert "1 of 2 particles are disabled" in caplog.text
    with pytest.raises(InputError, match="row 1, _flip: found 1"):
        read_particles(xmd(project, ["image", "flip"], "1@J1/imported/s.mrc 1"))
    with pytest.raises(InputError, match="row 2, _nmaDisplacements: found 1 values, expected 2"):
        read_particles(
            xmd(project, ["image", "nmaDisplacements"], "1@J1/imported/s.mrc '1 2'", "2@J1/imported/s.mrc '1'")
        )
    with pytest.raises(InputError, match="no column _image"):
        read_particles(xmd(project, ["angleRot"], "1"))
    with pytest.raises(InputError, match=r"no file 'gone.ctfparam'"):
        read_particles(xmd(project, ["image", "ctfModel"], "1@J1/imported/s.mrc gone.ctfparam"))


def test_ctf_model_files(project):
    (project / "m.ctfparam").write_text(
        "data_fullMicrograph\n _ctfVoltage 300\n _ctfSphericalAberration 2.7\n _ctfQ0 0.07\n"
        " _ctfDefocusU 15000\n _ctfDefocusV 14000\n _ctfDefocusAngle 5\n"
    )
    table = read_particles(
        xmd(project, ["image", "ctfModel"], "1@J1/imported/s.mrc m.ctfparam", "2@J1/imported/s.mrc m.ctfparam")
    )
    assert table.ctf.defocus_u_angst.tolist() == [15000, 15000]
    assert table.ctf.voltage_kv.tolist() == [300, 300]


def test_reference_program_agrees_with_the_truth(shared_data):
    """Most images of the noise-free set were solved, so wrong signs of angles or shifts would be unmistakable."""
    folder = shared_data / "particles/hemnma_reference"
    found, truth = (
        read_particles(folder / "clean64_reference_program.xmd"),
        read_particles(folder / "clean64_truth.star"),
    )
    assert found.stack_path == truth.stack_path
    a, b = matrix_from_euler(found.euler_deg), matrix_from_euler(truth.euler_deg)
    angle = np.rad2deg(np.arccos(np.clip((np.einsum("nij,nij->n", a, b) - 1) / 2, -1, 1)))
    shift = np.linalg.norm(found.shift_angst - truth.shift_angst, axis=1)
    assert np.median(angle) < 5
    assert np.median(shift) < 2.2
    assert np.median(np.abs(found.amplitudes[7] - truth.amplitudes[7])) < 15
