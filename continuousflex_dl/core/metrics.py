"""Every figure by which estimates are compared with a truth: amplitudes, orientations, shifts, structures.

The measures are those of Hamitouche & Jonic (2022), DeepHEMNMA, section 3.1: mean and standard deviation of the
absolute error of each amplitude and shift, mean angular distance between rotated coordinate axes, and the RMSD of the
atoms displaced with one type of parameter at a time. All functions are vectorised over particles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conventions import matrix_from_euler
from .errors import InputError, NonFiniteError

if TYPE_CHECKING:
    from .dynamics.modes import NormalModes
    from .io.particle_table import ParticleTable

FAILURE_ANGLE_DEG = 20.0  # an orientation further off than this is wrong, not imprecise
FLAG_ANGLE_DEG = 10.0  # an orientation further off than this should be flagged as not converged
_MEDIAN_TURN, _MEDIAN_SHIFT = 1.5381722544550522, 1.1774100225154747  # of chi with 3 and with 2 degrees of freedom
RMSD_KINDS = ("amplitudes", "angles", "shifts", "total")  # which parameters are taken from the prediction
_NAME_PARTS = 6  # trailing path components tried until image names are unique
Floats = NDArray[np.float64]


# ---------------------------------------------------------------- which particle is which


def match_particles(predicted: Sequence[str], truth: Sequence[str]) -> NDArray[np.int64]:
    """Find each predicted particle among the true ones by image name.

    Two names mean the same image when index and file name agree (``000012@a/b.mrcs`` and ``12@b.mrcs``); folders are
    compared only where file names alone are ambiguous.

    Parameters
    ----------
    predicted, truth
        Image names as RELION writes them, ``index@path``. The predicted ones may be a subset in any order.

    Returns
    -------
    (n,) row of `truth` for each predicted particle.

    Raises
    ------
    InputError
        If a predicted image is not in the truth, or names are ambiguous.
    """
    for parts in range(1, _NAME_PARTS + 1):
        rows = {_image_key(name, parts): row for row, name in enumerate(truth)}
        if len(rows) == len(truth):
            break
    else:
        raise InputError("image names: the truth names one image more than once, expected each image once")
    keys = [_image_key(name, parts) for name in predicted]
    missing = [row for row, key in enumerate(keys) if key not in rows]
    if missing:
        example = f" such as '{truth[0]}'" if len(truth) else ""
        raise InputError(
            f"image names: {len(missing)} of {len(predicted)} predicted particles are not in the truth (first: row "
            f"{missing[0] + 1}, '{predicted[missing[0]]}'; the truth has {len(truth)} images{example}); "
            "give the truth of these images (same index and file name)"
        )
    if len(set(keys)) != len(keys):
        seen: dict[Any, int] = {}
        for row, key in enumerate(keys):
            if key in seen:
                raise InputError(
                    f"image names: predicted rows {seen[key] + 1} and {row + 1} are the same image '{predicted[row]}', "
                    "expected each image once; remove one"
                )
            seen[key] = row
    return np.array([rows[key] for key in keys], dtype=np.int64)


def _image_key(name: str, parts: int) -> tuple[int, tuple[str, ...]]:
    index, separator, path = str(name).rpartition("@")
    pieces = [piece for piece in re.split(r"[\\/]+", path) if piece not in ("", ".", "..")]
    return (int(index) if separator and index.isdigit() else 1, tuple(pieces[-parts:]))


# ---------------------------------------------------------------- orientations


def rotation_angle_deg(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Angle of the rotation that takes one orientation to the other (geodesic distance on SO(3)).

    Parameters
    ----------
    predicted, truth
        (..., 3, 3) rotation matrices.

    Returns
    -------
    (...,) degrees, 0 to 180.
    """
    chord = np.linalg.norm(
        np.asarray(predicted, dtype=np.float64) - np.asarray(truth), axis=(-2, -1)
    )  # 2 sqrt2 sin(a/2)
    return np.rad2deg(2.0 * np.arcsin(np.clip(chord / np.sqrt(8.0), 0.0, 1.0)))


