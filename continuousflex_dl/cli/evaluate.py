"""``cflex evaluate``: errors of estimated poses and amplitudes against the truth."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.io.modes import read_modes
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles
from ..core.metrics import ParticleErrors, coordinate_rmsd, particle_errors, recovered_motion
from ..core.space.structures import DisplacedStructures, SomeAtoms
from ..options.evaluate import EvaluateOptions
from .run import Run

METRICS_NAME = "metrics.json"


def run(options: EvaluateOptions, run: Run) -> None:
    """Compare, print the table, and write metrics.json (or print it where there is no output directory)."""
    with run.stage("read"):
        predicted = read_table(options.predicted, options, run)
        truth = read_table(options.truth, options, run)
        modes = read_modes(options.modes) if options.modes else None
        if options.modes:
            run.add_input(options.modes)
    with run.stage("compare"):
        errors = particle_errors(predicted, truth, modes)
        recovered = None
        say_what_is_left_out(errors, modes, run)
        if options.coordinates:
            rmsd, recovered = _from_files(*options.coordinates, errors, modes, run)
            errors.rmsd.update(rmsd)
        elif modes is not None:
            errors.rmsd.update(ensemble_rmsd(errors, options.truth, modes, run))
    figures = errors.figures()
    if recovered is not None:
        figures["recovered_motion"] = round(recovered, 4)
    table = "\n".join(table_lines(figures))
    run.result(**figures)
    text = json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if run.output is None:
        print(table, file=sys.stderr)
        print(text, end="")
    else:
        atomic_text(run.path(METRICS_NAME), text)
        print(table)
        print(f"written: {run.path(METRICS_NAME)}")


def read_table(path: str, options: Any, run: Run) -> ParticleTable:
    """Read particles whose images are not needed."""
    table = read_particles(path, datadir=options.datadir, pixel_size=options.pixel_size, check_images=False)
    run.add_input(path)
    return table


def say_what_is_left_out(errors: ParticleErrors, modes: NormalModes | None, run: Run) -> None:
    """Say which particles and modes the figures do not cover, so that nobody compares unlike figures."""
    if len(errors) < errors.n_truth:
        run.say(f"{len(errors)} of the {errors.n_truth} particles of the truth are predicted; figures are over these")
    if errors.amplitudes:
        for numbers, where in (
            (errors.only_predicted, "predicted, not in the truth"),
            (errors.only_true, "in the truth, not predicted"),
        ):
            if numbers:
                run.say(
                    f"modes {', '.join(map(str, numbers))} are only {where}: taken as amplitude 0 there for the RMSD"
                )
    elif errors.predicted_amplitudes:
        run.say("the truth has no amplitudes of these modes: amplitude errors cannot be given")
    if modes is None:
        run.say("without --modes there is no RMSD from amplitudes and angles")


def ensemble_rmsd(errors: ParticleErrors, truth_path: str, modes: NormalModes, run: Run) -> dict[str, np.ndarray]:
    """RMSD of the structures that the amplitudes make, where truth.h5 beside the truth holds the true ones."""
    beside = Path(truth_path).with_suffix(".h5")
    if errors.true_amplitudes or not errors.predicted_amplitudes or not beside.is_file():
        return {}
    import h5py

    run.add_input(beside)
    numbers = sorted(errors.predicted_amplitudes)
    amplitudes = np.stack([errors.predicted_amplitudes[number] for number in numbers], axis=1)
    with h5py.File(beside, "r") as file:
        atoms = file["atom_index"][()] if "atom_index" in file else None
        structures = DisplacedStructures(modes.select(numbers), amplitudes, atoms)
        return _both_rmsds(structures, _coordinates(beside, file), errors)


def _from_files(
    predicted: str, truth: str, errors: ParticleErrors, modes: NormalModes | None, run: Run
) -> tuple[dict[str, np.ndarray], float | None]:
    """RMSD of structures, and the share of the true motion that they show."""
    with ExitStack() as stack:
        first = stack.enter_context(_open(predicted))
        found = _coordinates(predicted, first)
        run.add_input(predicted)
        atoms = first["atom_index"][()] if "atom_index" in first else None
        if Path(truth).suffix == ".npz" or Path(truth).is_dir():
            known: Any = _displaced(truth, errors, atoms)
        else:
            second = stack.enter_context(_open(truth))
            known = _coordinates(truth, second)
            run.add_input(truth)
            if atoms is not None and known.shape[1] != found.shape[1]:
                there = second["atom_index"][()] if "atom_index" in second else np.arange(known.shape[1])
                known = SomeAtoms(known, _places(atoms, there, predicted, truth))
        return _both_rmsds(found, known, errors), recovered_motion(found, known, errors.true_rows)


def _displaced(path: str, errors: ParticleErrors, atoms: np.ndarray | None) -> DisplacedStructures:
    """True structures out of true amplitudes, where a modes file stands for them."""
    modes = read_modes(path)
    numbers = sorted(errors.true_amplitudes)
    if not numbers:
        raise InputError(
            f"{path}: the truth has no mode amplitudes to displace its reference by; give coordinates (.h5)"
        )
    amplitudes = np.zeros((errors.n_truth, len(numbers)))
    for column, number in enumerate(numbers):
        amplitudes[errors.true_rows, column] = errors.true_amplitudes[number]
    return DisplacedStructures(modes.select(numbers), amplitudes, atoms)


def _places(atoms: np.ndarray, there: np.ndarray, predicted: str, truth: str) -> np.ndarray:
    if not np.isin(atoms, there).all():
        raise InputError(
            f"{truth}: lacks {int((~np.isin(atoms, there)).sum())} of the {len(atoms)} atoms of {predicted}, "
            "expected all of them; give structures of the same reference"
        )
    order = np.argsort(there)
    places: np.ndarray = order[np.searchsorted(there[order], atoms)]
    return places


def _both_rmsds(predicted: Any, truth: Any, errors: ParticleErrors) -> dict[str, np.ndarray]:
    if len(truth) != errors.n_truth:
        raise InputError(
            f"{truth.file.filename}: found coordinates of {len(truth)} particles, expected {errors.n_truth} as in the "
            "truth; give the file that belongs to it"
        )
    return {
        "structures": coordinate_rmsd(predicted, truth, errors.true_rows),
        "structures_superposed": coordinate_rmsd(predicted, truth, errors.true_rows, superpose=True),
    }


def _open(path: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; give an HDF5 file with a dataset 'coordinates'") from None
        raise InputError(
            f"{path}: is not a readable HDF5 file ({error}); give one with a dataset 'coordinates'"
        ) from None


def _coordinates(path: str | Path, file: Any) -> Any:
    if "coordinates" not in file:
        raise InputError(
            f"{path}: found datasets {', '.join(file) or 'none'}, expected 'coordinates' (particles, atoms, 3)"
        )
    return file["coordinates"]


# ---------------------------------------------------------------- the table

_RMSD_LABELS = {
    "amplitudes": "RMSD, amplitudes only",
    "angles": "RMSD, angles only",
    "shifts": "RMSD, shifts only",
    "total": "RMSD, all parameters",
    "structures": "RMSD of structures",
    "structures_superposed": "RMSD, superposed",
}


def table_rows(figures: dict[str, Any]) -> list[tuple[str, dict[str, float], str]]:
    """Rows of the error table: label, mean/std/median, unit."""
    rows = []
    for mode, entry in figures["modes"].items():
        if "mean_abs_error" in entry:
            rows.append(
                (f"amplitude, mode {mode}", {key: entry[f"{key}_abs_error"] for key in ("mean", "std", "median")}, "Å")
            )
    if len(rows) > 1:
        rows.append(("amplitude, mean of modes", {"mean": figures["amplitude_mean_abs_error"]}, "Å"))
    if "rotation_deg" in figures:
        rows.append(("angle between axes", figures["axis_distance_deg"], "°"))
        rows.append(("rotation angle", figures["rotation_deg"], "°"))
    for part in figures.get("shift_angst", {}):
        rows.append((f"shift, {'length' if part == 'norm' else part}", figures["shift_angst"][part], "Å"))
    rows += [(_RMSD_LABELS.get(kind, kind), values, "Å") for kind, values in figures["rmsd_angst"].items()]
    return rows


def remarks(figures: dict[str, Any]) -> list[str]:
    """Give what does not fit the table: failures, rank correlations, predicted errors."""
    lines = []
    if "failures" in figures:
        failed = figures["failures"]
        share = f"{failed['count']} of {figures['n_particles']} ({100 * failed['fraction']:.1f} %)"
        lines.append(f"wrong orientations (rotation off by more than {failed['threshold_deg']:g}°): {share}")
    if "recovered_motion" in figures:
        lines.append(f"motion recovered: {figures['recovered_motion']:.3f} of the true amplitude (1 = all of it)")
    if "converged_fraction" in figures:
        lines.append(f"converged: {100 * figures['converged_fraction']:.1f} %")
    if figures.get("flags", {}).get("wrong"):
        flags = figures["flags"]
        precision = "none flagged" if flags["precision"] is None else f"precision {flags['precision']:.2f}"
        lines.append(
            f"not converged, as a flag of orientations off by more than {flags['threshold_deg']:g}°: "
            f"{flags['flagged']} flagged, {flags['wrong']} off, {precision}, recall {flags['recall']:.2f}"
        )
    if figures.get("confidence", {}).get("wrong"):
        known = figures["confidence"]
        lines.append(
            f"by the stated confidence {known['expected']:.0f} orientations are wrong, {known['wrong']} are; the least "
            f"sure as flags have precision and recall {known['break_even']:.2f}"
        )
    for key, what in (("angle_error_over_predicted", "angles"), ("shift_error_over_predicted", "shifts")):
        if key in figures:
            lines.append(f"{what}: median error / predicted error {figures[key]:.2f} (1 = calibrated)")
    for mode, entry in figures["modes"].items():
        for key, what in (("rank_correlation", "true amplitude"), ("rank_correlation_frame", "true frame")):
            if entry.get(key) is not None:
                lines.append(f"mode {mode}: rank correlation with the {what} {entry[key]:.3f}")
        predicted = entry.get("predicted_std")
        if predicted:
            ratios = f"{predicted['ratio']:.2f} (robust {predicted['robust_ratio']:.2f}; 1 = calibrated)"
            within = f"{100 * predicted['within_1_std']:.0f} % within 1 std (68 % expected)"
            lines.append(f"mode {mode}: error / predicted error {ratios}, {within}")
    return lines


def table_lines(figures: dict[str, Any]) -> list[str]:
    """Lines of the readable table."""
    lines = [f"{figures['n_particles']} particles", f"{'absolute error':<26}{'mean':>10}{'std':>10}{'median':>10}"]
    for label, values, unit in table_rows(figures):
        cells = "".join(f"{values[key]:>10.3f}" if key in values else f"{'':>10}" for key in ("mean", "std", "median"))
        lines.append(f"{label:<26}{cells}  {unit}")
    return lines + remarks(figures)
