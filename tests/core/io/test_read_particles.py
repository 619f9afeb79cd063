"""Readers of particle files: RELION dialects, real files, and a zoo of broken ones."""

import logging

import mrcfile
import numpy as np
import pytest
import starfile

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io.particles import read_particles, refuse_unsupported, write_star
from continuousflex_dl.core.io.star import read_star

OPTICS = (
    "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n"
    "_rlnVoltage\n_rlnSphericalAberration\n_rlnAmplitudeContrast\n"
)
GROUPS = "1 1.5 300 2.7 0.1\n7 3.0 200 1.4 0.07\n"
CTF_ROWS = (
    "\ndata_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnDefocusU\n_rlnDefocusV\n_rlnDefocusAngle\n_rlnPhaseShift\n"
    "2@s.mrcs 7 10000 9000 45 90\n1@s.mrcs 1 11000 9500 0 0\n"
)


@pytest.fixture
def folder(tmp_path):
    with mrcfile.new(tmp_path / "s.mrcs") as mrc:
        mrc.set_data(np.zeros((3, 4, 4), np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = 1.5
    return tmp_path


def put(folder, text, name="a.star"):
    (folder / name).write_text(text)
    return folder / name


def simple(*columns: str, rows: str = "1@s.mrcs") -> str:
    return "data_particles\nloop_\n_rlnImageName\n" + "".join(f"_{label}\n" for label in columns) + rows + "\n"


# RELION dialects


def test_optics_values_are_those_of_the_group(folder):
    table = read_particles(put(folder, OPTICS + GROUPS + CTF_ROWS))
    assert table.optics_group.tolist() == [1, 0]
    assert table.pixel_size.tolist() == [3.0, 1.5]
    assert table.ctf.voltage_kv.tolist() == [200, 300]
    assert table.ctf.amplitude_contrast.tolist() == [0.07, 0.1]
    assert table.ctf.phase_shift_deg.tolist() == [90, 0]
    assert table.stack_index.tolist() == [1, 0]


def test_relion30_gets_an_optics_table_and_keeps_its_columns(folder):
    text = simple(
        *("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnMagnification", "rlnDetectorPixelSize"),
        *("rlnDefocusU", "rlnOriginX", "rlnOriginY", "rlnNote"),
        rows="01@s.mrcs 300 2.7 0.1 10000 1.5 9000 1 -2 '0 1'\n2@s.mrcs 200 2.7 0.1 10000 1.5 9000 0 0 0001\n",
    )
    table = read_particles(put(folder, text))
    assert table.pixel_size.tolist() == [1.5, 1.5]
    assert table.ctf.voltage_kv.tolist() == [300, 200]
    assert table.ctf.defocus_v_angst.tolist() == [9000, 9000]
    assert table.shift_angst.tolist() == [[1.5, -3.0], [0, 0]]
    write_star(folder / "b.star", table)
    blocks = read_star(folder / "b.star")
    before = read_star(folder / "a.star")["particles"]
    assert blocks["optics"].text("rlnVoltage") == ["300", "200"]
    for label in before.labels:
        assert blocks["particles"].columns[label].tolist() == before.columns[label].tolist()


def test_pixel_origins_in_a_31_file(folder):
    table = read_particles(
        put(folder, OPTICS + "1 1.5 300 2.7 0.1\n\n" + simple("rlnOriginX", "rlnOriginY", rows="1@s.mrcs 6 10"))
    )
    assert table.shift_angst.tolist() == [[9.0, 15.0]]
    assert table.ctf is None
    moved = table.with_poses([[0, 0, 0]], [[3.0, 0.0]])
    assert moved.particles.text("rlnOriginX") == ["2.000000"]  # no stale pixels beside new Å


def test_psi_alone_is_no_orientation(folder):
    assert read_particles(put(folder, simple("rlnAnglePsi", rows="1@s.mrcs 10"))).euler_deg is None
    with pytest.raises(InputError, match="no column _rlnAnglePsi"):
        read_particles(put(folder, simple("rlnAngleRot", "rlnAngleTilt", rows="1@s.mrcs 10 20")))


# Where images and pixel sizes come from


def test_pixel_size_from_the_header_only_where_the_file_has_none(folder, caplog):
    assert read_particles(put(folder, simple())).pixel_size.tolist() == [1.5]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        table = read_particles(put(folder, simple("rlnImagePixelSize", rows="1@s.mrcs 2.0\n2@s.mrcs 2.0")))
    assert table.pixel_size.tolist() == [2.0, 2.0]
    assert len(caplog.records) == 1
    assert "1.5000" in caplog.text
    assert read_particles(folder / "a.star", pixel_size=3.3).pixel_size.tolist() == [3.3, 3.3]
    with pytest.raises(InputError, match="correct --pixel-size"):
        read_particles(folder / "a.star", pixel_size=-1)


def test_zero_in_the_header_matters_only_alone(folder, caplog):
    with mrcfile.open(folder / "s.mrcs", "r+") as mrc:
        mrc.header.cella = 0
    with pytest.raises(InputError, match="found no pixel size in the file nor in the header"):
        read_particles(put(folder, simple()))
    assert read_particles(put(folder, simple("rlnImagePixelSize", rows="1@s.mrcs 2.0"))).pixel_size[0] == 2.0
    assert not caplog.records


def test_images_are_found_in_the_promised_order(folder, tmp_path_factory, monkeypatch):
    stack = (folder / "s.mrcs").read_bytes()
    here, data = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("data")
    monkeypatch.chdir(here)
    star = put(folder, simple("rlnImagePixelSize", rows="1@Extract/job1/t.mrcs 1.5"))
    with pytest.raises(InputError, match=r"row 1, _rlnImageName: no file 'Extract/job1/t.mrcs'.*--datadir"):
        read_particles(star, datadir=data)
    for place in (data / "t.mrcs", data / "job1/t.mrcs", here / "Extract/job1/t.mrcs", folder / "Extract/job1/t.mrcs"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(stack)
        assert read_particles(star, datadir=data).stack_path == [str(place.resolve())]
    absolute = put(folder, simple("rlnImagePixelSize", rows=f"1@{data}/t.mrcs 1.5"))
    assert read_particles(absolute).stack_path == [str(data / "t.mrcs")]
    gone = put(folder, simple("rlnImagePixelSize", rows="1@/old/disk/job1/t.mrcs 1.5"))
    assert read_particles(gone, datadir=data).stack_path == [str(data / "job1/t.mrcs")]


def test_paths_relative_to_a_project_above(folder):
    job = folder / "Refine3D/job1"
    job.mkdir(parents=True)
    assert read_particles(put(job, simple())).stack_path == [str(folder.resolve() / "s.mrcs")]


# Refusals


@pytest.mark.parametrize(
    ("label", "fine", "bad", "what"),
    [
        ("rlnBeamTiltX", "0.000", "0.6", "beam tilt"),
        ("rlnMagMat01", "0", "0.01", "anisotropic magnification"),
        ("rlnMagMat00", "1.000", "1.01", "anisotropic magnification"),
        ("rlnCtfDataAreCtfPremultiplied", "0", "1", "CTF-premultiplied"),
        ("rlnOddZernike", "[0,0,0]", "[0,0.1,0]", "aberrations"),
        ("rlnImageDimensionality", "2", "3", "not two-dimensional"),
    ],
)
def test_what_the_model_lacks_is_refused(folder, label, fine, bad, what):
    for value, refused in ((fine, False), (bad, True)):
        optics = OPTICS.rstrip() + f"\n_{label}\n1 1.5 300 2.7 0.1 {value}\n\n"
        for text in (optics + simple(), simple(label, rows=f"1@s.mrcs {value}")):
            path = put(folder, text)
            if refused:
                table = read_particles(path)  # reading is fine, comparing with a model is not
                with pytest.raises(InputError, match=what) as error:
                    refuse_unsupported(table)
                assert "\n" not in str(error.value)
            else:
                refuse_unsupported(read_particles(path))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (simple(rows=""), InputError, "found no particles"),
        ("data_particles\nloop_\n_rlnAngleRot\n1\n", InputError, "no column _rlnImageName"),
        (simple("rlnDefocusU", rows="1@s.mrcs 9000"), InputError, "no _rlnVoltage"),
        (
            simple("rlnImagePixelSize", rows="1@s.mrcs 1.5\n2@s.mrcs abc"),
            InputError,
            "row 2, _rlnImagePixelSize: found 'abc'",
        ),
        (
            simple("rlnOriginXAngst", "rlnOriginYAngst", rows="1@s.mrcs 0 nan"),
            NonFiniteError,
            "row 1, _rlnOriginYAngst",
        ),
        (simple("rlnOriginXAngst", rows="1@s.mrcs 0"), InputError, "no column _rlnOriginYAngst"),
        (simple("cflexModeAmplitude7", rows="1@s.mrcs inf"), NonFiniteError, "_cflexModeAmplitude7"),
        (simple(rows="0@s.mrcs"), InputError, "image number 0"),
        (simple(rows="1@s.mrcs\n4@s.mrcs"), InputError, "row 2, _rlnImageName: asks for image 4, but the header"),
        (simple(rows="1@s.mrcs\n1@gone.mrcs"), InputError, "row 2, _rlnImageName: no file 'gone.mrcs'"),
        (simple("rlnImagePixelSize", rows="1@s.mrcs 0"), InputError, "expected a positive number"),
        (
            simple("rlnMagnification", "rlnDetectorPixelSize", rows="1@s.mrcs 0 5"),
            InputError,
            "row 1, _rlnMagnification",
        ),
        (OPTICS + "\n" + simple(), InputError, "data_optics has no row"),
        (OPTICS + GROUPS + "\n" + simple(), InputError, "no column _rlnOpticsGroup"),
        (OPTICS + "1 1 1 1 1\n1 1 1 1 1\n\n" + simple(), InputError, "_rlnOpticsGroup twice"),
    ],
)
def test_broken_files_say_what_where_and_how(folder, text, error, message):
    with pytest.raises(error, match=message) as caught:
        read_particles(put(folder, text))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_files(folder):
    text = OPTICS + GROUPS + CTF_ROWS
    complete = read_particles(put(folder, text))
    for end in range(0, len(text) - 1, 7):
        try:
            part = read_particles(put(folder, text[:end]))
        except InputError:
            continue
        # cut inside the last number or between rows: what is there is what the whole file says
        assert part.image_name == complete.image_name[: len(part)]
    (folder / "s.mrcs").write_bytes((folder / "s.mrcs").read_bytes()[: 1024 + 64 + 10])
    with pytest.raises(InputError, match="cut off: 1 of 3 images"):
        read_particles(put(folder, text))


def test_wrong_kind_of_file(folder):
    with pytest.raises(InputError, match=r"expected .star, .cs or .xmd"):
        read_particles(folder / "s.mrcs")
    with pytest.raises(InputError, match="no such file"):
        read_particles(folder / "gone.star")
    (folder / "b.star").write_bytes((folder / "s.mrcs").read_bytes())
    with pytest.raises(InputError, match="binary data"):
        read_particles(folder / "b.star")


# Real files


def test_optics_before_or_after_the_particles(shared_data):
    one, two = (
        read_particles(shared_data / "particles/cryodrgn" / name) for name in ("relion31.star", "relion31.v2.star")
    )
    for block in ("particles", "optics"):
        a, b = getattr(one, block), getattr(two, block)
        assert a.labels == b.labels
        assert all(a.columns[label].tolist() == b.columns[label].tolist() for label in a.labels)
    assert one.stack_path == two.stack_path
    assert one.pixel_size.tolist() == [2.806] * 5


def test_real_file_keeps_every_value(shared_data, tmp_path):
    source = shared_data / "particles/cryodrgn/relion31.star"
    table = read_particles(source)
    write_star(tmp_path / "a.star", table)
    before, after = read_star(source), read_star(tmp_path / "a.star")
    for name, block in before.items():
        for label in set(block.labels) - {"rlnImageName"}:
            assert after[name].columns[label].tolist() == block.columns[label].tolist()
    assert read_particles(tmp_path / "a.star").stack_path == table.stack_path


def test_six_optics_groups_with_aberrations(shared_data):
    source = shared_data / "particles/cryodrgn/relion31.6opticsgroups.star"
    table = read_particles(source, check_images=False)
    with pytest.raises(InputError, match=r"_rlnMagMat00: found 1.011472: anisotropic magnification"):
        refuse_unsupported(table)
    assert (len(table.optics), len(np.unique(table.optics_group))) == (6, 6)
    assert set(table.pixel_size) == {1.24, 1.25}
    assert set(table.ctf.cs_mm) == {2.6, 2.7}


def test_relion5(shared_data):
    table = read_particles(shared_data / "particles/cryodrgn/relion5.star", check_images=False)
    assert set(table.pixel_size) == {0.89}
    assert set(table.ctf.voltage_kv) == {100.0}
    with pytest.raises(InputError, match="not supported"):
        refuse_unsupported(table)


def test_tilt_images_of_warp(shared_data, caplog):
    table = read_particles(shared_data / "particles/cryodrgn/sta_testing_bin8.star")
    assert (len(table), table.pixel_size[0]) == (219, 1.96)
    reference = np.load(shared_data / "particles/cryodrgn/sta_ctf.npz")
    values = next(iter(reference.values()))
    np.testing.assert_allclose(table.ctf.defocus_u_angst, values[:, 2], rtol=1e-6)
    np.testing.assert_allclose(table.ctf.voltage_kv, values[:, 5])


def test_relion_projections_in_pixels_and_without_optics(shared_data):
    oracle = shared_data / "particles/relion_oracle"
    assert read_particles(oracle / "rln_proj_65_shifted.star").shift_angst[0].tolist() == [6, 10]
    with pytest.raises(InputError, match="found no pixel size"):
        read_particles(oracle / "rln_proj_65.star")
    assert read_particles(oracle / "rln_proj_65.star", pixel_size=1.0).euler_deg.shape == (5, 3)


def test_starfile_reads_our_file(shared_data, tmp_path):
    table = read_particles(shared_data / "particles/hemnma_reference/noisy64_truth.star")
    write_star(tmp_path / "a.star", table)
    blocks = starfile.read(tmp_path / "a.star")
    assert list(blocks) == ["optics", "particles"]
    np.testing.assert_allclose(blocks["particles"]["cflexModeAmplitude8"], table.amplitudes[8])
