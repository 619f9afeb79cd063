"""Scipion set -> STAR -> reader of the library -> STAR -> Scipion set."""

import mrcfile
import numpy as np
import pytest
from pwem.objects import (
    Acquisition,
    CTFModel,
    Particle,
    ParticleFlex,
    SetOfParticles,
    SetOfParticlesFlex,
    Transform,
)

from continuousflex_dl.convert import (
    ConversionError,
    amplitudes_of,
    matrix_from_pose,
    mode_numbers_of,
    new_particles,
    particle_updates,
    set_amplitudes,
    write_particles,
)
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.io.star import read_star

PIXEL = 1.35
BOX = 8


def write_stack(path, count, box=BOX, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as stack:
        stack.set_data(np.random.default_rng(seed).normal(size=(count, box, box)).astype(np.float32))
        stack.set_image_stack()
        stack.voxel_size = PIXEL


def make_set(folder, count=6, *, poses=True, ctf=True, amplitudes=True, flipped=False, phase_shift=True, name="a.mrcs"):
    """A set with everything; identifiers 10, 20, ..., two acquisitions."""
    write_stack(folder / "images" / name, count)
    particles = SetOfParticles(filename=str(folder / "particles.sqlite"))
    particles.setSamplingRate(PIXEL)
    particles.setHasCTF(ctf)
    particles.setIsPhaseFlipped(flipped)
    if poses:
        particles.setAlignmentProj()
    rng = np.random.default_rng(1)
    for number in range(count):
        item = Particle()
        item.setObjId(10 * (number + 1))
        item.setLocation(number + 1, str(folder / "images" / name))
        item.setSamplingRate(PIXEL)
        if ctf:
            voltage = 300.0 if number % 2 else 200.0
            item.setAcquisition(
                Acquisition(magnification=1, voltage=voltage, sphericalAberration=2.7, amplitudeContrast=0.1)
            )
            model = CTFModel()
            model.setStandardDefocus(12000.25 + number, 11000.5, 33.0 + number)
            if phase_shift:
                model.setPhaseShift(90.0 - number)
            item.setCTF(model)
        if poses:
            rot, tilt, psi = rng.uniform(0, 180, 3)
            shift = rng.uniform(-5, 5, 2)
            item.setTransform(Transform(matrix_from_pose(rot, tilt, psi, *shift, PIXEL)))
        if amplitudes:
            set_amplitudes(item, (7, 9), [100.125 * number, -3.0])
        particles.append(item)
    particles.write()
    return particles


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_everything_comes_back(folder):
    particles = make_set(folder, flipped=True)
    star = folder / "out" / "particles.star"
    assert write_particles(particles, star) == 6

    output = SetOfParticlesFlex(filename=str(folder / "flex.sqlite"), progName="CflexHEMNMA")
    output.copyInfo(particles)
    output.setHasCTF(particles.hasCTF())
    update = particle_updates(star, PIXEL, program="CflexHEMNMA")
    for item in particles.iterItems():
        bare = Particle()
        bare.copy(item)
        flexible = ParticleFlex(progName="CflexHEMNMA")
        flexible.copy(bare)
        flexible.setTransform(Transform())
        update(flexible)
        output.append(flexible)
    output.write()
    output.close()

    again = SetOfParticlesFlex(filename=str(folder / "flex.sqlite"))
    again.loadAllProperties()
    assert again.getSize() == 6
    assert again.hasCTF()
    assert again.isPhaseFlipped()
    originals = {item.getObjId(): item.clone() for item in particles.iterItems()}
    for item in again.iterItems():
        original = originals[item.getObjId()]
        np.testing.assert_allclose(item.getTransform().getMatrix(), original.getTransform().getMatrix(), atol=1e-9)
        assert item.getLocation() == original.getLocation()
        assert item.getCTF().getDefocus() == original.getCTF().getDefocus()
        assert item.getCTF().getPhaseShift() == original.getCTF().getPhaseShift()
        assert item.getAcquisition().getVoltage() == original.getAcquisition().getVoltage()
        assert amplitudes_of(item) == amplitudes_of(original)
        assert mode_numbers_of(item) == [7, 9]
        np.testing.assert_allclose(item.getZFlex(), amplitudes_of(original))
        assert len(item.getZRed()) == 3
        assert item.getFlexInfo().getProgName() == "CflexHEMNMA"


def test_star_holds_two_optics_groups_and_identifiers(folder):
    particles = make_set(folder, flipped=True)
    write_particles(particles, folder / "particles.star")
    blocks = read_star(folder / "particles.star")
    optics, rows = blocks["optics"], blocks["particles"]
    assert optics.numbers("rlnVoltage").tolist() == [200.0, 300.0]
    assert optics.integers("cflexPhaseFlipped").tolist() == [1, 1]
    assert optics.integers("rlnImageSize").tolist() == [BOX, BOX]
    assert rows.integers("rlnOpticsGroup").tolist() == [1, 2, 1, 2, 1, 2]
    assert rows.integers("cflexItemId").tolist() == [10, 20, 30, 40, 50, 60]
    assert rows.numbers("cflexModeAmplitude7").tolist() == [100.125 * n for n in range(6)]
    assert "cflexModeAmplitude8" not in rows
    assert rows.text("rlnImageName")[0] == "000001@images/a.mrcs"


def test_library_reads_the_images_and_keeps_the_rows(folder):
    """Through the reader and the writer of the library, into another folder, and back to Scipion."""
    particles = make_set(folder)
    star = folder / "in" / "particles.star"
    write_particles(particles, star)
    table = read_particles(star)
    (folder / "result").mkdir()
    copy = folder / "result" / "particles.star"
    write_star(copy, table)
    update = particle_updates(copy, PIXEL)
    for item in particles.iterItems():
        before = item.clone()
        item.setTransform(Transform())
        update(item)
        np.testing.assert_allclose(item.getTransform().getMatrix(), before.getTransform().getMatrix(), atol=1e-6)
        assert amplitudes_of(item) == pytest.approx(amplitudes_of(before))


def test_set_without_poses_ctf_amplitudes_has_no_such_columns(folder):
    particles = make_set(folder, poses=False, ctf=False, amplitudes=False)
    write_particles(particles, folder / "p.star")
    labels = read_star(folder / "p.star")["particles"].labels
    assert labels == ["rlnImageName", "rlnOpticsGroup", "cflexItemId"]
    assert "rlnVoltage" not in read_star(folder / "p.star")["optics"]


def test_amplitudes_of_other_plugins_count_from_mode_seven(folder):
    from pyworkflow.object import CsvList

    item = Particle()
    item._xmipp_nmaDisplacements = CsvList()
    item._xmipp_nmaDisplacements.set(["1.5", "-2", "3e1"])
    assert amplitudes_of(item) == [1.5, -2.0, 30.0]
    assert mode_numbers_of(item) == [7, 8, 9]


def test_same_set_gives_the_same_bytes(folder):
    particles = make_set(folder)
    write_particles(particles, folder / "a.star")
    write_particles(particles, folder / "b.star")
    assert (folder / "a.star").read_bytes() == (folder / "b.star").read_bytes()


def test_a_folder_with_a_space_and_a_link_to_the_images(folder):
    outside = folder.parent / "disk two"
    outside.mkdir()
    write_stack(outside / "stack.mrcs", 2)
    link = folder / "link of images"
    link.symlink_to(outside)
    particles = SetOfParticles(filename=str(folder / "p.sqlite"))
    particles.setSamplingRate(PIXEL)
    for number in (1, 2):
        item = Particle()
        item.setLocation(number, str(link / "stack.mrcs"))
        particles.append(item)
    star = folder / "sub" / "p.star"
    write_particles(particles, star)
    name = read_star(star)["particles"].text("rlnImageName")[1]
    index, _, path = name.partition("@")
    assert index == "000002"
    assert (star.parent / path).resolve() == (outside / "stack.mrcs").resolve()
    assert next(new_particles(star, folder, flexible=False)).getFileName() == str(outside / "stack.mrcs")


def test_png_images_are_converted(folder):
    from PIL import Image

    (folder / "images").mkdir()
    pictures = np.random.default_rng(2).integers(0, 255, (2, BOX, BOX)).astype(np.uint8)
    particles = SetOfParticles(filename=str(folder / "p.sqlite"))
    particles.setSamplingRate(PIXEL)
    particles.setDim((BOX, BOX, 1))
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        item = Particle()
        item.setLocation(0, str(folder / "images" / f"{number}.png"))
        particles.append(item)
    particles.setDim((BOX, BOX, 1))
    write_particles(particles, folder / "star" / "p.star")
    names = read_star(folder / "star" / "p.star")["particles"].text("rlnImageName")
    assert names == ["000001@converted/stack_0001.mrcs", "000001@converted/stack_0002.mrcs"]
    with mrcfile.open(folder / "star" / "converted" / "stack_0002.mrcs") as stack:
        np.testing.assert_allclose(stack.data.reshape(BOX, BOX), pictures[1])


def test_unreadable_format_is_refused_in_one_line(folder):
    (folder / "bad.hdf").write_bytes(b"nothing")
    particles = SetOfParticles(filename=str(folder / "p.sqlite"))
    particles.setSamplingRate(PIXEL)
    item = Particle()
    item.setLocation(1, str(folder / "bad.hdf"))
    particles._firstDim.set((BOX, BOX, 1))
    particles._insertItem(item)
    with pytest.raises(ConversionError, match=r"bad\.hdf: the images cannot be read.*convert the stack to \.mrcs"):
        write_particles(particles, folder / "p.star")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.setSamplingRate(None), "no pixel size"),
        (lambda s: s.setDim((8, 10, 1)), "expected square"),
    ],
)
def test_bad_sets_are_refused(folder, change, message):
    particles = make_set(folder)
    change(particles)
    with pytest.raises(ConversionError, match=message):
        write_particles(particles, folder / "p.star")
    assert not (folder / "p.star").exists()


def test_missing_item_in_the_result_is_an_error(folder):
    particles = make_set(folder)
    write_particles(particles, folder / "p.star")
    lines = (folder / "p.star").read_text().rstrip().splitlines()
    (folder / "cut.star").write_text("\n".join(lines[:-1]) + "\n")
    update = particle_updates(folder / "cut.star", PIXEL)
    last = particles.getItem("id", 60)
    with pytest.raises(ConversionError, match="particle 60 is missing"):
        update(last)
