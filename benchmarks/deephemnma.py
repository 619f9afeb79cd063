"""DeepHEMNMA on adenylate kinase: the default against the published networks at equal CPU time, and what refining adds.

The recipe is that of the paper (256 px at 0.325 Å, SNR 0.1, defocus 5000 Å, modes 7-9 on the helix, phase-flipped),
scaled down to 64 px, with the truth as labels (none for ``unlabelled``); 4,000 labelled particles and 1,000 unseen ones to test. Times are those
of the processor, on one thread, so that other work on the computer does not count.

    python benchmarks/deephemnma.py WORK all                            (or one part after the other:)
    python benchmarks/deephemnma.py WORK data
    python benchmarks/deephemnma.py WORK train default --minutes 2      (default, labelled, rendered, unlabelled, paper)
    python benchmarks/deephemnma.py WORK refine default                 (after train; HEMNMA's full search beside it)
    python benchmarks/deephemnma.py WORK speed default                  (images per second of inference)

Figures go to benchmarks/deephemnma.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "deephemnma.json"
RECIPE = [
    "--box", "256", "--pixel-size", "0.325", "--use", "7,8,9", "--law", "helix", "--snr", "0.1", "--defocus", "5000",
    "--shift-px", "5", "--phase-flip",
]  # fmt: skip
VARIANTS = {
    "default": ("default", "both"),
    "labelled": ("default", "labelled"),
    "rendered": ("default", "rendered"),
    "unlabelled": ("default", "rendered"),
    "paper": ("paper", "labelled"),
}


def cflex(*arguments) -> None:
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments), "--overwrite", "--threads", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_data(work: Path) -> None:
    cflex("nma", HERE.parent / "examples" / "adk_4ake_A.pdb", "-o", work / "nma", "--n-modes", 20)
    for name, count, seed in (("labelled", 4000, 1), ("test", 1000, 2)):
        recipe = [*RECIPE, "--downsample", 64, "--n-particles", count, "--seed", seed]
        cflex("simulate", work / "nma" / "modes.npz", "-o", work / name, *recipe)


def errors(work: Path, predicted: Path) -> dict:
    """Errors of predictions on the unseen particles."""
    cflex("evaluate", predicted, work / "test" / "truth.star", "--modes", work / "nma" / "modes.npz", "-o", work / "e")
    figures = json.loads((work / "e" / "metrics.json").read_text())
    shift = figures["shift_angst"]
    return {
        "amplitude_mae": round(figures["amplitude_mean_abs_error"], 3),
        "axis_deg": round(figures["axis_distance_deg"]["mean"], 3),
        "axis_deg_median": round(figures["axis_distance_deg"]["median"], 3),
        "shift_angst": round((shift["x"]["mean"] + shift["y"]["mean"]) / 2, 4),
        "wrong_poses": figures["failures"]["count"],
        "error_over_expected": {
            mode: round(entry["predicted_std"]["ratio"], 3)
            for mode, entry in figures["modes"].items()
            if entry.get("predicted_std")
        },
        "angle_error_over_expected": round(figures.get("angle_error_over_predicted", 0.0), 3),
    }


def train_variant(work: Path, variant: str, minutes: float) -> dict:
    """Train for so many minutes of the processor, and test on unseen particles."""
    import torch

    from continuousflex_dl.cli.held_out import calibrate_and_write
    from continuousflex_dl.core.deephemnma.learning import Request, prepare
    from continuousflex_dl.core.deephemnma.presets import PRESETS
    from continuousflex_dl.core.io.modes import read_modes
    from continuousflex_dl.core.io.particles import read_particles
    from continuousflex_dl.core.particles.stack import ImageStack
    from continuousflex_dl.core.training.loop import train
    from continuousflex_dl.core.training.settings import TrainingSettings

    torch.set_num_threads(1)
    name, source = VARIANTS[variant]
    preset, folder = PRESETS[name], work / f"model-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float32 if name == "paper" else torch.bfloat16
    table = read_particles(work / "labelled" / ("particles.star" if variant == "unlabelled" else "truth.star"))
    modes = read_modes(work / "nma" / "modes.npz").select((7, 8, 9))
    device = torch.device("cpu")
    request = Request(modes=(7, 8, 9), source=source, validation=0.1, test=0.0)
    begin = time.process_time()
    prepared = prepare(
        table, ImageStack(table), modes, preset, request, batch_size=preset.batch, dtype=dtype, device=device
    )
    torch.manual_seed(0)
    description = prepared.learning.description
    model = preset.build(3, description["preparation"]["network_box"], description["radius_px"])
    model.to(memory_format=torch.channels_last)
    epoch = max(1, prepared.epoch_images // preset.batch)
    shared = name == "default"
    settings = TrainingSettings(
        steps=10**7, validate_every=2 * epoch, learning_rate=preset.learning_rate, weight_decay=preset.weight_decay,
        decoupled=preset.decoupled, schedule=preset.schedule, stair_steps=preset.stair_epochs * epoch,
        warmup_steps=100 if shared else 0, clip_norm=1.0 if shared else 0.0, average=0.98 if shared else 0.0,
        max_minutes=minutes, dtype=dtype,
    )  # fmt: skip
    outcome = train(
        model, prepared.learning, settings, folder, device=device, clock=time.process_time,
        progress=lambda done, _: print(f"{variant}: {done} steps", file=sys.stderr) if done % 100 == 0 else None,
    )  # fmt: skip
    figures = calibrate_and_write(folder, prepared, model, table, dtype)
    used = time.process_time() - begin
    cflex("deephemnma", "infer", folder, work / "test" / "particles.star", "-o", work / f"predicted-{variant}")
    return {
        "cpu_minutes": round(used / 60, 2),
        "training_cpu_minutes": round(outcome.standing.minutes, 2),
        "images_seen": outcome.standing.step * preset.batch,
        "weights_millions": round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
        "unseen": errors(work, work / f"predicted-{variant}" / "predictions.star"),
        "constant_prediction": figures["constant"],
    }


def stage_seconds(folder: Path, stages: tuple[str, ...]) -> float:
    record = json.loads((folder / "run.json").read_text())
    return sum(entry["cpu_s"] for entry in record["stages"] if entry["stage"] in stages)


def first_particles(work: Path, count: int) -> Path:
    from continuousflex_dl.core.io.particles import read_particles, write_star

    some = work / "test" / f"first{count}.star"
    write_star(some, read_particles(work / "test" / "particles.star").rows(0, count))
    return some


def refine_variant(work: Path, variant: str, count: int = 100) -> dict:
    """Refine predictions, and search the same particles in full; CPU seconds of each particle."""
    some, model = first_particles(work, count), work / f"model-{variant}"
    modes = ["--modes", work / "nma" / "modes.npz"]
    cflex("deephemnma", "infer", model, some, "-o", work / "plain")
    cflex("deephemnma", "infer", model, some, "-o", work / "refined", "--refine", *modes)
    cflex("hemnma", some, *modes, "--use", "7-9", "-o", work / "searched")
    plain, refined = work / "plain", work / "refined"
    # what calibration has aligned is not searched again: the cost of a search shows without it
    cflex("hemnma", some, *modes, "--use", "7-9", "-o", work / "uncalibrated", "--no-calibrate")
    network, local = (stage_seconds(folder, ("predict",)) for folder in (plain, refined))
    full = stage_seconds(work / "uncalibrated", ("align",))
    record = json.loads((refined / "run.json").read_text())["results"]
    return {
        "particles": count,
        "predicted": errors(work, plain / "predictions.star"),
        "refined": errors(work, refined / "predictions.star"),
        "searched": errors(work, work / "searched" / "particles.star"),
        "cpu_ms_per_particle": {
            "network": round(1e3 * network / count, 2),
            "refined": round(1e3 * local / count, 2),
            "full_search": round(1e3 * full / count, 2),
            "full_search_with_calibration": round(
                1e3 * stage_seconds(work / "searched", ("align", "calibrate", "learn")) / count, 2
            ),
        },
        "refined_over_search": round(local / full, 3),
        "work": {name: record[name] for name in ("as_predicted", "polished", "refined", "searched")},
    }


def speed(work: Path, variant: str) -> dict:
    """Images per second at 128 px, reading included, on two cores' worth of processor time."""
    from continuousflex_dl.core.deephemnma.predict import Network  # noqa: F401  (fails early without torch)

    recipe = [*RECIPE, "--downsample", 128, "--n-particles", 1000, "--seed", 3]
    cflex("simulate", work / "nma" / "modes.npz", "-o", work / "large", *recipe)
    model = work / "model-128"
    options = ["--use", "7-9", "--epochs", 1, "--test", 0, "--modes", work / "nma" / "modes.npz"]
    cflex("deephemnma", "train", work / "large" / "truth.star", "-o", model, *options)
    figures = {}
    for precision in ("mixed", "full"):
        folder = work / f"speed-{precision}"
        cflex("deephemnma", "infer", model, work / "large" / "particles.star", "-o", folder, "--precision", precision)
        seconds = stage_seconds(folder, ("predict", "write"))
        figures[precision] = {"cpu_ms_per_image": round(seconds, 3), "images_per_s_on_2_cores": round(2000 / seconds)}
    return figures


def run_part(work: Path, what: str, variant: str, minutes: float) -> None:
    """Run one part and add its figures to those that are there."""
    if what == "data":
        make_data(work)
        return
    if what == "train":
        figures = train_variant(work, variant, minutes)
    else:
        figures = {"refine": refine_variant, "speed": speed}[what](work, variant)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.setdefault(what, {})[variant] = figures
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("what", choices=["all", "data", "train", "refine", "speed"])
    parser.add_argument("variant", nargs="?", default="default", choices=list(VARIANTS))
    parser.add_argument("--minutes", type=float, default=2.0)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    parts = [("data", "default"), *(("train", name) for name in VARIANTS), ("refine", "default"), ("speed", "default")]
    for what, variant in parts if arguments.what == "all" else [(arguments.what, arguments.variant)]:
        run_part(work, what, variant, arguments.minutes)


if __name__ == "__main__":
    main()
