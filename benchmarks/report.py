"""docs/benchmarks.md from the measured figures."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from reference_program import CPU_S
from tables import tables

OTHERS = {
    "stages": "Where the time of `cflex hemnma` goes",
    "normal_modes": "Normal modes and pseudoatoms",
    "fitting": "Fitting of a structure to a map",
    "reconstruction": "Reconstruction, free energy, groups",
    "memory": "Memory of `cflex hemnma` and of particle files",
    "ribosome": "Real ribosome images",
    "deephemnma": "DeepHEMNMA",
    "cryovit": "Cryo-ViT",
    "viewer": "The viewer",
}


def computer() -> dict[str, Any]:
    """What the figures depend on."""
    import numpy
    import torch

    model = platform.processor() or platform.machine()
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        flags = cpuinfo.read_text(encoding="utf-8")
        names = [line.split(":", 1)[1].strip() for line in flags.splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "processor": model,
        "bfloat16": next((name for name in ("amx_bf16", "avx512_bf16") if name in flags), "none"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def page(folder: Path) -> str:
    """Text of the page from all the reports in a folder."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`benchmarks/run_benchmarks.py`); do not edit.",
    ]
    if (folder / "results.json").is_file():
        lines += hemnma(_read(folder / "results.json"))
    for name, title in OTHERS.items():
        file = folder / f"{name}.json"
        if file.is_file():
            lines += ["", f"## {title}", "", f"`python benchmarks/{name}.py`; figures in `benchmarks/{name}.json`."]
            lines += tables(_read(file))
    return "\n".join(lines) + "\n"


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def hemnma(report: dict[str, Any]) -> list[str]:
    """Lines of the section on ``cflex hemnma``."""
    machine = report["computer"]
    lines = [
        "",
        f"{machine['processor']} (bfloat16: {machine['bfloat16']}), {machine['system']}, Python {machine['python']}, torch "
        f"{machine['torch']}. Medians of {report['repeats']} runs, one thread unless said otherwise.",
        "",
        "## `cflex hemnma`, adenylate kinase (1,656 atoms), modes 7-9, default options",
        "",
        "CPU s/image is marginal: a run of all images less a run of one, over the number of images less one; what the "
        "calibration aligns is in it. In brackets: the run of one (start, templates, noise). RMSD is that of the structures "
        "(amplitude errors); an image has failed where its rotation is off by more than 20 degrees; all images count, failed "
        "ones too. Error / bound is the median error over the Cramer-Rao bound (amplitudes, angles, shifts); below 1 where "
        "the learned distribution of the amplitudes adds information that one image does not have. Error / predicted is the "
        "median error over the predicted one. The reference program is `xmipp_nma_alignment` (with wavelets) on the same "
        "images, with the errors of its own result files; the published HEMNMA has a mean absolute amplitude error of 6.6, "
        "1.0 degrees between axes and 240 CPU-s an image on images like those of paper128; its CPU time measured at 128 px is "
        "139.5 s an image.",
        "",
        "| images | program | CPU s/image (one) | RMSD median / mean, Å | amplitude error, mean | rotation median, ° | "
        "axes mean / median, ° | shift, Å | failed | error / bound | error / predicted |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in report["hemnma"].items():
        seconds = f"{result['marginal_cpu_s_per_image']:.2f} ({result['cpu_s_one']:.1f})"
        ratios = f"{_three(result.get('error_over_bound'))} | {_three(result['error_over_predicted'])}"
        lines.append(f"| {name}: {result['images_are']} | cflex | {seconds} | {_errors(result)} | {ratios} |")
        if "reference_program" in result:
            lines.append(f"| | reference | {CPU_S[name]:.1f} | {_errors(result['reference_program'])} | | |")
        if "reference_program_here" in result:
            here = result["reference_program_here"]
            lines.append(f"| | reference, here | {here['cpu_s_per_image']:.1f} | {_errors(here)} | | |")
    for name, result in report["hemnma"].items():
        flags = result.get("flags") or {}
        if flags.get("wrong"):
            precision = "none flagged" if flags["precision"] is None else f"precision {flags['precision']:.2f}"
            lines += [
                "",
                f"{name}: {flags['wrong']} of {result['of']} orientations are off by more than {flags['threshold_deg']:g} "
                f"degrees; `_cflexConverged` is 0 for {flags['flagged']}: {precision}, recall {flags['recall']:.2f}.",
            ]
            known = result.get("confidence") or {}
            if known.get("break_even_expected") is not None:
                lines[-1] += (
                    f" By the stated confidence {known['expected']:.0f} are; the least sure as flags have precision and "
                    f"recall {known['break_even']:.2f}, where exact probabilities allow {known['break_even_expected']:.2f}."
                )
    if "threads" in report:
        threads = report["threads"]
        lines += [
            "",
            f"Two threads against one, {threads['images']} images, {threads['pairs']} alternating pairs, whole command: CPU "
            f"{threads['median_cpu_ratio']:.2f} times (median), wall time {threads['best_speed_up']:.2f} times shorter in the "
            f"best pair, {threads['median_speed_up']:.2f} in the median.",
        ]
    larger = report["larger"]
    lines += [
        "",
        f"10 modes take {larger['ten_modes_over_three']:.2f} times the marginal time of 3; 17,000 nodes take "
        f"{larger['nodes_17000_over_1656']:.2f} times that of 1,656 atoms (64 px).",
    ]
    return lines


def _three(ratios: dict[str, float] | None) -> str:
    return "-" if not ratios else " / ".join("-" if value is None else f"{value:.2f}" for value in ratios.values())


def _errors(result: dict[str, Any]) -> str:
    return (
        f"{result['rmsd_median_angst']:.2f} / {result['rmsd_mean_angst']:.2f} | {result['amplitude_mean_abs_error']:.1f} | "
        f"{result['rotation_median_deg']:.2f} | {result['axes_mean_deg']:.2f} / {result['axes_median_deg']:.2f} | "
        f"{result['shift_median_angst']:.2f} | {result['failed']} of {result['of']}"
    )
