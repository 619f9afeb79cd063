"""Real ribosome images against a 70S map: pixel size, deposited poses, and a search from scratch.

The 219 tilt images of the cryoDRGN test data (six tilt series) have deposited poses in the frame of their own average, which
is not at hand, so one rotation and the hand of the 70S map are unknown: they are searched over all images at once. What
such a search makes of series that do not belong together is told by the same search with every series turned at random,
and by how a series fits in the frame that the others determine. The detection T is the overlap of all
whitened images with their projections over the norm of these: 0 +- 1 where the projections have nothing in common with
the images. Writes ``benchmarks/ribosome.json`` and ``docs/images/ribosome.png``. Needs the real data beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.dynamics.modes import NormalModes
from continuousflex_dl.core.hemnma.align import Settings
from continuousflex_dl.core.hemnma.observation import Observation
from continuousflex_dl.core.hemnma.pipeline import Hemnma
from continuousflex_dl.core.imaging.rotations import angle_between, local_rotations, rotation_grid, turn
from continuousflex_dl.core.imaging.slices import SliceProjector
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.core.pseudoatoms.gaussians import render

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS, PICTURE = ROOT / "benchmarks" / "ribosome.json", ROOT / "docs" / "images" / "ribosome.png"
MAP, PARTICLES = "maps/clean70SRibosome_vol_65p.mrc", "particles/cryodrgn/sta_testing_bin8.star"
MAP_PIXEL = 5.0  # Å; the header has none
IN_STAR, BY_NAME = 1.96, 14.56  # Å, pixel sizes of the images that their STAR file and their name say
SCANNED = (IN_STAR, 3.0, 5.0, 8.0, 11.0, BY_NAME, 18.0, 22.0, 28.0, 36.0)
RADIUS = 15  # of the disc of frequencies, 62 Å at 14.56 Å pixels
STEP_DEG, RANDOM = 20.0, 100
QUICK = ("--max-resolution", "50", "--hypotheses", "8", "--angular-step", "20")  # these images hold no more
_BLOB_PX = 1.5  # width at which the reference is drawn; taken off again in Fourier space


@dataclass(frozen=True)
class Scene:
    """Whitened images with deposited poses, and a projector of the reference in either hand."""

    modes: NormalModes
    observation: Observation
    rotations: Tensor  # (n, 3, 3)
    weights: Tensor  # (n,) by dose and tilt
    series: np.ndarray  # (n,) tilt series of each image
    pixel_size: float

    @classmethod
    def read(cls, data: Path, modes: NormalModes, pixel_size: float) -> Scene:
        """Read the images as if they had a pixel size in Å."""
        table = read_particles(data / PARTICLES, pixel_size=pixel_size)
        hemnma = Hemnma(table, ImageStack(table), modes.select([7]), Settings(max_shift_px=2), search_rmsd=0)
        hemnma.calibrate(measure=False)
        observation = hemnma.observe(np.arange(len(table)), 0)
        rows = [line.split() for line in (data / PARTICLES).read_text().splitlines() if "@" in line]
        scale = torch.tensor([float(row[17]) for row in rows])
        series = np.cumsum(np.diff([float(row[17]) for row in rows], prepend=0) > 0.2)
        rotations = torch.as_tensor(matrix_from_euler(table.euler_deg)).float()
        return cls(modes, observation.inner(min(RADIUS, observation.disc.radius)), rotations, scale, series, pixel_size)

    def projector(self, mirrored: bool) -> SliceProjector:
        """Slices of the reference, whose atoms are drawn too wide."""
        box = self.observation.disc.box
        places = self.modes.centred * [1, 1, -1 if mirrored else 1]
        weights = self.modes.weights / self.modes.weights.sum()
        return SliceProjector(
            torch.as_tensor(render(places[:, ::-1] / self.pixel_size + box // 2, weights, _BLOB_PX, (box,) * 3))
        )

    def overlaps(
        self, projector: SliceProjector, rotations: Tensor, images: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Overlap and squared norm (g, n) of the projections of every image with the reference turned (g, 3, 3).

        With `images` (n, 3, 3) these are its poses; without, the rotations (g, n, 3, 3) are those of the images.
        """
        observation = self.observation
        kx, ky = observation.disc.kx.float(), observation.disc.ky.float()
        width = (self.modes.sigma / self.pixel_size) ** 2
        wide = torch.exp(2 * np.pi**2 * (_BLOB_PX**2 - width) * (kx**2 + ky**2) / observation.disc.box**2)
        filtered = observation.transfer * wide
        parts = []
        for block in rotations.split(64):
            turned = block if images is None else images[None] @ block[:, None]
            slices = projector.slices(turned.flatten(0, 1), kx, ky).unflatten(0, turned.shape[:2]) * filtered
            norm = (slices.real**2 + slices.imag**2).sum(-1)
            parts.append(torch.stack([(slices.conj() * observation.data).real.sum(-1), norm]))
        both = torch.cat(parts, 1)
        return both[0], both[1]

    def detection(self, projector: SliceProjector, rotations: Tensor, images: Tensor) -> Tensor:
        """T (g,) of all images together."""
        overlap, norm = self.overlaps(projector, rotations, images)
        return (overlap * self.weights).sum(1) / (norm * self.weights**2).sum(1).sqrt()