def axis_distance_deg(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Angular distance between rotated axes: the mean over e = x, y, z of the angle between R_pred e and R_true e.

    About two thirds of the rotation angle on average: a rotation of 5 degrees about x moves x by 0, y and z by 5.

    Parameters
    ----------
    predicted, truth
        (..., 3, 3) rotation matrices.

    Returns
    -------
    (...,) degrees.
    """
    chords = np.linalg.norm(np.asarray(predicted, dtype=np.float64) - np.asarray(truth), axis=-2)  # columns are R e
    return np.rad2deg(2.0 * np.arcsin(np.clip(chords / 2.0, 0.0, 1.0))).mean(axis=-1)


# ---------------------------------------------------------------- structures


def parameter_rmsd(
    modes: NormalModes,
    predicted_amplitudes: ArrayLike,
    true_amplitudes: ArrayLike,
    predicted_rotation: ArrayLike | None = None,
    true_rotation: ArrayLike | None = None,
    shift_error_angst: ArrayLike | None = None,
) -> dict[str, Floats]:
    """RMSD of the atoms when one type of parameter at a time is taken from the prediction, and with all of them.

    Every value is exact and costs a few 3 x 3 products per particle: the atoms enter only through second moments of
    the reference and the mode vectors.

    Parameters
    ----------
    modes
        M modes of N atoms.
    predicted_amplitudes, true_amplitudes
        (n, M) Å, in the order of `modes`.
    predicted_rotation, true_rotation
        (n, 3, 3); without them only the amplitudes are compared.
    shift_error_angst
        (n, 2) predicted minus true shift.

    Returns
    -------
    (n,) arrays in Å: ``amplitudes`` (deformed reference, same pose), and with poses ``angles`` (undeformed reference,
    rotated), ``shifts``, and ``total`` (deformed, rotated and shifted).
    """
    basis = np.concatenate([modes.centred[None], modes.vectors])  # (1+M, N, 3)
    n_atoms = basis.shape[1]
    moments = np.einsum("ani,bnj->abij", basis, basis, optimize=True) / n_atoms  # (1+M, 1+M, 3, 3)
    means = basis.mean(axis=1)  # (1+M, 3)

    true = np.asarray(true_amplitudes, dtype=np.float64)
    change = np.asarray(predicted_amplitudes, dtype=np.float64) - true  # (n, M)
    gram = np.einsum("abii->ab", moments)[1:, 1:]
    result = {"amplitudes": _root(np.einsum("na,ab,nb->n", change, gram, change, optimize=True))}
    if predicted_rotation is None or true_rotation is None:
        return result
    rotation = np.asarray(predicted_rotation, dtype=np.float64)
    turn = rotation - np.asarray(true_rotation)  # (n, 3, 3): exactly zero for equal poses
    result["angles"] = _root(np.einsum("nij,jk,nik->n", turn, moments[0, 0], turn, optimize=True))
    if shift_error_angst is None:
        return result
    shift = np.asarray(shift_error_angst, dtype=np.float64)
    result["shifts"] = np.linalg.norm(shift, axis=1)
    offset = np.concatenate([-shift, np.zeros((len(shift), 1))], axis=1)  # x_image = R x - origin
    # displacement of an atom: turn X c + R X d + offset, with c = (1, true) and d = (0, change)
    placed = np.concatenate([np.ones((len(true), 1)), true], axis=1)
    moved = np.concatenate([np.zeros((len(true), 1)), change], axis=1)
    of_turn = np.einsum("na,nb,abij->nij", placed, placed, moments, optimize=True)
    of_change = np.einsum("na,nb,abij->nij", moved, moved, moments, optimize=True)
    mixed = np.einsum("na,nb,abij->nij", placed, moved, moments, optimize=True)
    drift = np.einsum("nij,nj->ni", turn, placed @ means) + np.einsum("nij,nj->ni", rotation, moved @ means)
    square = (
        np.einsum("nij,njk,nik->n", turn, of_turn, turn, optimize=True)
        + np.einsum("nii->n", of_change)
        + 2.0 * np.einsum("nij,njk,nik->n", turn, mixed, rotation, optimize=True)
        + (offset * offset).sum(axis=1)
        + 2.0 * (offset * drift).sum(axis=1)
    )
    result["total"] = _root(square)
    return result


def coordinate_rmsd(
    predicted: Any, truth: Any, true_rows: ArrayLike | None = None, *, superpose: bool = False, chunk: int = 256
) -> Floats:
    """RMSD between predicted and true coordinates, particle by particle, reading a few at a time.

    Parameters
    ----------
    predicted
        (n, N, 3) array, HDF5 dataset or `DisplacedStructures`, Å.
    truth
        (m, N, 3) of the same kinds.
    true_rows
        (n,) row of `truth` for each predicted particle; the same row by default.
    superpose
        Remove the best rigid motion of each pair first.
    chunk
        Particles in memory at a time.

    Returns
    -------
    (n,) Å.

    Raises
    ------
    InputError
        If shapes do not fit.
    NonFiniteError
        If a coordinate is NaN or infinite.
    """
    rows = np.arange(len(predicted)) if true_rows is None else np.asarray(true_rows)
    if predicted.ndim != 3 or truth.ndim != 3 or predicted.shape[1:] != truth.shape[1:] or predicted.shape[2] != 3:
        raise InputError(
            f"coordinates: found shapes {tuple(predicted.shape)} (predicted) and {tuple(truth.shape)} (truth), "
            "expected (particles, atoms, 3) with equal numbers of atoms; give coordinates of the same atoms"
        )
    if len(rows) != len(predicted) or (len(rows) and rows.max() >= len(truth)):
        raise InputError(
            f"coordinates: found {len(predicted)} predicted and {len(truth)} true entries for {len(rows)} matched "
            "particles; give the coordinates that belong to the particle files"
        )
    result = np.empty(len(rows))
    for start in range(0, len(rows), chunk):
        wanted = rows[start : start + chunk]
        ordered, back = np.unique(wanted, return_inverse=True)
        first = np.asarray(predicted[start : start + chunk], dtype=np.float64)
        contiguous = ordered[-1] - ordered[0] + 1 == len(ordered)  # a slice is far faster than a list of rows in HDF5
        selection = slice(ordered[0], ordered[-1] + 1) if contiguous else ordered
        second = np.asarray(truth[selection], dtype=np.float64)[back]
        for name, block in (("predicted", first), ("true", second)):
            if not np.isfinite(block).all():
                row = start + int(np.argwhere(~np.isfinite(block))[0, 0])
                raise NonFiniteError(f"coordinates: the {name} ones of particle {row + 1} are not finite")
        result[start : start + chunk] = _superposed(first, second) if superpose else _plain_rmsd(first, second)
    return result


def recovered_motion(predicted: Any, truth: Any, true_rows: ArrayLike, chunk: int = 256) -> float | None:
    """Share of the true motion that predicted structures show: the slope of their deviations on the true ones.

    Deviations are from the mean structure of each; errors that are not related to the motion leave the slope alone,
    motion that is underestimated lowers it.

    Parameters
    ----------
    predicted, truth, true_rows, chunk
        See `coordinate_rmsd`.

    Returns
    -------
    1 for all of it; None where nothing moves in truth.
    """
    rows = np.asarray(true_rows)
    cross = everything = 0.0
    total_first: Any = 0.0
    total_second: Any = 0.0
    for start in range(0, len(rows), chunk):
        wanted = rows[start : start + chunk]
        ordered, back = np.unique(wanted, return_inverse=True)
        first = np.asarray(predicted[start : start + chunk], dtype=np.float64)
        second = np.asarray(truth[ordered], dtype=np.float64)[back]
        total_first, total_second = total_first + first.sum(axis=0), total_second + second.sum(axis=0)
        cross += float((first * second).sum())
        everything += float((second**2).sum())
    cross -= float((total_first * total_second).sum()) / len(rows)
    square = everything - float((total_second**2).sum()) / len(rows)
    return cross / square if square > 1e-9 * everything else None


def _plain_rmsd(first: Floats, second: Floats) -> Floats:
    return np.sqrt(((first - second) ** 2).sum(axis=(1, 2)) / first.shape[1])


def _superposed(first: Floats, second: Floats) -> Floats:
    """RMSD (b,) after the best superposition; Kabsch (1976), with the singular values alone."""
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    covariance = np.einsum("bni,bnj->bij", first, second)
    values = np.linalg.svd(covariance, compute_uv=False)
    values[:, 2] *= np.where(np.linalg.det(covariance) < 0, -1.0, 1.0)
    total = (first**2).sum(axis=(1, 2)) + (second**2).sum(axis=(1, 2))
    return _root((total - 2.0 * values.sum(axis=1)) / first.shape[1])


def _root(square: Floats) -> Floats:
    return np.sqrt(np.maximum(square, 0.0))


# ---------------------------------------------------------------- figures


def summary(values: ArrayLike) -> dict[str, float]:
    """Mean, standard deviation and median of per-particle errors."""
    numbers = np.asarray(values, dtype=np.float64)
    return {"mean": float(numbers.mean()), "std": float(numbers.std()), "median": float(np.median(numbers))}


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation; None where one of the two does not vary."""
    from scipy.stats import spearmanr

    a, b = np.asarray(first), np.asarray(second)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.clip(spearmanr(a, b)[0], -1.0, 1.0))


