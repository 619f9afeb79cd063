"""Errors and CPU seconds of ``cflex cryovit`` on simulated adenylate kinase; writes ``benchmarks/cryovit.json``.

The images are those of the thesis (ch. 4 and 5): all atoms of 4AKE chain A on a helix of modes 7-9, 256 px at 0.325 Å,
signal-to-noise ratio 0.1, CTF, downscaled to 64 px; and the same of the DIMS transition, which follows no normal mode.
``--images`` sets how many; the thesis has 10,000. Every run is a process of its own on one thread.

    python benchmarks/cryovit.py --images 1000 --folder /tmp/cryovit [--only ak,disturbed3] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from report import computer
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.conventions import euler_from_matrix, matrix_from_euler
from continuousflex_dl.core.io.particles import read_particles, write_star
from continuousflex_dl.core.metrics import rank_correlation

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
STRUCTURE = EXAMPLES / "adk_4ake_A.pdb"
RESULTS = ROOT / "benchmarks" / "cryovit.json"
HELD_OUT = 0.2  # of the images, where new ones are inferred:
SPLIT = 10_000  # always from so many images on


def cflex(*arguments: object, cpu: bool = False) -> float:
    """Run a command; CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
    subprocess.run(command, check=True, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def simulate(folder: Path, count: int, wanted: set[str]) -> dict[str, Path]:
    """Modes and the particle sets that are wanted, as far as they are not there yet."""
    modes = folder / "nma" / "modes.npz"
    if not modes.exists():
        cflex("nma", STRUCTURE, "-o", folder / "nma")
    paths = {"modes": modes}
    common = ["--n-particles", count, "--box", 256, "--pixel-size", 0.325, "--downsample", 64, "--threads", 1]
    dims = ["--ensemble", EXAMPLES / "adk_dims_heavy.dcd", "--topology", STRUCTURE]
    for name, more in (("ak", []), ("dims", dims)):
        paths[name] = folder / name / "truth.star"
        if name in wanted and not paths[name].exists():
            cflex("simulate", modes, "-o", folder / name, *common, *more)
    return paths


def disturb(source: Path, target: Path, degrees: float, pixels: float) -> None:
    """Turn poses by Gaussian angles about each axis, and shift them."""
    table, generator = read_particles(source), np.random.default_rng(1)
    turn = Rotation.from_rotvec(np.radians(degrees) * generator.normal(size=(len(table), 3))).as_matrix()
    euler = euler_from_matrix(turn @ matrix_from_euler(table.euler_deg))
    shift = table.shift_angst + pixels * generator.normal(size=(len(table), 2)) * table.pixel_size[:, None]
    write_star(target, table.with_poses(euler, shift))


def figures(result: Path, truth: Path, known: Path, folder: Path) -> dict[str, Any]:
    """What ``cflex evaluate`` and the run record say of a result."""
    files = [result / "particles.star", truth, "--coordinates", result / "conformations.h5", known]
    cflex("evaluate", *files, "-o", folder / "metrics", "--overwrite")
    measured = json.loads((folder / "metrics" / "metrics.json").read_text())
    record = json.loads((result / "run.json").read_text())["results"]
    found = {
        "particles": measured["n_particles"],
        "rmsd_angst": round(measured["rmsd_angst"]["structures"]["mean"], 3),
        "rmsd_superposed_angst": round(measured["rmsd_angst"]["structures_superposed"]["mean"], 3),
        "recovered_motion": measured["recovered_motion"],
        "rotation_deg": round(measured["rotation_deg"]["mean"], 3),
        "shift_angst": round(measured["shift_angst"]["norm"]["mean"], 3),
        "latent_correlation": record["latent_correlation"],
        "structures": record["structures"],
        "sigma_angst": record["sigma_angst"],
    }
    frame = read_particles(truth, check_images=False).frame
    if frame is not None:
        found["rank_correlation"] = rank_of(result / "conformations.h5", frame)
    return found


def rank_of(conformations: Path, frame: np.ndarray) -> dict[str, float]:
    """Rank correlation with the true frame of the first principal component of latents and of coordinates."""
    import h5py

    ranks = {}
    with h5py.File(conformations) as file:
        for name in ("latent", "coordinates"):
            values = file[name][()].reshape(len(frame), -1).astype(np.float64)
            centred = values - values.mean(axis=0)
            left, size, _ = np.linalg.svd(centred, full_matrices=False)
            ranks[name] = round(abs(rank_correlation(left[:, 0] * size[0], frame) or 0.0), 4)
    return ranks


def still(truth: Path, modes: Path, known: Path, folder: Path) -> float:
    """Mean RMSD of the undeformed reference from the truth, over its Cα, Å."""
    import h5py

    from continuousflex_dl.core.cryovit.reference import FlexibleReference
    from continuousflex_dl.core.structure.reader import read_structure

    reference = FlexibleReference.of(read_structure(STRUCTURE)[0])
    table = read_particles(truth, check_images=False)
    target = folder / "still.h5"
    with h5py.File(target, "w") as file:
        file["coordinates"] = np.repeat(reference.structure.coordinates[None], len(table), axis=0)
        file["atom_index"] = reference.node_rows
    cflex("evaluate", truth, truth, "--coordinates", target, known, "-o", folder / "metrics", "--overwrite")
    measured = json.loads((folder / "metrics" / "metrics.json").read_text())
    return round(measured["rmsd_angst"]["structures"]["mean"], 3)


def main() -> None:
    """Run the cases and merge what they give into the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, help="instead of those of the preset")
    parser.add_argument("--max-minutes", type=float, help="wall time of a training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    free = ["--bond-scale", 0, "--clash-std", 0]
    fixed = ["--no-refine-poses"]
    thesis = ["--preset", "thesis", "--validation", 0.03]
    cases: dict[str, tuple[str, list[object]]] = {
        "ak": ("ak", fixed),
        "ak_free_backbone": ("ak", [*fixed, *free]),
        "ak_modes": ("ak", [*fixed, *free, "--decoder", "modes"]),
        "ak_free_decoder": ("ak", [*fixed, "--decoder", "free"]),
        "ak_vit": ("ak", [*fixed, "--encoder", "vit", "--epochs", 40]),
        "disturbed3": ("ak", ["--angle-std", 3]),
        "disturbed6": ("ak", ["--angle-std", 6]),
        "dims": ("dims", fixed),
        "supervised": ("ak", fixed),
        "thesis": ("ak", [*fixed, *thesis]),
        "thesis_supervised": ("ak", thesis),
    }
    chosen = [name for name in options.only.split(",") if name] or [name for name in cases if "thesis" not in name]
    paths = simulate(options.folder, options.images, {cases[name][0] for name in chosen})
    for name in chosen:
        data, more = cases[name]
        result = run(name, paths, data, more, options)
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        seed = f", seed {options.seed}" if options.seed else ""
        result["command"] = f"benchmarks/cryovit.py --images {options.images} --only {name}{seed.replace(', ', ' --')}"
        stored.setdefault("cases", {})[f"{name}, {options.images} images{seed}"] = result
        stored["computer"] = computer()
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")
        print(name, json.dumps(result), flush=True)


def run(
    name: str, paths: dict[str, Path], data: str, more: list[object], options: argparse.Namespace
) -> dict[str, Any]:
    """One case: what was run and what came out."""
    folder: Path = options.folder
    truth = particles = paths[data]
    known = paths["modes"] if data == "ak" else truth.with_suffix(".h5")
    result: dict[str, Any] = {"images": options.images}
    if name.startswith("disturbed"):
        degrees = float(name.removeprefix("disturbed"))
        particles = truth.with_name(f"{name}.star")
        disturb(truth, particles, degrees, 2.0)
        cflex("evaluate", particles, truth, "-o", folder / "metrics", "--overwrite")
        before = json.loads((folder / "metrics" / "metrics.json").read_text())
        result["put_in"] = {
            "rotation_deg": round(before["rotation_deg"]["mean"], 3),
            "shift_angst": round(before["shift_angst"]["norm"]["mean"], 3),
        }
    labels: list[object] = []
    held = None
    if name in ("supervised", "ak_vit") or "thesis" in name or options.images >= SPLIT:
        particles, held = split(particles, name)
    if "supervised" in name:
        labels = known_structures(particles, paths["modes"], folder, name)
    output = folder / f"{name}-model"
    common = ["--reference", STRUCTURE, "-o", output, "--overwrite", "--threads", 1, "--device", options.device]
    for word in ("epochs", "max_minutes", "seed"):
        if getattr(options, word):
            more = [*more, f"--{word.replace('_', '-')}", getattr(options, word)]
    result["options"] = [str(word) for word in more]
    result["train_cpu_s"] = round(cflex("cryovit", "train", particles, *common, *labels, *more), 1)
    record = json.loads((output / "run.json").read_text())
    result |= {"steps": record["results"]["steps"], "undeformed_angst": still(truth, paths["modes"], known, folder)}
    result["train"] = figures(output, truth, known, folder)
    if held is not None:
        inferred = folder / f"{name}-infer"
        common = ["-o", inferred, "--overwrite", "--threads", 1, "--device", options.device]
        common += ["--no-refine"] if "thesis" in name else []  # as the thesis: what the network says
        cpu = cflex("cryovit", "infer", output, held, *common)
        result["infer_cpu_s_per_image"] = round(cpu / len(read_particles(held, check_images=False)), 3)
        result["infer"] = figures(inferred, truth, known, folder)
    return result


def split(particles: Path, name: str) -> tuple[Path, Path]:
    """Particles to train on, and the rest."""
    table = read_particles(particles)
    first = round((1 - HELD_OUT) * len(table))
    train, held = particles.with_name(f"{name}-train.star"), particles.with_name(f"{name}-held.star")
    write_star(train, table.rows(0, first))
    write_star(held, table.rows(first, len(table)))
    return train, held


def known_structures(particles: Path, modes: Path, folder: Path, name: str) -> list[object]:
    """Options that give the structures of the particles to the training."""
    import h5py

    from continuousflex_dl.core.io.modes import read_modes

    table = read_particles(particles)
    known = read_modes(modes).select(sorted(table.amplitudes))
    amplitudes = np.stack([table.amplitudes[number] for number in sorted(table.amplitudes)], axis=1)
    labels = folder / f"{name}-labels.h5"
    with h5py.File(labels, "w") as file:
        file["coordinates"] = known.displace(amplitudes).astype(np.float32)
    return ["--supervised", labels]


if __name__ == "__main__":
    main()