def pixel_sizes(data: Path, modes: NormalModes) -> list[dict[str, float]]:
    """Detection over random orientations of the reference as a whole, for each pixel size."""
    grid = rotation_grid(STEP_DEG).float()
    some = grid[torch.randperm(len(grid), generator=torch.Generator().manual_seed(0))[:30]]
    rows = []
    for pixel in SCANNED:
        scene = Scene.read(data, modes, pixel)
        found = scene.detection(scene.projector(False), some, scene.rotations)
        rows.append({"pixel_angst": pixel, "mean": round(float(found.mean()), 2), "std": round(float(found.std()), 2)})
    return rows


def find_frame(scene: Scene, images: Tensor, mirrored: bool) -> tuple[Tensor, float, dict[str, float]]:
    """Rotation from the reference to the frame of the poses, its T, and mean and standard deviation over all."""
    projector = scene.projector(mirrored)
    grid = rotation_grid(STEP_DEG).float()
    found = scene.detection(projector, grid, images)
    every = {"mean": round(float(found.mean()), 2), "std": round(float(found.std()), 2)}
    best, top = grid[found.argsort(descending=True)[:4]], float(found.max())
    for reach in (12.0, 6.0):
        near = turn(best[:, None], local_rotations(reach, reach / 2).float()[None]).flatten(0, 1)
        found = scene.detection(projector, near, images)
        best, top = near[found.argsort(descending=True)[:2]], max(top, float(found.max()))
    return best[0], top, every


def against_random(scene: Scene, mirrored: bool, images: Tensor, frame: Tensor) -> dict[str, float]:
    """How often the projection at a given pose correlates better than those at random poses."""
    generator = torch.Generator().manual_seed(7)
    quaternions = torch.randn(RANDOM, len(images), 4, generator=generator)
    projector = scene.projector(mirrored)
    given, given_norm = scene.overlaps(projector, (images @ frame)[None])
    other, other_norm = scene.overlaps(projector, _rotations(quaternions))
    own, random = (given / given_norm.sqrt())[0], other / other_norm.sqrt()
    below = (random < own).float().mean(0)
    return {
        "better_than_the_mean_random_pose": round(float((own > random.mean(0)).float().mean()), 3),
        "better_than_95_of_100": round(float((below >= 0.95).float().mean()), 3),
        "better_than_all_100": round(float((below == 1).float().mean()), 3),
        "mean_rank_of_100": round(float(below.mean()) * RANDOM, 1),
    }


def left_out_series(scene: Scene, mirrored: bool, images: Tensor) -> list[float]:
    """Share of all frames in which a tilt series fits worse than in the frame that the other series determine."""
    overlap, norm = scene.overlaps(scene.projector(mirrored), rotation_grid(STEP_DEG).float(), images)
    shares = []
    for number in np.unique(scene.series):
        mine = torch.as_tensor(scene.series == number)
        own, others = (
            (overlap * scene.weights)[:, part].sum(1) / (norm * scene.weights**2)[:, part].sum(1).sqrt()
            for part in (mine, ~mine)
        )
        shares.append(round(float((own < own[others.argmax()]).float().mean()), 2))
    return shares


def _rotations(quaternions: Tensor) -> Tensor:
    w, x, y, z = (quaternions / quaternions.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def from_scratch(data: Path, modes: Path, expected: Tensor, folder: Path) -> dict[str, Any]:
    """Angles between the poses of ``cflex hemnma``, which is not told any, and the expected ones (n, 3, 3)."""
    begin = time.perf_counter()
    cflex(
        "hemnma",
        data / PARTICLES,
        "--modes",
        modes,
        "--use",
        "7-9",
        "--pixel-size",
        BY_NAME,
        *QUICK,
        "-o",
        folder / "hemnma",
    )
    record = json.loads((folder / "hemnma" / "run.json").read_text(encoding="utf-8"))
    table = read_particles(folder / "hemnma" / "particles.star", datadir=data / "particles" / "cryodrgn")
    found = torch.as_tensor(matrix_from_euler(table.euler_deg)).float()
    angle = torch.rad2deg(angle_between(found, expected)).numpy()
    return {
        "angle_deg_percentiles": {str(p): round(float(np.percentile(angle, p)), 1) for p in (5, 25, 50, 75, 95)},
        "within_20_deg": round(float((angle < 20).mean()), 3),
        "within_40_deg": round(float((angle < 40).mean()), 3),
        "random_within_20_deg": 0.002,
        "random_within_40_deg": 0.018,
        "random_median_deg": 132.3,
        "converged": record["results"]["converged"],
        "cpu_s": record["cpu_s"],
        "wall_s": round(time.perf_counter() - begin, 1),
        "images_by_10_degrees": np.histogram(angle, np.linspace(0, 180, 19))[0].tolist(),
    }


def cflex(*arguments: object) -> None:
    """Run a command in a process of its own; stop where it fails."""
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])


