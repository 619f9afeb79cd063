"""Form parameters made out of declared options, and options made out of a filled form.

Default, help, unit, label, choices and expert level of a parameter come from the option class, so a form and a
command-line flag cannot disagree; a filled form goes back through the same class, so they refuse the same values with
the same words.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import pyworkflow.protocol.params as params
from pydantic_core import PydanticUndefined

from ..convert import describe_numbers
from ..options import OptionError, Options
from ..options.base import ModeList, field_extra, flag_of, is_repeated

# Options whose form parameter has the name that Scipion users know
PARAM_NAMES = {"use": "modeList", "n_modes": "numberOfModes", "n_particles": "numberOfParticles"}
_FILE_METAVARS = ("FILE", "STRUCTURE")
_SEPARATOR = ";"  # of the values of an option that may be given several times
_MODE_LIST_TYPE = typing.get_args(ModeList)[0]


def param_name(option: str) -> str:
    """Name of the form parameter of an option: ``angular_step`` -> ``angularStep``."""
    if option in PARAM_NAMES:
        return PARAM_NAMES[option]
    first, *rest = option.split("_")
    return first + "".join(word.capitalize() for word in rest)


def add_options(
    form: Any, model: type[Options], names: Iterable[str], changes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Add one form parameter per option.

    Parameters
    ----------
    form
        Form, section, group or line of a Scipion protocol.
    model
        Option class of the command.
    names
        Options to show, in this order.
    changes
        Per option, settings of the parameter that only a form has, such as ``condition``; ``paramClass`` replaces the
        class of the parameter. Default, choices and help cannot be replaced: they belong to the option.
    """
    for name in names:
        extra = dict((changes or {}).get(name, {}))
        forbidden = {"default", "choices", "help"} & set(extra)
        if forbidden:
            raise ValueError(f"{name}: {', '.join(sorted(forbidden))} of a form parameter come from the option class")
        settings = param_settings(model, name)
        settings.update(extra)
        form.addParam(param_name(name), settings.pop("paramClass"), **settings)


def param_settings(model: type[Options], name: str) -> dict[str, Any]:
    """Class and settings of the form parameter of one option."""
    field = model.model_fields[name]
    extra = field_extra(model, name)
    unit = extra.get("unit")
    kind, optional = _kind(field.annotation)
    label = str(extra.get("label") or name.replace("_", " ").capitalize())
    settings: dict[str, Any] = {
        "label": f"{label} ({unit})" if unit else label,
        "help": f"{field.description}\n\nCommand line: {flag_of(model, name)}" + (f" [{unit}]" if unit else ""),
    }
    if extra.get("advanced"):
        settings["expertLevel"] = params.LEVEL_ADVANCED
    if optional:
        settings["allowsNull"] = True
    default = None if field.default is PydanticUndefined else field.default
    choices = enum_choices(model, name)
    if choices:
        few = len(choices) <= 3
        settings.update(
            paramClass=params.EnumParam,
            choices=choices,
            default=choices.index(str(default)) if default is not None else 0,
            display=params.EnumParam.DISPLAY_HLIST if few else params.EnumParam.DISPLAY_COMBO,
        )
    elif is_repeated(model, name):
        settings.update(paramClass=params.StringParam, default="")
        settings["help"] += f"\n\nSeparate several by '{_SEPARATOR}'."
    elif field.annotation == _MODE_LIST_TYPE:
        settings.update(
            paramClass=params.NumericRangeParam,
            default=default if isinstance(default, str) else describe_numbers(default or ()),
        )
    elif kind is bool:
        settings.update(paramClass=params.BooleanParam, default=bool(default))
    elif kind is int:
        settings.update(paramClass=params.IntParam, default=default)
    elif kind is float:
        settings.update(paramClass=params.FloatParam, default=default)
    elif kind is str:
        is_file = extra.get("metavar") in _FILE_METAVARS
        settings.update(paramClass=params.FileParam if is_file else params.StringParam, default=default or "")
    else:
        raise TypeError(f"{model.__name__}.{name}: no form parameter for the type {field.annotation}")
    return settings


def enum_choices(model: type[Options], name: str) -> list[str]:
    """Choices of an option that has a fixed list of them, else an empty list."""
    kind, _ = _kind(model.model_fields[name].annotation)
    return [str(value) for value in typing.get_args(kind)] if typing.get_origin(kind) is typing.Literal else []


def form_values(protocol: Any, model: type[Options], names: Iterable[str]) -> dict[str, Any]:
    """Values of a filled form under their option names.

    Fields that are empty, or hidden by the condition of their parameter, are left out: the option's default holds.
    """
    values: dict[str, Any] = {}
    for name in names:
        parameter = param_name(name)
        if not protocol.evalParamCondition(parameter):
            continue
        value = getattr(protocol, parameter).get()
        choices = enum_choices(model, name)
        if choices:
            value = choices[value]
        if isinstance(value, str):
            value = value.strip()
        if value is None or value == "":
            continue
        if is_repeated(model, name):
            value = tuple(part.strip() for part in value.split(_SEPARATOR) if part.strip())
        values[name] = value
    return values


def parse(
    model: type[Options], values: Mapping[str, Any], shown: Iterable[str] = ()
) -> tuple[Options | None, list[str]]:
    """Validate values with the option class: the options and no error, or None and the errors.

    In the message the flags of the options in ``shown`` are replaced by the labels that the form shows.
    """
    try:
        return model.parse(dict(values)), []
    except OptionError as error:
        message = str(error)
        for name in sorted(shown, key=len, reverse=True):
            label = re.sub(r"\s+\([^)]*\)$", "", param_settings(model, name)["label"])
            message = re.sub(re.escape(flag_of(model, name)) + r"(?![\w-])", f"'{label}'", message)
        return None, [message]


def arguments_of(model: type[Options], values: Mapping[str, Any]) -> list[str]:
    """Command-line arguments (unquoted) that give exactly these option values.

    Every value is written as ``--name=value``, so that a value may begin with a dash; positional ones come last, in
    the order in which the command declares them.
    """
    arguments: list[str] = []
    positional: dict[str, str] = {}
    for name, value in values.items():
        field = model.model_fields[name]
        if value is None:
            continue
        if field_extra(model, name).get("positional"):
            positional[name] = str(value)
        elif field.annotation is bool:
            if value:
                arguments.append(flag_of(model, name))
            elif field.default:
                arguments.append("--no-" + name.replace("_", "-"))
        elif is_repeated(model, name):
            arguments += [f"{flag_of(model, name)}={item}" for item in value]
        elif isinstance(value, (list, tuple)):
            arguments.append(f"{flag_of(model, name)}={','.join(map(str, value))}")
        else:
            arguments.append(f"{flag_of(model, name)}={value}")
    return arguments + [positional[name] for name in model.model_fields if name in positional]


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Type of an annotation without None, and whether None was in it."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [item for item in typing.get_args(annotation) if item is not type(None)]
        return members[0], len(members) < len(typing.get_args(annotation))
    return annotation, False
