"""Entry point of ``cflex``: reads options, runs the command, turns every failure into an exit code and one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from ..core.distributed import ALONE, place_of
from ..core.errors import InputError
from ..options import COMMANDS, Command, OptionError, Options
from .crew import LostProcessError
from .parser import build_parser, values_of
from .run import Run

EXIT_OK, EXIT_INTERNAL, EXIT_BAD_INPUT = 0, 1, 2


class Terminated(BaseException):
    """SIGTERM arrived; raised at the next Python instruction so that files are closed and temporary ones removed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (0 success, 1 internal failure, 2 bad input or usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(COMMANDS)
    namespace = parser.parse_args(arguments)
    if namespace.cflex_command == "rerun":
        from .rerun import rerun_arguments

        try:
            arguments = rerun_arguments(namespace.record, namespace.output)
        except InputError as error:
            return _fail(str(error), False)
        namespace = parser.parse_args(arguments)
    entry: Command = namespace.cflex_entry
    logging.basicConfig(
        level=logging.INFO if namespace.verbose else logging.WARNING, format="cflex: %(message)s", stream=sys.stderr
    )
    logging.getLogger("continuousflex_dl").setLevel(logging.INFO)
    logging.getLogger("MDAnalysis").setLevel(logging.ERROR)  # warns of optional formats
    debug = bool(namespace.debug)
    if argv is None and not debug:
        # the process is ours: what fails in clearing up after an error (a zip file closed on a full disk) is no news
        sys.unraisablehook = lambda _: None
    try:
        options = entry.options.parse(values_of(namespace, entry.options))
    except OptionError as error:
        return _fail(f"{entry.name}: {error}", debug)
    return execute(entry, options, debug=debug)


def execute(entry: Command, options: Options, *, debug: bool = False) -> int:
    """Run a command with validated options and return its exit code."""
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    who = ""
    try:
        module = import_module(f".{entry.module}", __package__)
        place = place_of(os.environ) if getattr(module, "MANY_PROCESSES", False) else ALONE
        who = "" if place.alone else f"{place}: "
        if not place.leads:
            logging.getLogger("continuousflex_dl").setLevel(logging.ERROR)  # what the first process says as well
        with Run(entry.name, options, place) as run:
            handler: Any = getattr(module, "run_" + entry.name.replace(" ", "_"), None) or module.run
            handler(options, run)
        return EXIT_OK
    except InputError as error:
        return _fail(who + str(error), debug)
    except OSError as error:
        return _fail(who + _describe_os_error(error), debug)
    except KeyboardInterrupt:
        return _fail(who + "interrupted; --resume continues", debug, 130)
    except Terminated:
        return _fail(who + "stopped by SIGTERM; --resume continues", debug, 143)
    except LostProcessError as error:
        return _fail(who + str(error), debug, EXIT_INTERNAL)
    except MemoryError:
        return _fail(
            who + "out of memory: use a smaller --batch-size, fewer --threads or a smaller system",
            debug, EXIT_INTERNAL,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001  (the last resort: say it in one line, show the traceback on request)
        line = f"{who}internal error: {type(error).__name__}: {error}".replace("\n", " ")
        return _fail(line + ("" if debug else " (--debug shows the traceback)"), debug, EXIT_INTERNAL)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    advice = {
        28: "; free some space or give another --output",
        27: "; the file size limit of this shell is reached (ulimit -f)",
        30: "; give an --output that can be written",
        13: "; give an --output that can be written",
    }.get(error.errno or 0, "")
    return f"{where}{reason}{advice}"


def _fail(message: str, debug: bool, code: int = EXIT_BAD_INPUT) -> int:
    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"cflex: error: {' '.join(message.split())}", file=sys.stderr)
    return code
