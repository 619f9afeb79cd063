"""DeepHEMNMA on adenylate kinase: the default against the published networks at equal CPU time, and what refining adds.

The recipe is that of the paper (256 px at 0.325 Å, SNR 0.1, defocus 5000 Å, modes 7-9 on the helix, phase-flipped),
scaled down to 64 px, with the truth as labels (none for ``unlabelled``); 4,000 labelled particles and 1,000 unseen ones to test. Times are those
of the processor, on one thread, so that other work on the computer does not count.

    python benchmarks/deephemnma.py WORK all                            (all but few; or one part after the other:)
    python benchmarks/deephemnma.py WORK data
    python benchmarks/deephemnma.py WORK train default --minutes 2      (default, labelled, rendered, unlabelled, paper)
    python benchmarks/deephemnma.py WORK labels                         (labels that cflex hemnma makes, against the truth)
    python benchmarks/deephemnma.py WORK faint                          (SNR 0.03, with and without refinement)
    python benchmarks/deephemnma.py WORK refine default                 (after train; HEMNMA's full search beside it)
    python benchmarks/deephemnma.py WORK speed                          (images per second of inference)
    python benchmarks/deephemnma.py WORK few default                    (few labelled particles, to the early stop;
    python benchmarks/deephemnma.py WORK few paper --max-minutes 90      hours for the published networks)

Figures go to benchmarks/deephemnma.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "deephemnma.json"
RECIPE = [
    "--box", "256", "--pixel-size", "0.325", "--use", "7,8,9", "--law", "helix", "--defocus", "5000",
    "--shift-px", "5", "--phase-flip",
]  # fmt: skip
VARIANTS = {
    "default": ("default", "both"),
    "labelled": ("default", "labelled"),
    "rendered": ("default", "rendered"),
    "unlabelled": ("default", "rendered"),
    "paper": ("paper", "labelled"),
}


REPEATS = 3  # of what is timed


def cflex(*arguments, threads: int = 1) -> tuple[float, float]:
    """Run a command; seconds that it took, of the processor and on the wall."""
    command = [
        sys.executable,
        "-m",
        "continuousflex_dl",
        *map(str, arguments),
        "--overwrite",
        "--threads",
        str(threads),
    ]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def simulate(work: Path, name: str, count: int, seed: int, *, box: int = 64, snr: float = 0.1) -> None:
    recipe = [*RECIPE, "--downsample", box, "--n-particles", count, "--seed", seed, "--snr", snr]
    cflex("simulate", work / "nma" / "modes.npz", "-o", work / name, *recipe)


def make_data(work: Path) -> None:
    cflex("nma", HERE.parent / "examples" / "adk_4ake_A.pdb", "-o", work / "nma", "--n-modes", 20)
    simulate(work, "labelled", 4000, 1)
    simulate(work, "test", 1000, 2)


def first(work: Path, data: str, kind: str, count: int) -> Path:
    """A file of the first particles of a set; `kind` is ``truth`` or ``particles``."""
    from continuousflex_dl.core.io.particles import read_particles, write_star

    some = work / data / f"{kind}-first{count}.star"
    write_star(some, read_particles(work / data / f"{kind}.star").rows(0, count))
    return some


def errors(work: Path, predicted: Path, data: str = "test") -> dict:
    """Errors of estimates; for networks, on particles that they have never seen."""
    cflex("evaluate", predicted, work / data / "truth.star", "--modes", work / "nma" / "modes.npz", "-o", work / "e")
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


def infer(work: Path, model: Path, data: str = "test") -> dict:
    """Errors on unseen particles."""
    predicted = work / f"predicted-{model.name}"
    cflex("deephemnma", "infer", model, work / data / "particles.star", "-o", predicted)
    return errors(work, predicted / "predictions.star", data)


def train_variant(work: Path, variant: str, minutes: float) -> dict:
    """The 4,000 labelled particles, or the same without their labels."""
    name, source = VARIANTS[variant]
    table = work / "labelled" / ("particles.star" if variant == "unlabelled" else "truth.star")
    figures = train_for(work, work / f"model-{variant}", table, name, source, minutes)
    return {**figures, "unseen": infer(work, work / f"model-{variant}")}


def train_for(work: Path, folder: Path, particles: Path, name: str, source: str, minutes: float) -> dict:
    """Train a preset for so many minutes of the processor."""
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
    preset = PRESETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float32 if name == "paper" else torch.bfloat16
    table = read_particles(particles)
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
    shared = name == "default"
    if shared:  # as the command does
        model.to(memory_format=torch.channels_last)
    epoch = max(1, prepared.epoch_images // preset.batch)
    settings = TrainingSettings(
        steps=10**7, validate_every=2 * epoch, learning_rate=preset.learning_rate, weight_decay=preset.weight_decay,
        decoupled=preset.decoupled, schedule=preset.schedule, stair_steps=preset.stair_epochs * epoch,
        warmup_steps=100 if shared else 0, clip_norm=1.0 if shared else 0.0, average=0.98 if shared else 0.0,
        max_minutes=minutes, dtype=dtype,
    )  # fmt: skip
    outcome = train(
        model, prepared.learning, settings, folder, device=device, clock=time.process_time,
        progress=lambda done, _: print(f"{folder.name}: {done} steps", file=sys.stderr) if done % 100 == 0 else None,
    )  # fmt: skip
    figures = calibrate_and_write(folder, prepared, model, table, dtype)
    return {
        "cpu_minutes": round((time.process_time() - begin) / 60, 2),
        "training_cpu_minutes": round(outcome.standing.minutes, 2),
        "images_seen": outcome.standing.step * preset.batch,
        "weights_millions": round(sum(p.numel() for p in model.parameters()) / 1e6, 2),
        "constant_prediction": figures["constant"],
    }


def stage_seconds(folder: Path, stages: tuple[str, ...]) -> float:
    record = json.loads((folder / "run.json").read_text())
    return sum(entry["cpu_s"] for entry in record["stages"] if entry["stage"] in stages)


def refine_variant(work: Path, model: Path, data: str, count: int = 400) -> dict:
    """Refine predictions, and search the same particles in full; CPU time of each particle, medians of some runs."""
    some = first(work, data, "particles", count)
    modes = ["--modes", work / "nma" / "modes.npz"]
    plain, refined, searched = (work / f"{kind}-{data}" for kind in ("plain", "refined", "searched"))
    cflex("hemnma", some, *modes, "--use", "7-9", "-o", searched)
    times = []
    for _ in range(REPEATS):  # side by side, so that other work on the computer slows all of them
        cflex("deephemnma", "infer", model, some, "-o", plain)
        cflex("deephemnma", "infer", model, some, "-o", refined, "--refine", *modes)
        # what calibration has aligned is not searched again: the cost of a search shows without it
        cflex("hemnma", some, *modes, "--use", "7-9", "-o", work / "uncalibrated", "--no-calibrate")
        stages = (plain, ("predict",)), (refined, ("predict",)), (work / "uncalibrated", ("align",))
        times.append([stage_seconds(*stage) for stage in stages])
    network, local, full = np.median(times, axis=0)
    record = json.loads((refined / "run.json").read_text())["results"]
    return {
        "particles": count,
        "predicted": errors(work, plain / "predictions.star", data),
        "refined": errors(work, refined / "predictions.star", data),
        "searched": errors(work, searched / "particles.star", data),
        "cpu_ms_per_particle": {
            "network": round(1e3 * network / count, 2),
            "network_and_refinement": round(1e3 * local / count, 2),
            "full_search": round(1e3 * full / count, 2),
            "full_search_with_calibration": round(
                1e3 * stage_seconds(searched, ("align", "calibrate", "learn")) / count, 2
            ),
        },
        "refinement_over_search": round((local - network) / full, 3),
        "refinement_over_search_of_each_run": [round((b - a) / c, 3) for a, b, c in times],
        "work": {name: record[name] for name in ("as_predicted", "polished", "refined", "searched")},
    }


def labels(work: Path, minutes: float, count: int = 1000) -> dict:
    """The same particles with the truth as labels, and with what HEMNMA finds."""
    found = work / "hemnma-labels"
    some = first(work, "labelled", "particles", count)
    seconds, _ = cflex("hemnma", some, "--modes", work / "nma" / "modes.npz", "--use", "7-9", "-o", found)
    files = {"truth": first(work, "labelled", "truth", count), "hemnma": found / "particles.star"}
    figures: dict = {
        "particles": count,
        "hemnma_cpu_minutes": round(seconds / 60, 2),
        "error_of_hemnma_labels": errors(work, found / "particles.star", "labelled"),
    }
    for name, file in files.items():
        model = work / f"model-{name}{count}"
        figures[name] = {**train_for(work, model, file, "default", "both", minutes), "unseen": infer(work, model)}
    return figures


def faint(work: Path, minutes: float, snr: float = 0.03) -> dict:
    """A third of the signal-to-noise ratio."""
    simulate(work, "labelled-faint", 1000, 11, snr=snr)
    simulate(work, "test-faint", 1000, 12, snr=snr)
    model = work / "model-faint"
    figures = train_for(work, model, work / "labelled-faint" / "truth.star", "default", "both", minutes)
    return {"snr": snr, **figures, "unseen": infer(work, model, "test-faint"),
            "refinement": refine_variant(work, model, "test-faint")}  # fmt: skip


def few(work: Path, name: str, count: int, patience: int | None, max_minutes: float | None, minutes: float) -> dict:
    """Few labelled particles, as long as the validation particles gain from it; the default for some minutes too."""
    some, model = first(work, "labelled", "truth", count), work / f"few-{name}"
    options = [] if patience is None else ["--patience", patience]
    options += [] if max_minutes is None else ["--max-minutes", max_minutes]
    if not (model / "run.json").exists():  # what takes hours is not done again
        modes = ["--modes", work / "nma" / "modes.npz", "--use", "7-9"]
        cflex("deephemnma", "train", some, *modes, "--preset", name, "--test", 0, "-o", model, *options)
    figures = {name: {**ended(model), "unseen": infer(work, model)}}
    if name == "default":
        model = work / "few-default-minutes"
        trained = train_for(work, model, some, name, "both", minutes)
        figures[f"default, {minutes:g} minutes"] = {**trained, "unseen": infer(work, model)}
    return {f"{count} labelled particles": figures}


def ended(model: Path) -> dict:
    """How a training went that the command has done."""
    from continuousflex_dl.core.training.curves import read_curves

    record = json.loads((model / "run.json").read_text())
    preset = json.loads((model / "model.json").read_text())["preset"]
    results, rows = record["results"], read_curves(model)
    best = next(number for number, row in enumerate(rows, 1) if row["step"] == results["best_step"])
    thinned = rows[:: max(1, len(rows) // 10)]
    return {
        "cpu_minutes": round(record["cpu_s"] / 60, 2),
        "ended": results["ended"],
        "epochs": len(rows),
        "best_epoch": best,
        "images_seen": results["steps"] * preset["batch"],
        "validation_loss": {f"epoch {rows.index(row) + 1}": round(row["loss"], 4) for row in thinned},
        "constant_prediction": results["errors"]["constant"],
    }


def speed(work: Path, count: int = 1000, some: int = 96) -> dict:
    """Images per second at 128 px on two cores: a run of many particles less a run of few, reading included."""
    from continuousflex_dl.core.io.particles import read_particles

    simulate(work, "large", count, 3, box=128)
    model = work / "model-128"
    options = ["--use", "7-9", "--epochs", 1, "--test", 0, "--modes", work / "nma" / "modes.npz"]
    cflex("deephemnma", "train", work / "large" / "truth.star", "-o", model, *options)
    files = first(work, "large", "particles", some), work / "large" / "particles.star"
    figures: dict = {"particles": count}
    for precision in ("mixed", "full"):
        taken: list[list[tuple[float, float]]] = [[], []]
        for _ in range(REPEATS):
            output = ["-o", work / f"speed-{precision}", "--precision", precision, "--batch-size", 128]
            for file, times in zip(files, taken, strict=True):
                times.append(cflex("deephemnma", "infer", model, file, *output, threads=2))
        few, many = ([statistics.median(column) for column in zip(*times, strict=True)] for times in taken)
        cpu, wall = ((after - before) / (count - some) for before, after in zip(few, many, strict=True))
        figures[precision] = {
            "cpu_ms_per_image": round(1e3 * cpu, 3),
            "images_per_s_on_2_cores_from_cpu_time": round(2 / cpu),
            "images_per_s_on_the_wall": round(1 / wall),
        }
    for precision in ("mixed", "full"):  # what bfloat16 changes, with a network that has learned more
        output = work / f"agree-{precision}"
        options = ["--precision", precision, "-o", output]
        cflex("deephemnma", "infer", work / "model-default", work / "test" / "particles.star", *options)
    mixed, full = (read_particles(work / f"agree-{name}" / "predictions.star") for name in ("mixed", "full"))
    for mode, std in full.amplitude_std.items():
        off = np.abs(mixed.amplitudes[mode] - full.amplitudes[mode]) / std
        figures[f"mode {mode}: bf16 - fp32 over expected error"] = {
            "median": round(float(np.median(off)), 4), "95 %": round(float(np.quantile(off, 0.95)), 4)
        }  # fmt: skip
    return figures


def run_part(work: Path, what: str, arguments: argparse.Namespace) -> None:
    """Run one part and add its figures to those that are there."""
    variant, minutes = arguments.variant, arguments.minutes
    if what == "data":
        make_data(work)
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    figures: dict
    if what == "train":
        figures = {variant: train_variant(work, variant, minutes)}
    elif what == "refine":
        figures = {variant: refine_variant(work, work / f"model-{variant}", "test")}
    elif what == "few":
        figures = few(work, variant, arguments.labelled, arguments.patience, arguments.max_minutes, minutes)
        for name, before in results.get("few", {}).items():
            figures[name] = {**before, **figures.get(name, {})}
    else:
        figures = {"labels": labels, "faint": faint}[what](work, minutes) if what != "speed" else speed(work)
        results[what] = {}
    results[what] = {**results.get(what, {}), **figures}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("what", choices=["all", "data", "train", "labels", "faint", "refine", "speed", "few"])
    parser.add_argument("variant", nargs="?", default="default", choices=list(VARIANTS))
    parser.add_argument("--minutes", type=float, default=2.0, help="of the processor, for training")
    parser.add_argument("--labelled", type=int, default=500, help="few: labelled particles")
    parser.add_argument(
        "--patience", type=int, help="few: epochs; default: that of the preset (paper: 10, it has none)"
    )
    parser.add_argument("--max-minutes", type=float, help="few: on the wall, in case the early stop does not come")
    arguments = parser.parse_args()
    if arguments.what == "few" and arguments.variant == "paper" and arguments.patience is None:
        arguments.patience = 10
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if arguments.what != "all":
        run_part(work, arguments.what, arguments)
        return
    for what, variant in (
        ("data", "default"), *(("train", name) for name in VARIANTS), ("labels", "default"), ("faint", "default"),
        ("refine", "default"), ("speed", "default"),
    ):  # fmt: skip
        arguments.variant = variant
        run_part(work, what, arguments)


if __name__ == "__main__":
    main()