def reference_modes(data: Path, folder: Path) -> Path:
    """Normal modes of the pseudoatoms of the 70S map."""
    cflex("pseudoatoms", data / MAP, "--pixel-size", MAP_PIXEL, "-o", folder / "pseudoatoms")
    cflex("nma", folder / "pseudoatoms" / "pseudoatoms.cif", "--cutoff-percentile", "95", "-o", folder / "nma")
    return folder / "nma" / "modes.npz"


def draw(report: dict[str, Any]) -> None:
    """Detection over pixel size, and angles of the search from scratch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    rows = report["pixel_sizes"]
    columns = ([row[name] for row in rows] for name in ("pixel_angst", "mean", "std"))
    left.errorbar(*columns, marker="o", color="#2a6f97", capsize=3)
    for pixel, name in ((IN_STAR, "STAR file"), (BY_NAME, "file name")):
        left.axvline(pixel, color="#9b2226", linestyle="--", linewidth=1)
        left.text(pixel, left.get_ylim()[1], f" {name}", va="top", fontsize=8, color="#9b2226")
    left.axhline(0, color="black", linewidth=0.6)
    left.set_xlabel("pixel size of the images (Å)")
    left.set_ylabel("detection (standard deviations of noise)")
    edges = np.linspace(0, 180, 19)
    counts = report["from_scratch"]["images_by_10_degrees"]
    right.bar(edges[:-1], counts, 10, align="edge", color="#2a6f97", label="search from scratch")
    theta = np.radians(edges)
    chance = np.diff(theta - np.sin(theta)) / np.pi * sum(counts)
    right.stairs(chance, edges, color="#9b2226", label="random poses")
    right.set_xlabel("angle to the deposited pose (degrees)")
    right.set_ylabel("images")
    right.legend(frameon=False)
    figure.savefig(PICTURE, metadata={"Software": None})


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="Folder of the real data.")
    parser.add_argument("--controls", type=int, default=3, help="Searches with every tilt series turned at random.")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"{options.data}: no such folder; give the real data with --data", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="cflex-bench-") as temporary:
        folder = Path(temporary)
        modes_file = reference_modes(options.data, folder)
        modes = read_modes(modes_file)
        report: dict[str, Any] = {"pixel_sizes": pixel_sizes(options.data, modes)}
        print(report, flush=True)
        scene = Scene.read(options.data, modes, BY_NAME)
        report["images"], report["series"] = len(scene.rotations), len(set(scene.series.tolist()))
        frames = {mirrored: find_frame(scene, scene.rotations, mirrored) for mirrored in (False, True)}
        mirrored = frames[True][1] > frames[False][1]
        frame, top, every = frames[mirrored]
        report["deposited"] = {
            "detection": round(top, 2), "detection_other_hand": round(frames[not mirrored][1], 2),
            "mirrored": mirrored, "all_frames": every, **against_random(scene, mirrored, scene.rotations, frame),
            "images_per_series": np.bincount(scene.series)[1:].tolist(),
            "left_out_series_share_of_worse_frames": left_out_series(scene, mirrored, scene.rotations),
            "left_out_series_other_hand": left_out_series(scene, not mirrored, scene.rotations),
        }  # fmt: skip
        print(report["deposited"], flush=True)
        report["series_turned_at_random"] = []
        for seed in range(options.controls):
            generator = torch.Generator().manual_seed(seed)
            turned = _rotations(torch.randn(int(scene.series.max()) + 1, 4, generator=generator))
            images = scene.rotations @ turned[torch.as_tensor(scene.series)]
            other, chance, spread = find_frame(scene, images, mirrored)
            row = {"detection": round(chance, 2), "all_frames": spread}
            report["series_turned_at_random"].append({**row, **against_random(scene, mirrored, images, other)})
            print(report["series_turned_at_random"][-1], flush=True)
        # a mirror image turned by R has the projection of the object turned by M R M, M the mirror along the line of sight
        mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]))
        report["from_scratch"] = from_scratch(
            options.data, modes_file, mirror @ scene.rotations @ frame @ mirror, folder
        )
        print(report["from_scratch"], flush=True)
    draw(report)
    RESULTS.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {RESULTS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
