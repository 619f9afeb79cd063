"""How a protocol spells a ``cflex`` command for the shell that Scipion's ``runJob`` uses, on one process or more."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from ..constants import PACKAGE

GPU_PREFIX = "CUDA_VISIBLE_DEVICES=%(GPU)s "
LAUNCHER = "CFLEX_LAUNCHER"  # tells the command who started it; whatever else the environment says of a cluster


@dataclass(frozen=True)
class Job:
    """A command as ``runJob`` takes it.

    Parameters
    ----------
    program, arguments
        The two parts of the shell line.
    mpi
        Processes that Scipion starts with the host's parallel command; 1 for none.
    environ
        Variables to set.
    """

    program: str
    arguments: str
    mpi: int
    environ: dict[str, str]


def job(arguments: Iterable[str], *, gpus: Iterable[int] = (), mpi: int = 1, python: str | None = None) -> Job:
    """Spell a command on one process, on one process per GPU, or on several that the host's parallel command starts.

    Parameters
    ----------
    arguments
        Name of the command and its arguments.
    gpus
        Numbers of the GPUs to use.
    mpi
        Processes; more than one go before one per GPU, and share the GPUs of each computer.
    python
        Interpreter; that of this process where it is not given.
    """
    chosen = list(gpus)
    if mpi > 1:  # the parallel command takes one word for the program, and nothing in front of it
        environ = {LAUNCHER: "auto"}
        if chosen:
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, chosen))
        words = quote_arguments(["-m", PACKAGE, *arguments])
        return Job(shlex.quote(python or sys.executable), words, mpi, environ)
    gpu = bool(chosen)
    spelt = program(gpu=gpu, python=python, processes=len(chosen))
    launcher = "torchrun" if len(chosen) > 1 else "none"
    return Job(spelt, quote_arguments(arguments, gpu=gpu), 1, {LAUNCHER: launcher})


def program(*, gpu: bool = False, python: str | None = None, processes: int = 1) -> str:
    """Program part of a ``runJob`` call: this Python and the package, quoted for the shell.

    Parameters
    ----------
    gpu
        Show only the GPUs of this run to the program. Scipion then formats program and arguments with ``%``, so every
        other per cent sign has to be doubled.
    python
        Interpreter; that of this process where it is not given.
    processes
        More than one are started on this computer, by the launcher that comes with torch.
    """
    launcher = f"-m torch.distributed.run --standalone --nproc-per-node={processes} " if processes > 1 else ""
    text = f"{_quote(python or sys.executable, gpu)} {launcher}-m {PACKAGE}"
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
