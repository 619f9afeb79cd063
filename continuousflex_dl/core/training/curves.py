"""Loss curves: ``loss.csv`` for people and plots, and the same as an event file for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from ..io.atomic import atomic_path

Row = dict[str, float]
TABLE, EVENTS = "loss.csv", "tensorboard/events.out.tfevents.cflex"


def write_curves(folder: Path, rows: Sequence[Row]) -> None:
    """Write both files anew: they never hold the steps of a killed run twice, nor a date.

    Parameters
    ----------
    folder
        Output directory of the training.
    rows
        One per validation, with the same names.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(folder / TABLE) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, names, lineterminator="\n")
        table.writeheader()
        table.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    (folder / EVENTS).parent.mkdir(exist_ok=True)
    with atomic_path(folder / EVENTS) as temporary:
        writer = RecordWriter(str(temporary))
        writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
        for row in rows:
            values = [Summary.Value(tag=_tag(name), simple_value=row[name]) for name in names if name in row]
            event = Event(wall_time=row["step"], step=int(row["step"]), summary=Summary(value=values))
            writer.write(event.SerializeToString())
        writer.close()


def _tag(name: str) -> str:
    kind, _, rest = name.partition("_")
    return f"training/{rest}" if kind == "train" and rest else f"validation/{name}"


def read_curves(folder: Path) -> list[Row]:
    """Rows of ``loss.csv``; a figure that a row does not have is left out."""
    with open(folder / TABLE, encoding="utf-8", newline="") as stream:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
