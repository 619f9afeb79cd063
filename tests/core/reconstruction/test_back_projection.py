"""Back-projection of images of a known map."""

import mrcfile
import numpy as np
import pytest
import torch

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.imaging.rotations import rotation_from_euler
from continuousflex_dl.core.io.particle_table import replace_optics
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.io.star import shortest
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.core.reconstruction.checkpoint import load_sums, save_sums
from continuousflex_dl.core.reconstruction.fsc import shell_correlation
from continuousflex_dl.core.reconstruction.images import BackProjector, ctf_use, half_sets, sum_halves
from continuousflex_dl.core.reconstruction.maps import make_maps
from continuousflex_dl.core.reconstruction.solve import solve
from continuousflex_dl.core.reconstruction.sums import FourierSums

PIXEL = 1.5


def whole(found, **settings):
    """Map of all particles, without any prior."""
    projector = BackProjector.make(found.table, found.images, **settings)
    first, second = sum_halves(projector, half_sets(found.table))
    return solve(first, second)


def agreement(volume, truth):
    """Worst shell correlation up to three quarters of Nyquist, and the error of the densities."""
    curve = shell_correlation(volume, truth, PIXEL)
    error = float((volume - truth).norm() / truth.norm())
    return curve.correlation[: 3 * len(curve.correlation) // 4].min(), error


@pytest.mark.parametrize("box", [32, 33])
def test_clean_images_give_the_map_back_in_its_own_units(make_set, box):
    correlation, error = agreement(whole(found := make_set(box)), found.truth)
    assert correlation > 0.999
    assert error < 0.05  # of the densities themselves: scale and gridding correction are right


@pytest.mark.parametrize("flipped", [False, True])
def test_the_ctf_is_undone(make_set, flipped):
    found = make_set(with_ctf=True, flipped=flipped)
    assert ctf_use(found.table, "auto") == ("flipped" if flipped else "signed")
    correlation, error = agreement(whole(found), found.truth)
    assert correlation > 0.998
    assert error < 0.06
    wrong = "model" if flipped else "flipped"
    assert agreement(whole(found, ctf_choice=wrong), found.truth)[0] < 0.9
    assert agreement(whole(found, ctf_choice="none"), found.truth)[1] > 0.3


def test_shifts_are_undone_and_have_the_sign_of_relion(make_set):
    found = make_set(shift_angst=6.0)
    assert agreement(whole(found), found.truth)[0] > 0.999
    opposite = found.with_poses(found.table.euler_deg, -found.table.shift_angst)
    assert agreement(whole(opposite), found.truth)[0] < 0.3


def test_the_transposed_rotation_gives_another_map(make_set):
    found = make_set()
    rot, tilt, psi = found.table.euler_deg.T
    transposed = found.with_poses(np.stack([-psi, -tilt, -rot], axis=1), found.table.shift_angst)
    assert agreement(whole(transposed), found.truth)[0] < 0.5


@pytest.mark.parametrize("name", ["rln_proj_65", "rln_proj_65_centered", "rln_proj_65_shifted"])
def test_projections_of_relion_agree_with_their_volume_wherever_they_say_something(shared_data, name):
    folder = shared_data / "particles/relion_oracle"
    table = read_particles(folder / f"{name}.star", pixel_size=1.0)
    # one pixel of offset between these files and the volume, as in the tests of the projector
    pixels = np.roll(mrcfile.read(folder / f"{name}.mrcs"), (-1, -1), axis=(1, 2)).astype(np.float32)
    volume = torch.as_tensor(np.load(folder / "clean70SRibosome_vol.npy"), dtype=torch.float32)

    class Stack:
        box = 65

        def read(self, rows):
            return pixels[rows]

    def correlation(table):
        projector = BackProjector.make(table, Stack(), ctf_choice="none")
        rows = np.arange(len(table))
        sums = FourierSums(65, 32)
        sums.add(projector.prepare(rows, sums))
        total, weight, distance = sums.rows(0, sums.shape[1])
        padded = torch.zeros(130, 130, 130)
        padded[33:98, 33:98, 33:98] = volume  # voxel 32 of the volume at voxel 65
        transform = torch.fft.fftshift(torch.fft.rfftn(torch.fft.ifftshift(padded)), dim=(0, 1))
        true = transform[0:130, 0:130, :66]
        seen = (weight > 0.5) & (distance > 2) & (distance < 30)
        z, y, x = torch.nonzero(seen).unbind(1)
        a, b = (total / weight)[z, y, x], true[z, y, x]
        return float((a * b.conj()).real.sum() / (a.norm() * b.norm()))

    assert correlation(table) > 0.98
    euler = table.euler_deg
    shift = np.zeros((len(table), 2)) if table.shift_angst is None else table.shift_angst
    transposed = table.with_poses(np.stack([-euler[:, 2], -euler[:, 1], -euler[:, 0]], axis=1), shift)
    assert correlation(transposed) < 0.9
    if name.endswith("shifted"):
        assert correlation(table.with_poses(euler, -shift)) < 0.3


def test_symmetry_fills_in_the_views_that_are_missing(make_set):
    """A dimer about z, seen from one half of all directions only."""
    generator = torch.Generator().manual_seed(3)
    half = torch.randn(20, 3, generator=generator) * 4 + torch.tensor([5.0, 0.0, 0.0])
    found = make_set(count=60, atoms=torch.cat([half, half * torch.tensor([-1.0, -1.0, 1.0])]))
    assert agreement(whole(found, symmetry="C2"), found.truth)[0] > agreement(whole(found), found.truth)[0] + 0.001
    assert agreement(whole(found, symmetry="C3"), found.truth)[0] < 0.9


def test_a_coarser_limit_gives_the_same_low_frequencies(make_set):
    found = make_set()
    fine, coarse = whole(found), whole(found, max_resolution=6.0)
    curve = shell_correlation(fine, coarse, PIXEL).correlation
    limit = round(32 * PIXEL / 6.0)
    assert curve[: limit - 1].min() > 0.999
    assert np.abs(torch.fft.rfftn(coarse)[0, 0, limit + 2 :].numpy()).max() < 1e-2 * float(coarse.abs().sum())


def test_images_of_two_pixel_sizes_make_one_map(make_set):
    """The same particle at 1.5 and, magnified, at 1.25 Å per pixel."""
    found = make_set(count=200)
    other = make_set(count=200, atoms=torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * 0.09 * 32 * 1.8)
    # atoms 1.2 times farther apart at 1.5 Å are the same atoms at 1.25 Å
    optics = found.table.optics
    two = optics.with_columns({label: np.repeat(column, 2) for label, column in optics.columns.items()})
    two = two.with_columns({"rlnOpticsGroup": shortest(np.array([1, 2])), "rlnImagePixelSize": shortest([1.5, 1.25])})
    column = {"rlnOpticsGroup": shortest(np.repeat([1, 2], 200))}
    merged = {
        label: np.concatenate([found.table.particles.columns[label], other.table.particles.columns[label]])
        for label in found.table.particles.labels
    }
    table = make_set(count=400).table
    table = replace_optics(
        type(table)(table.source, table.particles.with_columns({**merged, **column}), optics, table.locations), two
    )
    pixels = np.concatenate([found.images.pixels, other.images.pixels])
    projector = BackProjector.make(table, type(found.images)(pixels))
    first, second = sum_halves(projector, (np.arange(200), np.arange(200, 400)))
    # the median pixel size is taken; scaled to it, both halves show the same
    curve = shell_correlation(solve(first), solve(second), projector.pixel_size)
    assert curve.correlation[:10].min() > 0.98
    unscaled = BackProjector.make(found.table, other.images)
    apart = shell_correlation(solve(first), whole(type(found)(unscaled.table, other.images, found.truth)), 1.5)
    assert apart.correlation[:10].min() < 0.9


def test_sums_do_not_depend_on_threads_and_continue_from_a_checkpoint(make_set, tmp_path):
    found = make_set(count=300, noise=5.0)
    projector = BackProjector.make(found.table, found.images)
    halves = half_sets(found.table)
    alone, several = sum_halves(projector, halves), sum_halves(projector, halves, threads=3)
    file = tmp_path / "partial.npz"

    class KilledError(Exception):
        pass

    def kill(done, sums):
        if done == 1:
            save_sums(file, done, sums, {"count": 300})
            raise KilledError

    with pytest.raises(KilledError):
        sum_halves(projector, halves, threads=2, checkpoint=kill)
    begin = load_sums(file, 32, projector.disc.radius, "cpu", {"count": 300})
    assert begin[0] == 1
    continued = sum_halves(projector, halves, threads=2, begin=begin)
    for sums in (several, continued):
        for one, other in zip(alone, sums, strict=True):
            for name in ("real", "imag", "weight"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
    with pytest.raises(InputError, match="count"):
        load_sums(file, 32, 15, "cpu", {"count": 301})
    file.write_bytes(b"cut")
    assert load_sums(file, 32, 15, "cpu", {"count": 300}) is None


def test_halves_follow_the_file_where_it_says_so(make_set):
    table = make_set(count=10).table
    assert [half.tolist() for half in half_sets(table)] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    subset = shortest(np.array([1, 1, 2, 2, 2, 1, 1, 2, 1, 2]))
    named = type(table)(
        table.source, table.particles.with_columns({"rlnRandomSubset": subset}), table.optics, table.locations
    )
    assert half_sets(named)[1].tolist() == [2, 3, 4, 7, 9]
    with pytest.raises(InputError, match="at least 2"):
        half_sets(table.take([0]))


def test_particles_without_poses_or_ctf_are_refused(make_set):
    found = make_set(count=4)
    bare = found.table.particles.without(["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"])
    table = type(found.table)(found.table.source, bare, found.table.optics, found.table.locations)
    with pytest.raises(InputError, match="pose of every particle"):
        BackProjector.make(table, found.images)
    with pytest.raises(InputError, match="no CTF columns"):
        BackProjector.make(found.table, found.images, ctf_choice="model")


def test_noise_is_held_down_where_there_is_no_signal(make_set):
    found = make_set(count=400, noise=60.0)
    projector = BackProjector.make(found.table, found.images)
    sums = sum_halves(projector, half_sets(found.table))
    plain = make_maps(*sums, PIXEL, regularise=False)
    regularised = make_maps(*sums, PIXEL)
    assert plain.plain.correlation[-3:].max() < 0.5
    error = [float((maps.whole - found.truth).norm() / found.truth.norm()) for maps in (plain, regularised)]
    assert error[1] < 0.7 * error[0]
    assert torch.equal(plain.first, regularised.first)  # the halves are never touched


def test_rotations_are_those_of_the_projector(make_set):
    """Images of one view only: the map holds that view's slice, and the volume's slice is the same."""
    found = make_set(count=1)
    projector = BackProjector.make(found.table, found.images)
    sums = FourierSums(32, projector.disc.radius)
    sums.add(projector.prepare(np.array([0]), sums))
    _, weight, _ = sums.rows(0, sums.shape[1])
    z, y, x = torch.nonzero(weight > 1e-3).unbind(1)
    normal = rotation_from_euler(found.table.euler_deg)[0, 2].float()  # R^T e_z: perpendicular to the slice
    away = torch.stack([x, y - sums.reach, z - sums.reach], 1).float() @ normal
    assert away.abs().max() < 3**0.5


def test_image_stack_is_what_the_projector_reads(tmp_path):
    """From a file: white images stay white, dark ones are turned by their sign."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(4, 16, 16)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(images)
        file.voxel_size = PIXEL
    table = read_table(tmp_path)
    projector = BackProjector.make(table, ImageStack(table))
    sums = FourierSums(16, 7)
    spread = projector.prepare(np.array([0, 1]), sums)
    assert spread.weight.sum() == pytest.approx(2 * (len(projector.disc) + 0.5), rel=1e-5)


def read_table(folder):
    from continuousflex_dl.core.io.particle_table import ParticleTable

    table = ParticleTable.create([f"{i + 1}@a.mrcs" for i in range(4)], PIXEL, folder=folder, box=16)
    return table.with_poses(np.zeros((4, 3)), np.zeros((4, 2)))
