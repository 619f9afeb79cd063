"""CPU seconds an image of ``cflex hemnma`` and its errors, beside those of the reference program.

Measured on images from an independent forward model where they are at hand (``--data``, by default
``../shared/data/particles/hemnma_reference`` beside the checkout), and on images simulated from the example structure.
Every run is a process of its own; runs that are compared alternate. Marginal seconds are those of a run of all images
less those of a run of one, over the number of images less one. Where ``xmipp_nma_alignment`` is on the PATH it aligns the
same images with the same modes. Writes ``benchmarks/results.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reference_program
from report import computer

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "particles" / "hemnma_reference"
STRUCTURE = ROOT / "examples" / "adk_4ake_A.pdb"
RESULTS = ROOT / "benchmarks" / "results.json"
USE = "7-9"
WHAT = {
    "clean64": "64 px, 2.2 Å, no noise, no CTF",
    "noisy64": "64 px, 2.2 Å, SNR 0.1, phase-flipped",
    "paper128": "128 px, 0.65 Å, SNR 0.1, phase-flipped",
}


@dataclass(frozen=True)
class Case:
    """Particle images with truth, and what the reference program needed for them, where that is known."""

    name: str
    what: str
    particles: Path
    truth: Path
    modes: Path
    reference: Path | None = None
    options: tuple[str, ...] = ()
    pixel_size: float = 1.0
    use: str = USE


def cflex(*arguments: str | Path) -> None:
    """Run a command in a process of its own; stop where it fails."""
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def reference_cases(data: Path) -> list[Case]:
    """Cases from the independent forward model."""
    return [
        Case(
            name=name,
            what=what,
            particles=data / f"{name}.star",
            truth=data / f"{name}_truth.star",
            modes=data / "modes_7_8_9.npz",
            reference=data / f"{name}_reference_program.xmd",
            options=("--ctf", "flipped") if "phase-flipped" in what else (),  # the files do not say it themselves
            pixel_size=0.65 if name == "paper128" else 2.2,
        )
        for name, what in WHAT.items()
        if (data / f"{name}.star").is_file()
    ]


def simulated_case(
    folder: Path,
    box: int,
    pixel: float,
    count: int,
    snr: float = 0.1,
    use: str = USE,
    amplitude: int = 150,
    name: str = "",
) -> Case:
    """Images simulated from the example structure with the default CTF and noise."""
    modes = folder / "modes"
    if not modes.exists():
        cflex("nma", STRUCTURE, "-o", modes)
    name = name or f"simulated{box}" + ("" if snr == 0.1 else f"-snr{snr:g}") + ("" if use == USE else f"-modes{use}")
    size = ["--n-particles", str(count), "--box", str(box), "--pixel-size", str(pixel), "--snr", str(snr)]
    law = ["--law", "uniform", "--amplitude", str(amplitude), "--use", use]
    cflex("simulate", modes / "modes.npz", "-o", folder / name, *size, *law)
    what = f"{box} px, {pixel:g} Å, SNR {snr:g}, modes {use}, own simulation"
    particles, truth = folder / name / "particles.star", folder / name / "truth.star"
    return Case(name, what, particles, truth, modes / "modes.npz", pixel_size=pixel, use=use)


def align(case: Case, output: Path, threads: int, particles: Path | None = None) -> dict[str, Any]:
    """One run; its record."""
    shutil.rmtree(output, ignore_errors=True)
    options = ["--modes", case.modes, "--use", case.use, "--threads", str(threads), "--device", "cpu", *case.options]
    cflex("hemnma", particles or case.particles, *options, "--datadir", case.particles.parent, "-o", output)
    record: dict[str, Any] = json.loads((output / "run.json").read_text(encoding="utf-8"))
    return record


def first_image(case: Case, folder: Path) -> Path:
    """Particle file with the first image only."""
    from continuousflex_dl.core.io.particles import read_particles, write_star

    path = folder / f"{case.name}-one.star"
    table = read_particles(case.particles, pixel_size=case.pixel_size)
    write_star(path, table.take([0]))
    return path


def measure(case: Case, folder: Path, repeats: int) -> dict[str, Any]:
    """Median times on one core, and the errors (the same in every run)."""
    whole, alone = [], []
    one = first_image(case, folder)
    output = folder / f"{case.name}-all"
    for _ in range(repeats):
        alone.append(align(case, folder / f"{case.name}-first", 1, one)["cpu_s"])
        record = align(case, output, 1)
        whole.append((record["cpu_s"], record["wall_s"], record["peak_memory_mb"]))
    count = record["results"]["particles"]
    cpu, wall, memory = (statistics.median(values) for values in zip(*whole, strict=True))
    return {
        "images": count,
        "cpu_s_all": round(cpu, 2),
        "cpu_s_one": round(statistics.median(alone), 2),
        "marginal_cpu_s_per_image": round((cpu - statistics.median(alone)) / (count - 1), 3),
        "wall_s": round(wall, 2),
        "peak_memory_mb": round(memory),
        **errors_of(case, output / "particles.star", folder / f"{case.name}-errors"),
        **over_bound(case, output / "particles.star"),
    }


def errors_of(case: Case, particles: Path, folder: Path) -> dict[str, Any]:
    """Errors of a result file against the truth of the case."""
    cflex("evaluate", particles, case.truth, "--modes", case.modes, "-o", folder, "--pixel-size", str(case.pixel_size))
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    ratios = [mode["predicted_std"]["robust_ratio"] for mode in figures["modes"].values() if mode.get("predicted_std")]
    return {
        "rmsd_median_angst": round(figures["rmsd_angst"]["amplitudes"]["median"], 3),
        "rmsd_mean_angst": round(figures["rmsd_angst"]["amplitudes"]["mean"], 3),
        "amplitude_mean_abs_error": round(figures["amplitude_mean_abs_error"], 2),
        "rotation_median_deg": round(figures["rotation_deg"]["median"], 2),
        "axes_mean_deg": round(figures["axis_distance_deg"]["mean"], 2),
        "axes_median_deg": round(figures["axis_distance_deg"]["median"], 2),
        "shift_median_angst": round(figures["shift_angst"]["norm"]["median"], 3),
        "failed": figures["failures"]["count"],
        "of": figures["n_particles"],
        "error_over_predicted": {
            "amplitudes": round(statistics.mean(ratios), 2) if ratios else None,
            "angles": round(figures["angle_error_over_predicted"], 2)
            if "angle_error_over_predicted" in figures
            else None,
            "shifts": round(figures["shift_error_over_predicted"], 2)
            if "shift_error_over_predicted" in figures
            else None,
        },
        "flags": figures.get("flags"),
        "confidence": figures.get("confidence"),
    }


def over_bound(case: Case, particles: Path) -> dict[str, Any]:
    """Median error over the median that the Cramer-Rao bound allows."""
    import numpy as np

    from continuousflex_dl.core.hemnma.align import Settings
    from continuousflex_dl.core.hemnma.bound import cramer_rao
    from continuousflex_dl.core.hemnma.pipeline import Hemnma
    from continuousflex_dl.core.io.modes import read_modes
    from continuousflex_dl.core.io.particles import read_particles
    from continuousflex_dl.core.metrics import particle_errors
    from continuousflex_dl.core.particles.stack import ImageStack

    if "no noise" in case.what:
        return {"error_over_bound": None}  # without noise there is no bound
    table = read_particles(case.particles, pixel_size=case.pixel_size)
    truth = read_particles(case.truth, pixel_size=case.pixel_size, check_images=False)
    modes = read_modes(case.modes).select(_numbers(case.use))
    ctf = "flipped" if "flipped" in case.options else "auto"
    bound = cramer_rao(
        Hemnma(table, ImageStack(table), modes, Settings(max_shift_px=table_box(table) / 8), ctf_choice=ctf), truth
    )
    found = read_particles(particles, pixel_size=case.pixel_size, check_images=False)
    errors = particle_errors(found, truth)
    amplitude = np.stack([errors.amplitudes[int(number)] for number in modes.indices], axis=1)
    if errors.rotation_deg is None or errors.shift_angst is None:
        return {}
    return {
        "error_over_bound": {
            "amplitudes": round(float(np.median(np.abs(amplitude) / bound.amplitudes) / 0.6745), 2),
            "angles": round(float(np.median(errors.rotation_deg / bound.angle_deg) / 1.5382), 2),
            "shifts": round(
                float(np.median(np.linalg.norm(errors.shift_angst, axis=1) / bound.shift_angst) / 1.1774), 2
            ),
        }
    }


def _numbers(use: str) -> list[int]:
    first, last = use.split("-")
    return list(range(int(first), int(last) + 1))


def table_box(table: Any) -> int:
    """Box size of the images, px."""
    from continuousflex_dl.core.particles.stack import ImageStack

    return int(ImageStack(table).box)


def threads_pairs(case: Case, folder: Path, pairs: int) -> dict[str, Any]:
    """One thread against two, alternating."""
    found = []
    for _ in range(pairs):
        one, two = (align(case, folder / f"{case.name}-threads", threads) for threads in (1, 2))
        found.append({"cpu_ratio": two["cpu_s"] / one["cpu_s"], "speed_up": one["wall_s"] / two["wall_s"]})
    return {
        "images": one["results"]["particles"],
        "pairs": pairs,
        "best_speed_up": round(max(pair["speed_up"] for pair in found), 2),
        "median_speed_up": round(statistics.median(pair["speed_up"] for pair in found), 2),
        "median_cpu_ratio": round(statistics.median(pair["cpu_ratio"] for pair in found), 2),
    }


def larger(folder: Path, repeats: int) -> dict[str, Any]:
    """Ratios of marginal time: ten modes to three, and 17,000 nodes to 1,656 atoms."""
    case = simulated_case(folder, 64, 2.2, 100, amplitude=60, name="larger")
    few = measure(case, folder, repeats)
    many = measure(simulated_case(folder, 64, 2.2, 100, use="7-16", amplitude=60), folder, repeats)
    dense = measure(reference_program.dense_case(case, folder, 17000), folder, 1)
    base = few["marginal_cpu_s_per_image"]
    return {
        "marginal_cpu_s_per_image": {
            "3 modes": base,
            "10 modes": many["marginal_cpu_s_per_image"],
            "17,000 nodes": dense["marginal_cpu_s_per_image"],
        },
        "ten_modes_over_three": round(many["marginal_cpu_s_per_image"] / base, 2),
        "nodes_17000_over_1656": round(dense["marginal_cpu_s_per_image"] / base, 2),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="Folder of the reference images.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs per case.")
    parser.add_argument("--pairs", type=int, default=5, help="Pairs of runs with one and two threads.")
    parser.add_argument("--quick", action="store_true", help="One small case, printed but not written.")
    options = parser.parse_args()
    report: dict[str, Any] = {"computer": computer(), "repeats": options.repeats, "hemnma": {}}
    with tempfile.TemporaryDirectory(prefix="cflex-bench-") as temporary:
        folder = Path(temporary)
        if options.quick:
            print(measure(simulated_case(folder, 32, 4.4, 4), folder, 1))
            return 0
        cases = [
            *reference_cases(options.data),
            simulated_case(folder, 64, 2.2, 40),
            simulated_case(folder, 128, 1.1, 40),
            simulated_case(folder, 64, 2.2, 300, snr=0.03),
        ]
        for case in cases:
            result = measure(case, folder, 1 if "snr" in case.name else options.repeats)  # that one is for its errors
            if case.reference is not None and case.reference.is_file():
                result["reference_program"] = errors_of(case, case.reference, folder / f"{case.name}-reference")
            if reference_program.available():
                result["reference_program_here"] = reference_program.measure(case, folder, errors_of)
            report["hemnma"][case.name] = {**result, "images_are": case.what}
            print(f"{case.name}: {result}", flush=True)
        if len(os.sched_getaffinity(0)) > 1:
            report["threads"] = threads_pairs(
                simulated_case(folder, 64, 2.2, 200, name="threads"), folder, options.pairs
            )
            print(f"threads: {report['threads']}", flush=True)
        report["larger"] = larger(folder, 1)
        print(f"larger: {report['larger']}", flush=True)
    RESULTS.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {RESULTS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
