"""How an option is declared: name, type, unit, default, help, constraint, all in one pydantic field."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError


class OptionError(ValueError):
    """One or more options do not fit; the message has one clause per option, all on one line."""


def option(
    default: Any = ...,
    *,
    help: str,
    unit: str | None = None,
    label: str | None = None,
    advanced: bool = False,
    positional: bool = False,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    **constraints: Any,
) -> Any:
    """Declare one option of a command.

    Parameters
    ----------
    default
        Default value; leave out for a mandatory option.
    help
        One or two sentences for ``--help`` and for the Scipion form.
    unit
        Physical unit of the value ("Å", "degrees", "px"), shown beside the default.
    label
        Short name for a Scipion form; made from the field's name where it is not given.
    advanced
        Shown only at the expert level of a Scipion form.
    positional
        A command-line argument rather than a flag.
    flags
        Extra spellings on the command line, for example ``("-o",)``.
    metavar
        Placeholder in ``--help``.
    constraints
        Passed to `pydantic.Field`: ``gt``, ``ge``, ``lt``, ``le``, ``min_length`` ...
    """
    extra = {
        "unit": unit,
        "label": label,
        "advanced": advanced,
        "positional": positional,
        "flags": list(flags),
        "metavar": metavar,
    }
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def parse_mode_list(value: Any) -> tuple[int, ...]:
    """Turn ``"7,8,10-12"`` into ``(7, 8, 10, 11, 12)``; 1-based mode numbers, order kept, repeats refused."""
    if isinstance(value, str):
        numbers: list[int] = []
        for part in re.split(r"[,\s]+", value.strip()):
            found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if not found:
                raise ValueError(f"found {part!r}, expected mode numbers such as 7,8,9 or 7-12")
            first, last = int(found[1]), int(found[2] or found[1])
            if last < first:
                raise ValueError(f"range {part!r} runs backwards; write {last}-{first}")
            numbers.extend(range(first, last + 1))
    else:
        numbers = [int(number) for number in value]
    if len(set(numbers)) != len(numbers):
        raise ValueError("a mode number is given twice")
    if any(number < 7 for number in numbers):
        raise ValueError("modes 1-6 are rigid-body motions; use modes from 7 on")
    return tuple(numbers)


ModeList = Annotated[
    tuple[int, ...],
    BeforeValidator(parse_mode_list),
    PlainSerializer(lambda numbers: ",".join(map(str, numbers)), return_type=str),
]
CtfChoice = Literal["auto", "model", "flipped", "none"]
Precision = Literal["auto", "full", "mixed"]


class Options(BaseModel):
    """Base of all option sets: immutable, unknown names refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    output_is_file: ClassVar[bool] = False  # --output names a file, and the run record lies beside it
    output_is_shared: ClassVar[bool] = False  # --output names a folder that grows from run to run, without a record

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Options:
        """Validate plain values (strings included), with one readable line on failure.

        Raises
        ------
        OptionError
            Names each offending option, what was found and what is expected.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise OptionError("; ".join(_describe(cls, item) for item in error.errors())) from None


def flag_of(model: type[Options], name: str) -> str:
    """The command-line spelling of a field: ``n_modes`` -> ``--n-modes``; positional ones are upper-case words."""
    extra = field_extra(model, name)
    if extra.get("positional"):
        return str(extra.get("metavar") or name.upper())
    return "--" + name.replace("_", "-")


def field_extra(model: type[Options], name: str) -> dict[str, Any]:
    """Unit, label, flags ... given to `option` for this field."""
    extra = model.model_fields[name].json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def is_repeated(model: type[Options], name: str) -> bool:
    """Whether an option may be given several times, each with one text."""
    return model.model_fields[name].annotation == tuple[str, ...]


def _describe(model: type[Options], item: Any) -> str:
    location = item["loc"]
    name = str(location[0]) if location else ""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{flag_of(model, name)} is needed"
    if item["type"] == "extra_forbidden":
        return f"{name}: no such option"
    prefix = f"{flag_of(model, name)}: " if name in model.model_fields else ""
    found = "" if message.startswith("found") or not name else f" (found {item['input']!r})"
    return f"{prefix}{message}{found}"


class CommonOptions(Options):
    """Options that every command has."""

    output: str = option(help="Output directory; must be new or empty unless --resume or --overwrite is given.", flags=("-o",), metavar="DIR")
    device: str = option(
        "auto",
        help="Where to compute: auto, cpu, cuda or cuda:N. 'auto' takes a GPU where there is one and says which.",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        advanced=True,
    )
    threads: int = option(0, help="CPU threads; 0 takes all cores that this process may use.", ge=0, advanced=True)
    seed: int = option(0, help="Seed of every random choice; the same seed gives the same result.", ge=0, advanced=True)
    resume: bool = option(False, help="Continue a killed run; the result is that of an uninterrupted one.")
    overwrite: bool = option(False, help="Replace what is in the output directory.")
    pixel_size: float | None = option(
        None, help="Pixel size, where the input files do not state it (or state it wrongly).", unit="Å", gt=0, advanced=True
    )
    datadir: str | None = option(
        None, help="Folder under which image names that are not found elsewhere are looked up.", metavar="DIR", advanced=True
    )
    verbose: bool = option(False, help="Say more on stderr.", flags=("-v",))
    debug: bool = option(False, help="Show the traceback of an error.")
