"""``cflex fit``: a reference with normal modes fitted to maps."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.io.modes import read_modes, read_reference
from ..core.structure.atoms import Structure
from ..core.structure.writer import write_structure
from ..options.fit import FitOptions
from .run import Run

if TYPE_CHECKING:
    from ..core.fitting.report import FitReport

FITS_NAME, MODES_NAME = "fits.csv", "modes.csv"
_MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".rec")
_POOR = 0.5  # correlation below which a word is said


def run(options: FitOptions, run: Run) -> None:
    """Fit the reference to every map, write structures, model maps and tables."""
    paths = _map_paths(options.volume)
    with run.stage("read"):
        modes = read_modes(options.modes, options.structure).select(options.use)
        reference = read_reference(options.modes, modes) if options.structure is None else _reference(options, modes)
        run.add_input(options.modes)

    from ..core.fitting.flexible import fit_modes  # torch is slow to import: bad input is said before it
    from ..core.fitting.report import report_on
    from ..core.fitting.width import own_width
    from ..core.pseudoatoms.structure import other_hand
    from ..core.reconstruction.map_files import read_map, write_map

    reports: list[FitReport] = []
    widths: list[float] = []
    for number, path in enumerate(paths, start=1):
        source = read_map(path, options.pixel_size)
        run.add_input(path)
        if not source.pixel_size > 0:
            raise InputError(f"{path}: its header has no pixel size; give --pixel-size")
        if options.flip_hand:
            source = other_hand(source)
        # one thread: several would add up in another order, and the bits of the result would depend on their number
        with run.stage("fit"), run.progress(f"fit {path.name}", "steps") as progress, threadpool_limits(1):
            width = own_width(source, modes, options.resolution)
            try:
                fit = fit_modes(source, modes, width, placed=options.placed, progress=progress)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            report = report_on(fit, source, modes, width)
        with run.stage("write"):
            ending = f"_{number:04d}" if len(paths) > 1 else ""
            write_structure(run.path(f"fitted{ending}.cif"), reference, report.coordinates)
            write_map(run.path(f"model{ending}.mrc"), report.model, source.pixel_size, source.origin)
            atomic_text(run.path(f"fsc{ending}.csv"), _table(*_curve_rows(report)))
        reports.append(report)
        widths.append(width)
        print_report(path, report, modes, run)
    atomic_text(run.path(FITS_NAME), _table(*_fit_rows(paths, reports, modes)))
    atomic_text(run.path(MODES_NAME), _table(*_mode_rows(reports, modes)))
    _record(paths, reports, widths, modes, run)


def print_report(path: Path, report: FitReport, modes: NormalModes, run: Run) -> None:
    """Print the modes in the order of their contribution."""
    placement = report.fit.placement
    print(
        f"{path}: correlation {placement.correlation:.3f} (reference at rest {report.fit.rigid.correlation:.3f}), "
        f"map-model FSC 0.5 at {report.resolution:.1f} Å (at rest {report.rigid_resolution:.1f} Å)"
    )
    print(f"{'mode':>5} {'amplitude':>10} {'+-':>8} {'RMSD':>6} {'share':>6} {'gain':>8}")
    for position in report.contributions.order:
        amplitude = placement.amplitudes[position]
        print(
            f"{modes.indices[position]:>5} {amplitude:>10.1f} {report.errors.amplitudes[position]:>8.1f} "
            f"{abs(amplitude) * modes.rmsd_per_amplitude:>6.2f} {report.contributions.share[position]:>6.2f} "
            f"{report.contributions.gain[position]:>8.4f}"
        )
    if placement.correlation < _POOR:
        run.say(
            f"{path}: the correlation is only {placement.correlation:.2f}: is it a map of this molecule alone, and of "
            "the right hand (--flip-hand)?"
        )


def _map_paths(volume: str) -> list[Path]:
    """List the maps that an argument names."""
    path = Path(volume)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in _MAP_SUFFIXES)
        if not found:
            raise InputError(f"{path}: found no map ({', '.join(_MAP_SUFFIXES)}) in this folder; give a map")
        return found
    if path.suffix.lower() != ".txt":
        return [path]
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a map, a folder of maps or a list of maps")
    names = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    listed = [(number, name) for number, name in enumerate(names, start=1) if name and not name.startswith("#")]
    if not listed:
        raise InputError(f"{path}: the list is empty, expected the name of a map in each line")
    found = [Path(name) if Path(name).is_absolute() else path.parent / name for _, name in listed]
    for (number, name), file in zip(listed, found, strict=True):
        if not file.is_file():
            raise InputError(f"{path}: line {number}: {name}: no such file; correct the list")
    return found


def _reference(options: FitOptions, modes: NormalModes) -> Structure:
    """Read the atoms from the structure that was given."""
    from ..core.structure.reader import read_structure

    for keep_all in (False, True):
        structure, _ = read_structure(str(options.structure), keep_all=keep_all)
        if len(structure) == modes.n_atoms:
            return structure
    return read_reference(options.modes, modes)


def _fit_rows(paths: list[Path], reports: list[FitReport], modes: NormalModes) -> tuple[list[str], list[list[object]]]:
    header = ["map", "correlation", "correlation_at_rest", "fsc_05_angst", "fsc_05_at_rest_angst"]
    header += ["rot_deg", "tilt_deg", "psi_deg", "x_angst", "y_angst", "z_angst", "angle_std_deg", "shift_std_angst"]
    for number in modes.indices:
        header += [f"mode_{number}", f"mode_{number}_std"]
    rows: list[list[object]] = []
    for path, report in zip(paths, reports, strict=True):
        placement, errors = report.fit.placement, report.errors
        values = [placement.correlation, report.fit.rigid.correlation, report.resolution, report.rigid_resolution]
        values += [*report.euler_deg, *placement.shift, float(np.degrees(errors.angle)), errors.shift]
        values += [value for pair in zip(placement.amplitudes, errors.amplitudes, strict=True) for value in pair]
        rows.append([str(path), *(f"{value:.6g}" for value in values)])
    return header, rows


def _curve_rows(report: FitReport) -> tuple[list[str], list[list[object]]]:
    columns = (report.curve.frequency, report.curve.correlation, report.rigid_curve.correlation)
    header = ["frequency_per_angst", "fitted", "at_rest"]
    return header, [[f"{value:.6g}" for value in values] for values in zip(*columns, strict=True)]


def _mode_rows(reports: list[FitReport], modes: NormalModes) -> tuple[list[str], list[list[object]]]:
    """One row per mode, ranked by the mean gain over the maps."""
    amplitudes = np.array([report.fit.placement.amplitudes for report in reports])
    deviation = np.sqrt(np.mean([report.errors.amplitudes**2 for report in reports], axis=0))
    gain = np.mean([report.contributions.gain for report in reports], axis=0)
    share = np.mean([report.contributions.share for report in reports], axis=0)
    header = ["rank", "mode", "amplitude_angst", "std_angst", "rmsd_angst", "share", "gain"]
    rows: list[list[object]] = []
    for rank, position in enumerate(np.argsort(-gain, kind="stable"), start=1):
        rmsd = float(np.sqrt((amplitudes[:, position] ** 2).mean())) * modes.rmsd_per_amplitude
        values = (amplitudes[:, position].mean(), deviation[position], rmsd, share[position], gain[position])
        rows.append([rank, int(modes.indices[position]), *(f"{value:.6g}" for value in values)])
    return header, rows


def _table(header: list[str], rows: list[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _record(paths: list[Path], reports: list[FitReport], widths: list[float], modes: NormalModes, run: Run) -> None:
    run.result(
        modes=[int(number) for number in modes.indices],
        maps=[str(path) for path in paths],
        correlation=[round(report.fit.placement.correlation, 4) for report in reports],
        correlation_at_rest=[round(report.fit.rigid.correlation, 4) for report in reports],
        fsc_05_angst=[round(report.resolution, 3) for report in reports],
        fsc_05_at_rest_angst=[round(report.rigid_resolution, 3) for report in reports],
        map_width_angst=[round(width, 3) for width in widths],
        amplitudes_angst=[[round(float(value), 3) for value in report.fit.placement.amplitudes] for report in reports],
        amplitudes_std_angst=[[round(float(value), 3) for value in report.errors.amplitudes] for report in reports],
        gain=[[round(float(value), 5) for value in report.contributions.gain] for report in reports],
        rmsd_angst=[
            round(float(np.linalg.norm(report.fit.placement.amplitudes)) * modes.rmsd_per_amplitude, 4)
            for report in reports
        ],
        rotation=[[[round(float(x), 8) for x in row] for row in report.fit.placement.rotation] for report in reports],
        shift_angst=[[round(float(value), 4) for value in report.fit.placement.shift] for report in reports],
    )
