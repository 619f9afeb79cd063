"""Makes the argument parser out of the declared options."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic_core import PydanticUndefined

from .._version import __version__
from ..options import Command, Options
from ..options.base import field_extra, is_repeated


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ('{self.prog} --help' lists the options)\n")


def build_parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    """Make the parser of ``cflex`` with one (possibly nested) sub-parser per command."""
    parser = _Parser(
        prog="cflex",
        description="Continuous conformational heterogeneity from single-particle cryo-EM images.",
        epilog="Every result directory holds run.json, which 'cflex rerun' repeats.",
    )
    parser.add_argument("--version", action="version", version=f"cflex {__version__}")
    subparsers = parser.add_subparsers(dest="cflex_command", required=True, metavar="COMMAND")
    groups: dict[str, Any] = {}
    for entry in commands:
        *parents, last = entry.name.split()
        target = subparsers
        if parents:
            if parents[0] not in groups:
                group = subparsers.add_parser(parents[0], help=f"{parents[0]}: see 'cflex {parents[0]} --help'")
                groups[parents[0]] = group.add_subparsers(required=True, metavar="ACTION")
            target = groups[parents[0]]
        child = target.add_parser(last, help=entry.summary, description=entry.summary)
        child.set_defaults(cflex_entry=entry)
        add_options(child, entry.options)
    rerun = subparsers.add_parser("rerun", help="Repeat a run from its run.json.")
    rerun.add_argument("record", metavar="run.json", help="Record of the run to repeat.")
    rerun.add_argument("-o", "--output", required=True, metavar="DIR", help="New output directory.")
    return parser


def add_options(parser: argparse.ArgumentParser, model: type[Options]) -> None:
    """Add every field of an option class to a parser; values stay text, pydantic converts and checks them."""
    for name, field in model.model_fields.items():
        extra = field_extra(model, name)
        text = field.description or ""
        unit = extra.get("unit")
        notes = [str(unit)] if unit else []
        if field.default not in (PydanticUndefined, None, False, ()) and not extra.get("positional"):
            notes.append(f"default {field.default}")
        help_text = f"{text} [{'; '.join(notes)}]" if notes else text
        choices = _choices(field.annotation)
        settings: dict[str, Any] = {"help": help_text.replace("%", "%%")}
        if extra.get("positional"):
            settings["metavar"] = extra.get("metavar") or name.upper()
            parser.add_argument(name, **settings)
            continue
        flags = [*extra.get("flags", []), "--" + name.replace("_", "-")]
        settings["dest"] = name
        settings["default"] = argparse.SUPPRESS
        if field.annotation is bool:
            settings["action"] = argparse.BooleanOptionalAction if field.default else "store_true"
            if name in ("debug", "verbose"):
                settings["default"] = False
        elif choices:
            settings["choices"] = choices
        else:
            settings["metavar"] = extra.get("metavar") or (unit or "X").upper().replace("Å", "A").replace("%", "P")
            if is_repeated(model, name):
                settings["action"] = "append"
            if _is_pair(field.annotation):
                settings["nargs"] = 2
                settings["metavar"] = tuple(str(extra.get("metavar") or "A B").split())
        if settings.get("action") is None:
            settings["required"] = field.is_required()
        parser.add_argument(*flags, **settings)


def values_of(namespace: argparse.Namespace, model: type[Options]) -> dict[str, Any]:
    """Only the values that were given on the command line; defaults come from the option class."""
    return {name: getattr(namespace, name) for name in model.model_fields if hasattr(namespace, name)}


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(item for item in typing.get_args(annotation) if item is not type(None))
    return (annotation,)


def _choices(annotation: Any) -> list[str]:
    for item in _members(annotation):
        if typing.get_origin(item) is typing.Literal:
            return [str(value) for value in typing.get_args(item)]
    return []


def _is_pair(annotation: Any) -> bool:
    return any(
        typing.get_origin(item) is tuple and typing.get_args(item) == (str, str) for item in _members(annotation)
    )
