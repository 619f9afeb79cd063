"""The particle file behind a space. Large ones are read by a process of their own, so that the page stays quick."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.io.image_files import ImageLocations
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import read_particles

# below this, reading takes less than starting a process
SMALL_BYTES = 8 << 20


class ParticleFile(Protocol):
    """What the viewer wants of a particle file."""

    @property
    def ready(self) -> bool:
        """Whether an answer comes at once."""

    def numbers(self, label: str) -> NDArray[np.float64] | None:
        """(n,) numbers of a column; None where there is none."""

    def take(self, rows: NDArray[np.int64]) -> ParticleTable:
        """Some particles."""

    def images(self) -> ImageLocations:
        """Where the images of all particles are."""


def open_particles(path: Path, count: int) -> ParticleFile:
    """Open the particle file of a space of `count` particles."""
    return ReadHere(path, count) if path.stat().st_size < SMALL_BYTES else ReadApart(path, count)


class ReadHere:
    """A particle file in the memory of this process.

    Raises
    ------
    InputError
        If it cannot be read, or has another number of particles.
    """

    ready = True

    def __init__(self, path: Path, count: int) -> None:
        self._table = read_particles(path, check_images=False)
        if len(self._table) != count:
            raise InputError(
                f"{path}: found {len(self._table)} particles, expected {count} as in the space; make the space again"
            )

    def numbers(self, label: str) -> NDArray[np.float64] | None:
        """(n,) numbers of a column; None where there is none."""
        return self._table.numbers(label)

    def take(self, rows: NDArray[np.int64]) -> ParticleTable:
        """Some particles."""
        return self._table.take(rows)

    def images(self) -> ImageLocations:
        """Where the images of all particles are."""
        return self._table.locations


class ReadApart:
    """A particle file in the memory of another process, which reads while this one answers."""

    def __init__(self, path: Path, count: int) -> None:
        self._lock = threading.Lock()
        context = get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, path, count), daemon=True)
        self._process.start()
        there.close()
        self._read = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether the file has been read, or could not be."""
        return self._read.is_set()

    def _wait(self) -> None:
        try:
            self._ask("numbers", "")
        except InputError:
            pass  # said to whoever asks for something
        finally:
            self._read.set()

    def numbers(self, label: str) -> NDArray[np.float64] | None:
        """(n,) numbers of a column; None where there is none."""
        return self._ask("numbers", label)

    def take(self, rows: NDArray[np.int64]) -> ParticleTable:
        """Some particles."""
        return self._ask("take", rows)

    def images(self) -> ImageLocations:
        """Where the images of all particles are."""
        return self._ask("images")

    def _ask(self, what: str, *values: Any) -> Any:
        with self._lock:
            try:
                self._here.send((what, values))
                good, answer = self._here.recv()
            except (EOFError, OSError):
                raise InputError("the process that reads the particle file has ended; start the viewer again") from None
        if not good:
            raise InputError(answer)
        return answer


def _serve(there: Connection, path: Path, count: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the viewer, which then closes the connection
    os.nice(5)
    found: ReadHere | None = None
    failed = ""
    try:
        found = ReadHere(path, count)
    except (InputError, OSError) as error:
        failed = str(error)
    while True:
        try:
            what, values = there.recv()
        except EOFError:
            return
        try:
            there.send((False, failed) if found is None else (True, getattr(found, what)(*values)))
        except InputError as error:
            there.send((False, str(error)))
