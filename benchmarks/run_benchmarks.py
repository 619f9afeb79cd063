"""``make bench``: CPU seconds an image of ``cflex hemnma`` and its errors, beside those of the reference program.

Measured on images from an independent forward model where they are at hand (``--data``, by default
``../shared/data/particles/hemnma_reference`` beside the checkout), and on images simulated from the example structure.
Every measurement is repeated in processes of their own; the median is reported. Writes ``benchmarks/results.json`` and
the table in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "particles" / "hemnma_reference"
STRUCTURE = ROOT / "examples" / "adk_4ake_A.pdb"
RESULTS, PAGE = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "benchmarks.md"
USE = "7-9"


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


# CPU seconds an image of the reference program, xmipp_nma_alignment with wavelets, on exactly these images; its errors
# are computed here from its own result files
REFERENCE_CPU_S = {"clean64": 16.1, "noisy64": 15.8}
WHAT = {
    "clean64": "64 px, 2.2 Å, no noise, no CTF",
    "noisy64": "64 px, 2.2 Å, SNR 0.1, phase-flipped",
    "paper128": "128 px, 0.65 Å, SNR 0.1, phase-flipped",
}


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


def simulated_case(folder: Path, box: int, pixel: float, count: int) -> Case:
    """Images simulated from the example structure with the default CTF and noise."""
    modes = folder / "modes"
    if not modes.exists():
        cflex("nma", STRUCTURE, "-o", modes)
    images = folder / f"simulated{box}"
    size = ["--n-particles", str(count), "--box", str(box), "--pixel-size", str(pixel)]
    cflex("simulate", modes / "modes.npz", "-o", images, *size, "--law", "uniform", "--amplitude", "150", "--use", USE)
    what = f"{box} px, {pixel:g} Å, SNR 0.1, own simulation"
    truth, modes_file = images / "truth.star", modes / "modes.npz"
    return Case(f"simulated{box}", what, images / "particles.star", truth, modes_file, pixel_size=pixel)


def measure(case: Case, folder: Path, repeats: int, threads: int) -> dict[str, Any]:
    """Median times of some runs, and the errors (the same in every run)."""
    cpu, wall, memory, marginal = [], [], [], []
    for repeat in range(repeats):
        output = folder / f"{case.name}-{repeat}"
        options = ["--modes", case.modes, "--use", USE, "--threads", str(threads), "--device", "cpu", *case.options]
        cflex("hemnma", case.particles, *options, "-o", output)
        record = json.loads((output / "run.json").read_text(encoding="utf-8"))
        count = record["results"]["particles"]
        stages = {stage["stage"]: stage["cpu_s"] for stage in record["stages"]}
        cpu.append(record["cpu_s"] / count)
        wall.append(record["wall_s"] / count)
        marginal.append(stages["align"] / count)
        memory.append(record["peak_memory_mb"])
    found = errors_of(case, output / "particles.star", folder / f"{case.name}-errors")
    return {
        "images": count,
        "cpu_s_per_image": round(statistics.median(cpu), 3),
        "marginal_cpu_s_per_image": round(statistics.median(marginal), 3),
        "wall_s_per_image": round(statistics.median(wall), 3),
        "peak_memory_mb": round(statistics.median(memory)),
        **found,
    }


def errors_of(case: Case, particles: Path, folder: Path) -> dict[str, Any]:
    """Errors of a result file against the truth of the case."""
    cflex("evaluate", particles, case.truth, "--modes", case.modes, "-o", folder, "--pixel-size", str(case.pixel_size))
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        "rmsd_median_angst": round(figures["rmsd_angst"]["amplitudes"]["median"], 3),
        "rmsd_mean_angst": round(figures["rmsd_angst"]["amplitudes"]["mean"], 3),
        "amplitude_mean_abs_error": round(figures["amplitude_mean_abs_error"], 2),
        "rotation_median_deg": round(figures["rotation_deg"]["median"], 2),
        "axes_mean_deg": round(figures["axis_distance_deg"]["mean"], 2),
        "shift_median_angst": round(figures["shift_angst"]["norm"]["median"], 3),
        "failed": figures["failures"]["count"],
        "of": figures["n_particles"],
    }


def computer(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    import numpy
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores_used": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def page(machine: dict[str, Any], rows: list[tuple[Case, dict[str, Any]]], repeats: int) -> str:
    """Text of docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`benchmarks/run_benchmarks.py`); do not edit.",
        "",
        f"{machine['processor']}, {machine['cores_used']} threads, {machine['system']}, Python {machine['python']}, "
        f"torch {machine['torch']}. Medians of {repeats} runs. CPU time is that of the whole command divided by the number "
        "of images, start, calibration on up to 192 of the images and templates included, and in brackets that of the "
        "alignment alone.",
        "",
        "## `cflex hemnma`, adenylate kinase (1,656 atoms), modes 7-9, default options",
        "",
        "RMSD is that of the structures (amplitude errors); an image has failed where its rotation is off by more than 20 "
        "degrees; all images count, failed ones too. The reference program is `xmipp_nma_alignment` (with wavelets) on the "
        "same images, with the errors of its own result files; the published HEMNMA has a mean absolute amplitude error of "
        "6.6, 1.0 degrees between axes and 240 CPU-s an image on images like those of paper128.",
        "",
        "| images | program | CPU s/image | RMSD median / mean, Å | amplitude error, mean | rotation median, ° | "
        "axes mean, ° | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, result in rows:
        seconds = f"{result['cpu_s_per_image']:.2f} ({result['marginal_cpu_s_per_image']:.2f})"
        lines.append(f"| {case.name}: {case.what} | cflex | {seconds} | {error_columns(result)} |")
        if "reference_program" in result:
            lines.append(
                f"| | reference | {REFERENCE_CPU_S[case.name]:.1f} | {error_columns(result['reference_program'])} |"
            )
    return "\n".join(lines) + "\n"


def error_columns(result: dict[str, Any]) -> str:
    """The errors as cells of the table."""
    return (
        f"{result['rmsd_median_angst']:.2f} / {result['rmsd_mean_angst']:.2f} | {result['amplitude_mean_abs_error']:.1f} | "
        f"{result['rotation_median_deg']:.2f} | {result['axes_mean_deg']:.2f} | {result['failed']} of {result['of']}"
    )


def main() -> int:
    """Measure and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="Folder of the reference images.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs per case.")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="Threads of cflex.")
    parser.add_argument("--quick", action="store_true", help="One small case, printed but not written.")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="cflex-bench-") as temporary:
        folder = Path(temporary)
        if options.quick:
            cases = [simulated_case(folder, 32, 4.4, 4)]
        else:
            cases = [
                *reference_cases(options.data),
                simulated_case(folder, 64, 2.2, 40),
                simulated_case(folder, 128, 1.1, 40),
            ]
        for case in cases:
            result = measure(case, folder, 1 if options.quick else options.repeats, options.threads)
            if case.reference is not None and case.reference.is_file():
                result["reference_program"] = errors_of(case, case.reference, folder / f"{case.name}-reference")
            rows.append((case, result))
            print(f"{case.name}: {result}", flush=True)
    if options.quick:
        return 0
    machine = computer(options.threads)
    report = {
        "computer": machine,
        "repeats": options.repeats,
        "hemnma": {case.name: {**result, "images_are": case.what} for case, result in rows},
    }
    RESULTS.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(machine, rows, options.repeats), encoding="utf-8")
    print(f"written: {RESULTS.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
