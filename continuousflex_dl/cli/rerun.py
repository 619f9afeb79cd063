"""``cflex rerun run.json -o NEW``: turns a run record back into a command line."""

from __future__ import annotations

import json
from typing import Any

from ..core.errors import InputError
from ..options import command
from ..options.base import field_extra, is_repeated


def rerun_arguments(record_path: str, output: str) -> list[str]:
    """Command-line arguments that repeat a recorded run into a new output.

    Raises
    ------
    InputError
        If the file is not a run record.
    """
    try:
        with open(record_path, encoding="utf-8") as handle:
            record: dict[str, Any] = json.load(handle)
        entry = command(record["command"])
        values = dict(record["options"])
    except FileNotFoundError:
        raise InputError(f"{record_path}: no such file; expected the run.json of a result directory") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{record_path}: not a run record of cflex ({error}); expected the run.json of a result directory"
        ) from None
    values["output"] = output
    values["resume"] = values["overwrite"] = False
    arguments = entry.name.split()
    positional = []
    for name, value in values.items():
        if name not in entry.options.model_fields or value is None:
            continue
        if value is False:
            arguments += ["--no-" + name.replace("_", "-")] * bool(entry.options.model_fields[name].default)
            continue
        if field_extra(entry.options, name).get("positional"):
            positional.append(str(value))
            continue
        flag = "--" + name.replace("_", "-")
        # a text may begin with a dash ("-100,20") and is then no option of its own
        if is_repeated(entry.options, name):
            arguments += [f"{flag}={item}" for item in value]
        elif isinstance(value, list):
            arguments += [flag, *map(str, value)]
        else:
            arguments.append(flag if value is True else f"{flag}={value}")
    return arguments + positional
