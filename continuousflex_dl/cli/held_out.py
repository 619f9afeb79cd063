"""What a trained network says of the particles that were put aside: errors, their calibration, a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.io.atomic import atomic_path
from ..core.io.particle_table import ParticleTable

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..core.deephemnma.learning import Prepared
    from ..core.deephemnma.predict import Network

HELD_OUT = "held_out.csv"


def calibrate_and_write(
    folder: Path, prepared: Prepared, model: nn.Module, table: ParticleTable, dtype: torch.dtype
) -> dict[str, dict[str, float]]:
    """Calibrate the expected errors on the validation particles, test on others; complete the checkpoint.

    Parameters
    ----------
    folder
        Of the checkpoint; gets held_out.csv as well.
    prepared, model, table, dtype
        Of the training that has ended.

    Returns
    -------
    Mean errors on the particles for validation and for the test, and of the best constant prediction.
    """
    from ..core.deephemnma.objective import constant_like, mean_errors
    from ..core.deephemnma.predict import ErrorScale, Network, predict_batches
    from ..core.training.checkpoint import read_checkpoint, write_checkpoint

    record, _ = read_checkpoint(folder, "deephemnma")
    held, division = prepared.learning.held, prepared.division
    network = Network(model, record, held.device, dtype)
    found, truth = predict_batches(network, held.batches())
    network.errors = ErrorScale.measured(found, truth, prepared.objective)
    found = network.errors.apply(found)
    figures = {"validation": mean_errors(found.labels, truth, prepared.objective)}
    rows = [] if division is None else _held_rows(table, "validation", division.validation, network, found, truth)
    if division is not None and len(division.test):
        found, truth = predict_batches(network, held.batches(division.test))
        figures["test"] = mean_errors(found.labels, truth, prepared.objective)
        rows += _held_rows(table, "test", division.test, network, found, truth)
    constant = mean_errors(constant_like(truth), truth, prepared.objective)
    description = {name: value for name, value in record.items() if name != "weights"}
    description |= {"errors": network.errors.to_dict(), "held_out": figures, "cflex": __version__}
    write_checkpoint(folder, model.state_dict(), description)
    if rows:
        with atomic_path(folder / HELD_OUT) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return {**figures, "constant": constant}


def _held_rows(
    table: ParticleTable, name: str, rows: NDArray[np.int64], network: Network, found: Any, truth: Any
) -> list[dict[str, str]]:
    """Rows of held_out.csv: particle, labels, predictions, and how far apart they are."""
    angle = np.rad2deg(network.objective.angle(found.labels.rotation, truth.rotation).numpy())
    columns: dict[str, NDArray[Any]] = {}
    for column, mode in enumerate(network.modes):
        columns[f"mode{mode}_label"] = truth.amplitudes[:, column].numpy()
        columns[f"mode{mode}"] = found.labels.amplitudes[:, column].numpy()
        if found.amplitude_std is not None:
            columns[f"mode{mode}_std"] = found.amplitude_std[:, column].numpy()
    for axis, letter in enumerate("xy"):
        columns[f"origin_{letter}_label"] = -truth.shift_angst[:, axis].numpy()
        columns[f"origin_{letter}"] = -found.labels.shift_angst[:, axis].numpy()
    columns["angle_error_deg"] = angle
    if found.angle_std is not None:
        columns["angle_std_deg"] = np.rad2deg(found.angle_std.numpy())
    names = [table.image_name[row] for row in rows.tolist()]
    return [
        {"image": image, "set": name, **{key: f"{values[number]:.5g}" for key, values in columns.items()}}
        for number, image in enumerate(names)
    ]
