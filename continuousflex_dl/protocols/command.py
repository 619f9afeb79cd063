"""How a protocol spells a ``cflex`` command for the shell that Scipion's ``runJob`` uses."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable

from ..constants import PACKAGE

GPU_PREFIX = "CUDA_VISIBLE_DEVICES=%(GPU)s "


def program(*, gpu: bool = False, python: str | None = None) -> str:
    """Program part of a ``runJob`` call: this Python and the package, quoted for the shell.

    Parameters
    ----------
    gpu
        Show only the GPUs of this run to the program. Scipion then formats program and arguments with ``%``, so every
        other per cent sign has to be doubled.
    python
        Interpreter; that of this process where it is not given.
    """
    text = f"{_quote(python or sys.executable, gpu)} -m {PACKAGE}"
    return GPU_PREFIX + text if gpu else text


def quote_arguments(arguments: Iterable[str], *, gpu: bool = False) -> str:
    """Arguments part of a ``runJob`` call: one shell-quoted text.

    Raises
    ------
    ValueError
        If an argument holds Scipion's own placeholder ``%(GPU)s``, which would be replaced by GPU numbers.
    """
    return " ".join(_quote(argument, gpu) for argument in arguments)


def _quote(argument: str, gpu: bool) -> str:
    if "%(GPU)s" in argument:
        raise ValueError(f"{argument!r} holds %(GPU)s, which Scipion replaces by GPU numbers; rename the file")
    quoted = shlex.quote(argument)
    return quoted.replace("%", "%%") if gpu else quoted
