"""Speed of ``cflex reconstruct``, and what conformational spaces are worth: prints, and writes reconstruction.json.

Three parts:

* ``speed``: 5,000 images of 128 px on 2 threads (noise with random poses and CTF: the time does not depend on what the
  images show), and the memory, which must not grow with their number.
* ``energy``: a known mixture of two states, drawn many times: how often the free energy is within one and two of its own
  errors, and where the path between the states crosses the barrier.
* ``groups``: adenylate kinase along the helix of the DeepHEMNMA paper: ten groups by ``cflex hemnma`` and by the truth,
  reconstructed and compared with the maps of their centroids. This one takes minutes (``--images``; 0 leaves it out).
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STRUCTURE = ROOT / "examples" / "adk_4ake_A.pdb"
RESULTS = ROOT / "benchmarks" / "reconstruction.json"
BOX, PIXEL = 128, 1.1
GROUPS, AMPLITUDE = 10, 200.0


def cflex(*arguments: object) -> None:
    """Run a command in a process of its own; stop where it fails."""
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def noise_set(folder: Path, count: int) -> Path:
    """Noise images with random poses and CTF, as a particle file."""
    from continuousflex_dl.core.io.mrc import write_stack
    from continuousflex_dl.core.io.particle_table import CtfParameters, ParticleTable
    from continuousflex_dl.core.io.particles import write_star

    rng = np.random.default_rng(0)
    with write_stack(folder / "noise.mrcs", count, BOX, PIXEL) as writer:
        for first in range(0, count, 500):
            writer.append(rng.normal(size=(min(500, count - first), BOX, BOX)).astype(np.float32))
    full = lambda value: np.full(count, float(value))  # noqa: E731
    defocus = rng.uniform(8000, 20000, count)
    ctf = CtfParameters(full(300), full(2.7), full(0.1), defocus, defocus - 200, full(30), full(0))
    names = [f"{i + 1:06d}@noise.mrcs" for i in range(count)]
    table = ParticleTable.create(names, PIXEL, folder=folder, box=BOX, ctf=ctf)
    euler = np.column_stack([rng.uniform(-180, 180, count), np.rad2deg(np.arccos(rng.uniform(-1, 1, count)))])
    table = table.with_poses(np.column_stack([euler, rng.uniform(-180, 180, count)]), rng.normal(size=(count, 2)) * 3)
    write_star(folder / "noise.star", table)
    return folder / "noise.star"


def speed(folder: Path, threads: int) -> dict[str, Any]:
    """Wall and CPU seconds, and memory, of reconstructions of 5,000 and 1,000 images."""
    found: dict[str, Any] = {"box": BOX, "threads": threads}
    for count in (5000, 1000):
        images = folder / f"noise{count}"
        images.mkdir()
        particles = noise_set(images, count)
        output = folder / f"speed{count}.mrc"
        cflex("reconstruct", particles, "-o", output, "--threads", threads, "--device", "cpu")
        record = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
        stages = {stage["stage"]: stage["cpu_s"] for stage in record["stages"]}
        found[f"images_{count}"] = {
            "wall_s": record["wall_s"],
            "cpu_s": record["cpu_s"],
            "cpu_ms_per_image": round(1000 * stages["back-project"] / count, 2),
            "peak_memory_mb": record["peak_memory_mb"],
        }
    return found


def energy(repeats: int = 20) -> dict[str, Any]:
    """Calibration of the errors of the free energy on a mixture of two Gaussians, and the barrier on the path.

    The places stand for amplitudes in Å: two states 120 Å apart, 22 Å wide along the line between them.
    """
    from continuousflex_dl.core.space.barrier import pass_height
    from continuousflex_dl.core.space.basins import find_basins
    from continuousflex_dl.core.space.free_energy import free_energy
    from continuousflex_dl.core.space.paths import minimum_energy_path

    centres, spread, share = np.array([[-60.0, 0.0], [60.0, 0.0]]), np.array([22.0, 14.0]), 0.6

    def density(x):
        terms = [np.exp(-0.5 * (((x - centre) / spread) ** 2).sum(-1)) for centre in centres]
        return (share * terms[0] + (1 - share) * terms[1]) / (2 * np.pi * spread.prod())

    line = np.stack([np.linspace(-60, 60, 2401), np.zeros(2401)], axis=1)
    along = -np.log(density(line))
    barrier, height = float(line[along.argmax(), 0]), float(along.max() - along.min())
    found: dict[str, Any] = {
        "barrier_true": f"{barrier:.2f} Å from the middle of states {np.linalg.norm(centres[1] - centres[0]):.0f} Å apart",
        "height_true_kt": round(height, 3),
    }
    for count in (2000, 20_000):
        errors, places, heights = [], [], []
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            member = (rng.random(count) > share).astype(int)
            points = centres[member] + rng.normal(size=(count, 2)) * spread
            surface = free_energy(points, replicas=100, seed=seed)
            grid = np.stack(np.meshgrid(*surface.grid, indexing="ij"), axis=-1)
            truth = -np.log(density(grid))
            shown = np.isfinite(surface.energy) & (truth - truth.min() < 4)
            offset = np.average((surface.energy - truth)[shown], weights=1 / surface.std[shown] ** 2)
            errors.append(((surface.energy - truth)[shown] - offset) / surface.std[shown])
            basins = find_basins(surface)
            if len(basins) < 2:
                continue
            path = minimum_energy_path(surface, basins.minima[0], basins.minima[1])
            places.append(float(path.points[path.top, 0]))
            found_height, error = pass_height(points, surface, path, seed=seed)
            heights.append([found_height - height, error])
        z = np.concatenate(errors)
        found[f"particles_{count}"] = {
            "within_1_std": round(float((np.abs(z) < 1).mean()), 3),
            "within_2_std": round(float((np.abs(z) < 2).mean()), 3),
            "two_basins": f"{len(places)} of {repeats}",
            "barrier_mean_angst": round(float(np.mean(places)), 2),
            "barrier_std_angst": round(float(np.std(places)), 2),
            "height_error_mean_kt": round(float(np.mean([error for error, _ in heights])), 3),
            "height_error_in_std_rms": round(float(np.sqrt(np.mean([(e / std) ** 2 for e, std in heights]))), 2),
        }
    return found


def groups(folder: Path, images: int, threads: int) -> dict[str, Any]:
    """Resolution of ten groups along the helix against their centroids: estimated over true."""
    from continuousflex_dl.core.space.paths import write_path
    from continuousflex_dl.core.space.result import Space

    cflex("nma", STRUCTURE, "-o", folder / "modes")
    modes = folder / "modes" / "modes.npz"
    recipe = ["--box", 256, "--pixel-size", 0.325, "--downsample", 128, "--phase-flip", "--law", "helix"]
    recipe += ["--amplitude", AMPLITUDE, "--use", "7,8,9", "--snr", 0.1, "--n-particles", images]
    cflex("simulate", modes, "-o", folder / "images", *recipe, "--threads", threads)
    begin = time.perf_counter()
    aligned = folder / "aligned"
    cflex("hemnma", folder / "images" / "particles.star", "--modes", modes, "--use", "7,8,9", "-o", aligned,
          "--threads", threads)  # fmt: skip
    hemnma_s = time.perf_counter() - begin
    r = np.linspace(0, 1, 101)
    helix = AMPLITUDE * np.stack([-r, np.sin(np.pi * r), np.cos(np.pi * r)], axis=1)
    tables = {}
    for name, particles in (("truth", folder / "images" / "truth.star"), ("hemnma", aligned / "particles.star")):
        space = folder / f"space_{name}"
        cflex("space", particles, "--modes", modes, "-o", space, "--n-components", 3)
        write_path(folder / f"{name}.csv", Space.load(space).transform(helix))
        options = ["--path", folder / f"{name}.csv", "--n-groups", GROUPS, "--reconstruct", "--threads", threads]
        cflex("group", space, "-o", folder / f"groups_{name}", *options)
        with open(folder / f"groups_{name}" / "groups.csv", encoding="utf-8") as handle:
            tables[name] = list(csv.DictReader(handle))
    found: dict[str, Any] = {"images": images, "groups": GROUPS, "hemnma_wall_s": round(hemnma_s, 1)}
    for kind in ("model_masked", "model"):
        values = {
            name: np.array([float(row[f"resolution_{kind}_0.5_angst"]) for row in rows])
            for name, rows in tables.items()
        }
        ratio = values["hemnma"] / values["truth"]
        found[kind] = {
            "truth_angst": values["truth"].round(2).tolist(),
            "hemnma_angst": values["hemnma"].round(2).tolist(),
            "ratio_mean": round(float(ratio.mean()), 3),
            "ratio_worst": round(float(ratio.max()), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="images of the part 'groups'; 0: without it")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results["speed"] = speed(folder, options.threads)
        print("speed:", json.dumps(results["speed"], indent=2))
        results["energy"] = energy()
        print("energy:", json.dumps(results["energy"], indent=2))
        if options.images:
            results["groups"] = groups(folder, options.images, options.threads)
            print("groups:", json.dumps(results["groups"], indent=2))
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
