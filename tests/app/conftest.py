"""Results for the viewer: a small one with images, and one of a million particles."""

from pathlib import Path

import numpy as np
import pytest

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.space.result import Space
from continuousflex_dl.tests.synthetic import write_structure

N_SMALL, N_OTHER = 80, 50

STAR_HEAD = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnImageSize #3
1 2.2 64

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_cflexScore #3
"""


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> dict[str, Path]:
    """Directories of modes, of a method's particles (as cflex hemnma leaves them) and of their space."""
    folder = tmp_path_factory.mktemp("results")
    write_structure(folder / "structure.pdb")
    network = ["--representation", "ca-p", "--block-size", "0", "--cutoff", "12", "--n-modes", "10"]
    assert main(["nma", str(folder / "structure.pdb"), "-o", str(folder / "modes"), *network]) == 0
    images = ["--n-particles", str(N_SMALL), "--box", "40", "--pixel-size", "2.5", "--shift-px", "2", "--no-ctf"]
    law = ["--use", "7,8", "--law", "uniform", "--amplitude", "30", "--snr", "1"]
    modes = folder / "modes" / "modes.npz"
    assert main(["simulate", str(modes), "-o", str(folder / "simulated"), *images, *law]) == 0
    table = read_particles(folder / "simulated" / "truth.star")
    (folder / "method").mkdir()
    table = table.with_results(score=np.linspace(0.2, 0.8, N_SMALL), converged=np.ones(N_SMALL))
    write_star(folder / "method" / "particles.star", table)
    options = ["--modes", str(modes), "-o", str(folder / "space"), "--clusters", "kmeans", "--n-clusters", "3"]
    assert main(["space", str(folder / "method"), *options]) == 0
    # another result of some of the particles, in another order and another folder
    other = folder / "elsewhere" / "other"
    other.mkdir(parents=True)
    rows = np.random.default_rng(1).permutation(N_SMALL)[:N_OTHER]
    write_star(other / "particles.star", table.take(rows))
    coordinates = np.random.default_rng(2).normal(size=(N_OTHER, 2)) * [30, 10]
    plain_space(coordinates).save(other / "space.npz")
    return {name: folder / name for name in ("modes", "method", "space")} | {"other": other}


@pytest.fixture(scope="session")
def million(tmp_path_factory) -> Path:
    """A space of a million particles."""
    return write_large_space(tmp_path_factory.mktemp("million"), 1_000_000)


def write_large_space(folder: Path, count: int, seed: int = 0) -> Path:
    """Particles along a helix in three axes, without structures; a particle file with their scores."""
    rng = np.random.default_rng(seed)
    turn = np.pi * rng.random(count)
    coordinates = np.stack([400 * (turn / np.pi - 0.5), 80 * np.sin(turn), 80 * np.cos(turn)], axis=1)
    coordinates += rng.normal(scale=15, size=coordinates.shape)
    coordinates -= coordinates.mean(axis=0)
    folder.mkdir(parents=True, exist_ok=True)
    plain_space(coordinates, np.abs(rng.normal(size=count))).save(folder / "space.npz")
    rows = (f"{i % 1000 + 1:06d}@stack.mrcs 1 {0.3 + 0.1 * (i % 997) / 997:.4f}\n" for i in range(count))
    with open(folder / "particles.star", "w", encoding="utf-8") as stream:
        stream.write(STAR_HEAD)
        stream.writelines(rows)
    return folder


def plain_space(coordinates: np.ndarray, distance: np.ndarray | None = None) -> Space:
    """A space (n, d) whose axes are the amplitudes of modes 7 ..., all particles converged."""
    count, axes = coordinates.shape
    return Space(
        coordinates=coordinates,
        mean=np.zeros(axes),
        components=np.eye(axes),
        explained_variance_ratio=coordinates.var(axis=0) / coordinates.var(axis=0).sum(),
        modes=np.arange(7, 7 + axes),
        method="pca",
        converged=np.ones(count, dtype=bool),
        set_index=np.zeros(count, dtype=np.int64),
        distance=np.zeros(count) if distance is None else distance,
        inverse_error=0.0,
    )