def calibration(error: ArrayLike, predicted_std: ArrayLike) -> dict[str, float] | None:
    """How well predicted one-sigma errors describe the observed ones.

    Returns
    -------
    ``mean_predicted``; ``ratio``, the root mean square of error / predicted std (1 = calibrated, above = too
    confident); ``robust_ratio``, the same from the median; ``within_1_std`` and ``within_2_std`` (0.68 and 0.95
    expected). Particles without a positive predicted std are left out; None if there are none.
    """
    sigma = np.asarray(predicted_std, dtype=np.float64)
    known = np.isfinite(sigma) & (sigma > 0)
    if not known.any():
        return None
    ratio = np.abs(np.asarray(error, dtype=np.float64)[known]) / sigma[known]
    return {
        "mean_predicted": float(sigma[known].mean()),
        "ratio": float(np.sqrt((ratio**2).mean())),
        "robust_ratio": float(np.median(ratio) / 0.6744897501960817),
        "within_1_std": float((ratio <= 1).mean()),
        "within_2_std": float((ratio <= 2).mean()),
    }


def flag_figures(flagged: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """How well flagged particles are the wrong ones: counts, precision and recall (None where there is none)."""
    both = int((flagged & wrong).sum())
    return {
        "threshold_deg": FLAG_ANGLE_DEG,
        "wrong": int(wrong.sum()),
        "flagged": int(flagged.sum()),
        "precision": both / int(flagged.sum()) if flagged.any() else None,
        "recall": both / int(wrong.sum()) if wrong.any() else None,
    }


def confidence_figures(confidence: Floats, wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """Whether the probability of a right pose is right, and how well it can tell wrong ones from right ones.

    Returns
    -------
    ``expected`` wrong poses (the sum of one less each probability) beside ``wrong`` ones; ``break_even``, the precision
    of the least confident particles as a flag where it equals the recall; ``break_even_expected``, the same if every
    particle were wrong with the probability stated. No flag of whatever kind does better on average than the latter
    where the probabilities are those of Bayes' theorem.
    """
    doubt = np.sort(1.0 - confidence)[::-1]
    order = np.argsort(confidence, kind="stable")
    total, expected = int(wrong.sum()), float(doubt.sum())
    count = round(expected)
    return {
        "wrong": total,
        "expected": expected,
        # of as many flags as there are wrong poses, precision and recall are the same
        "break_even": float(wrong[order[:total]].mean()) if total else None,
        "break_even_expected": float(doubt[:count].mean()) if count else None,
    }


def _median_ratio(error: Floats, std: Floats, expected: float) -> float | None:
    known = np.isfinite(std) & (std > 0)
    return float(np.median(error[known] / std[known]) / expected) if known.any() else None


@dataclass(frozen=True, eq=False)
class ParticleErrors:
    """Errors of each matched particle; `figures` condenses them.

    Attributes
    ----------
    true_rows
        (n,) row of the truth for each predicted particle.
    n_truth
        Particles in the truth.
    amplitudes
        Mode number -> (n,) predicted minus true amplitude, Å.
    true_amplitudes, predicted_amplitudes, predicted_std
        Mode number -> (n,), Å, in the order of the predicted particles.
    only_predicted, only_true
        Mode numbers that one side lacks.
    rotation_deg, axis_deg
        (n,) orientation errors; None where a file has no poses.
    shift_angst
        (n, 2) predicted minus true shift.
    rmsd
        Parameter type -> (n,) Å; ``structures`` comes from coordinates.
    frame
        (n,) true frame of an ensemble, or None.
    converged
        (n,) bool, or None.
    confidence
        (n,) stated probability that the pose is right, or None.
    angle_std_deg, shift_std_angst
        (n,) predicted one-sigma errors per axis, or None.
    """

    true_rows: NDArray[np.int64]
    n_truth: int
    amplitudes: Mapping[int, Floats] = field(default_factory=dict)
    true_amplitudes: Mapping[int, Floats] = field(default_factory=dict)
    predicted_amplitudes: Mapping[int, Floats] = field(default_factory=dict)
    predicted_std: Mapping[int, Floats] = field(default_factory=dict)
    only_predicted: tuple[int, ...] = ()
    only_true: tuple[int, ...] = ()
    rotation_deg: Floats | None = None
    axis_deg: Floats | None = None
    shift_angst: Floats | None = None
    rmsd: dict[str, Floats] = field(default_factory=dict)
    frame: NDArray[np.int64] | None = None
    converged: NDArray[np.bool_] | None = None
    angle_std_deg: Floats | None = None
    confidence: Floats | None = None
    shift_std_angst: Floats | None = None

    def __len__(self) -> int:
        return len(self.true_rows)

    def figures(self) -> dict[str, Any]:
        """Condense to plain numbers, ready for JSON: no NaN, None where a figure does not exist."""
        figures: dict[str, Any] = {"n_particles": len(self), "n_truth": self.n_truth}
        figures["modes"] = {str(mode): self._mode_figures(mode) for mode in sorted(self.predicted_amplitudes)}
        means = [entry["mean_abs_error"] for entry in figures["modes"].values() if "mean_abs_error" in entry]
        if means:
            figures["amplitude_mean_abs_error"] = float(np.mean(means))
        figures["modes_only_predicted"], figures["modes_only_truth"] = list(self.only_predicted), list(self.only_true)
        if self.rotation_deg is not None and self.axis_deg is not None:
            failed = int((self.rotation_deg > FAILURE_ANGLE_DEG).sum())
            figures["axis_distance_deg"] = summary(self.axis_deg)
            figures["rotation_deg"] = summary(self.rotation_deg)
            figures["failures"] = {"threshold_deg": FAILURE_ANGLE_DEG, "count": failed, "fraction": failed / len(self)}
        if self.shift_angst is not None:
            figures["shift_angst"] = {
                "x": summary(np.abs(self.shift_angst[:, 0])),
                "y": summary(np.abs(self.shift_angst[:, 1])),
                "norm": summary(np.linalg.norm(self.shift_angst, axis=1)),
            }
        figures["rmsd_angst"] = {kind: summary(values) for kind, values in self.rmsd.items()}
        if self.converged is not None:
            figures["converged_fraction"] = float(self.converged.mean())
            if self.rotation_deg is not None:
                figures["flags"] = flag_figures(~self.converged, self.rotation_deg > FLAG_ANGLE_DEG)
        if self.confidence is not None and self.rotation_deg is not None:
            figures["confidence"] = confidence_figures(self.confidence, self.rotation_deg > FLAG_ANGLE_DEG)
        figures |= self._pose_calibration()
        return figures

    def _pose_calibration(self) -> dict[str, float]:
        """Median error over median of what the predicted errors let expect; 1 = calibrated."""
        found = {}
        if self.rotation_deg is not None and self.angle_std_deg is not None:
            found["angle_error_over_predicted"] = _median_ratio(self.rotation_deg, self.angle_std_deg, _MEDIAN_TURN)
        if self.shift_angst is not None and self.shift_std_angst is not None:
            length = np.linalg.norm(self.shift_angst, axis=1)
            found["shift_error_over_predicted"] = _median_ratio(length, self.shift_std_angst, _MEDIAN_SHIFT)
        return {name: value for name, value in found.items() if value is not None}

    def _mode_figures(self, mode: int) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if mode in self.amplitudes:
            error = self.amplitudes[mode]
            entry |= {f"{name}_abs_error": value for name, value in summary(np.abs(error)).items()}
            entry["mean_signed_error"] = float(error.mean())
            entry["rank_correlation"] = rank_correlation(self.predicted_amplitudes[mode], self.true_amplitudes[mode])
            if mode in self.predicted_std:
                entry["predicted_std"] = calibration(error, self.predicted_std[mode])
        if self.frame is not None:
            entry["rank_correlation_frame"] = rank_correlation(self.predicted_amplitudes[mode], self.frame)
        return entry


def particle_errors(predicted: ParticleTable, truth: ParticleTable, modes: NormalModes | None = None) -> ParticleErrors:
    """Compare estimated parameters with the true ones, particle by particle.

    Parameters
    ----------
    predicted, truth
        Particle tables; matched by image name, the predicted ones may be a subset. Amplitudes or poses that one of the
        two lacks are left out of the comparison.
    modes
        For the RMSD in Å. A mode that one side does not have counts as amplitude zero there.

    Raises
    ------
    InputError
        If the particles do not match, there are none, or `modes` lacks a mode that has amplitudes.
    """
    rows = match_particles(list(predicted.image_name), list(truth.image_name))
    if not len(rows):
        raise InputError("predicted: found no particles, expected at least one")
    estimated = {
        mode: _finite(values, f"predicted amplitude of mode {mode}") for mode, values in predicted.amplitudes.items()
    }
    true = {mode: _finite(values, f"true amplitude of mode {mode}")[rows] for mode, values in truth.amplitudes.items()}
    common = sorted(set(estimated) & set(true))
    result: dict[str, Any] = {
        "true_rows": rows,
        "n_truth": len(truth.image_name),
        "amplitudes": {mode: estimated[mode] - true[mode] for mode in common},
        "true_amplitudes": {mode: true[mode] for mode in sorted(true)},
        "predicted_amplitudes": {mode: estimated[mode] for mode in sorted(estimated)},
        "predicted_std": {mode: np.asarray(values) for mode, values in predicted.amplitude_std.items()},
        "only_predicted": tuple(sorted(set(estimated) - set(true))),
        "only_true": tuple(sorted(set(true) - set(estimated))),
        "frame": None if truth.frame is None else np.asarray(truth.frame)[rows],
        "converged": None if predicted.converged is None else np.asarray(predicted.converged, dtype=bool),
        "angle_std_deg": predicted.angle_std_deg,
        "confidence": predicted.confidence,
        "shift_std_angst": predicted.shift_std_angst,
    }
    rotation = true_rotation = shift = None
    if predicted.euler_deg is not None and truth.euler_deg is not None:
        rotation = matrix_from_euler(predicted.euler_deg)
        true_rotation = matrix_from_euler(np.asarray(truth.euler_deg)[rows])
        result["rotation_deg"] = rotation_angle_deg(rotation, true_rotation)
        result["axis_deg"] = axis_distance_deg(rotation, true_rotation)
    rmsd: dict[str, Floats] = {}
    if predicted.shift_angst is not None and truth.shift_angst is not None:
        shift = np.asarray(predicted.shift_angst, dtype=np.float64) - np.asarray(truth.shift_angst)[rows]
        result["shift_angst"] = shift
        rmsd["shifts"] = np.linalg.norm(shift, axis=1)
    if modes is not None:
        chosen = _modes_for(modes, sorted(set(estimated) | set(true)))
        numbers = [int(mode) for mode in chosen.indices]
        first, second = (
            _matrix(estimated if common else {}, numbers, rows),
            _matrix(true if common else {}, numbers, rows),
        )
        found = parameter_rmsd(chosen, first, second, rotation, true_rotation, shift)
        if not common:  # one side has no amplitudes: neither the conformation nor the whole can be compared
            found = {kind: values for kind, values in found.items() if kind in ("angles", "shifts")}
        rmsd = {kind: (rmsd | found)[kind] for kind in RMSD_KINDS if kind in rmsd or kind in found}
    result["rmsd"] = rmsd
    return ParticleErrors(**result)


def _matrix(amplitudes: Mapping[int, Floats], numbers: Sequence[int], rows: NDArray[np.int64]) -> Floats:
    """Amplitudes (n, M) of these modes, zero where a mode has none."""
    zero = np.zeros(len(rows))
    return np.stack([amplitudes.get(number, zero) for number in numbers], axis=1)


def _modes_for(modes: NormalModes, numbers: Sequence[int]) -> NormalModes:
    missing = sorted(set(numbers) - {int(index) for index in modes.indices})
    if missing:
        raise InputError(
            f"modes: found modes {', '.join(str(int(i)) for i in modes.indices)}, but the particles have amplitudes of "
            f"mode {', '.join(map(str, missing))}; give the modes that the amplitudes were estimated with"
        )
    return modes.select(numbers) if numbers else modes


def _finite(values: ArrayLike, what: str) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise NonFiniteError(f"{what}: row {int(np.argmax(~np.isfinite(numbers))) + 1} is not finite")
    return numbers
