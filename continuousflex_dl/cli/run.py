"""What every command does around its core call: output directory, stages, progress, run record."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from .._version import __version__
from ..core.distributed import ALONE, Place, default_threads
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.progress import Progress, silent
from ..options import Options
from .crew import Crew
from .output import CLAIM_NAME, RECORD_NAME, OutputFolder
from .progress import ProgressBar, ProgressLines

log = logging.getLogger("continuousflex_dl")

_RECORDED_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "gemmi",
    "ProDy",
    "mrcfile",
    "roma",
    "scikit-learn",
    "pydantic",
    "h5py",
)


class Run:
    """One execution of a command: a context that prepares the output directory and writes ``run.json`` at its end.

    Parameters
    ----------
    command
        Name of the command.
    options
        Validated options; those named ``output``, ``resume`` and ``overwrite`` govern the output directory.
    place
        Which of the processes of the run this one is. Only the one that leads speaks, prepares the output directory and
        writes the record.
    """

    def __init__(self, command: str, options: Options, place: Place = ALONE):
        self.command = command
        self.options = options
        self.place = place
        self.crew: Crew | None = None
        self._folder: OutputFolder | None = None
        self._clear: list[Callable[[], None]] = []
        output = None if options.output_is_shared else getattr(options, "output", None)
        self.output: Path | None = Path(output).absolute() if output else None
        self._is_file = options.output_is_file
        self.results: dict[str, Any] = {}
        self.stages: list[dict[str, Any]] = []
        self.inputs: dict[str, int] = {}
        self.device: str = "cpu"

    def __enter__(self) -> Run:
        threads = getattr(self.options, "threads", 0)
        self._start = time.perf_counter()
        self._start_cpu = time.process_time()
        if self.output is not None:
            self._prepare_file(self.output) if self._is_file else self._prepare_output(self.output)
        self.threads = threads if threads > 0 else default_threads(self.place, os.environ)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.place.leads:
                if not self._found_complete():
                    self._write_record()
                for clear in self._clear:
                    clear()
        finally:
            if self.crew is not None:
                reason = "" if error is None else str(error) or type(error).__name__
                self.crew.close("ended" if kind is None else "failed", reason, **self.usage())
            if self._folder is not None:
                self._folder.close()

    def _prepare_output(self, output: Path) -> None:
        wanted = {name: getattr(self.options, name, False) for name in ("overwrite", "resume")}
        folder = OutputFolder(output, **wanted)
        if self.place.leads:
            folder.open()
            self._folder = folder
        if not self.place.alone:
            crew = Crew(self.place, output)
            try:
                crew.lead() if self.place.leads else crew.join(folder.refuse, wanted["resume"])
            except BaseException:
                folder.close()
                raise
            self.crew = crew

    def _prepare_file(self, output: Path) -> None:
        if output.is_dir():
            raise InputError(f"{output}: is a directory, expected the name of a file; give another --output")
        if output.exists() and not (
            getattr(self.options, "overwrite", False) or getattr(self.options, "resume", False)
        ):
            raise InputError(f"{output}: exists; give --overwrite to replace it, or another --output")
        output.parent.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Path of an output file; where --output is a file, `name` is an ending of its name (``_half1.mrc``)."""
        if self.output is None:
            raise InputError(f"{self.command}: --output is needed to write {name}")
        return self.output.with_name(self.output.stem + name) if self._is_file else self.output / name

    @property
    def record_path(self) -> Path | None:
        """Where the run record goes; None without an output."""
        if self.output is None:
            return None
        return self.path(".json") if self._is_file else self.output / RECORD_NAME

    def claim_output(self) -> None:
        """Mark the output directory as ours before long work starts (then a later --overwrite may empty it)."""
        atomic_text(self.path(CLAIM_NAME), self.command + "\n")

    def add_input(self, path: str | os.PathLike[str]) -> None:
        """Note an input file and its size for the record."""
        self.inputs[os.path.abspath(path)] = os.path.getsize(path)

    def result(self, **figures: Any) -> None:
        """Add result figures to the record."""
        self.results.update(figures)

    def when_recorded(self, clear: Callable[[], None]) -> None:
        """Call this when the record is written: what a run needs to be resumed must not go before."""
        self._clear.append(clear)

    def say(self, message: str) -> None:
        """Tell the user something that matters (stderr; stdout holds results and tables)."""
        if self.place.leads:
            print(f"cflex: {message}", file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of the work."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.stages.append(
            {
                "stage": name,
                "wall_s": round(time.perf_counter() - wall, 3),
                "cpu_s": round(time.process_time() - cpu, 3),
            }
        )

    @contextmanager
    def progress(self, label: str, unit: str = "it") -> Iterator[Progress]:
        """Give a callable ``(done, total)`` that draws a bar on a terminal and plain lines elsewhere."""
        if not self.place.leads:
            yield silent
            return
        reporter = ProgressBar(label, unit) if sys.stderr.isatty() else ProgressLines(label, unit)
        try:
            yield reporter
        finally:
            reporter.close()

    def usage(self) -> dict[str, Any]:
        """What this process has used so far."""
        return {
            "rank": self.place.rank,
            "host": socket.gethostname(),
            "device": self.device,
            "threads": self.threads,
            "cpu_s": round(time.process_time() - self._start_cpu, 3),
            "peak_memory_mb": _peak_memory_mb(),
        }

    def _found_complete(self) -> bool:
        """Whether a resumed run had nothing left to do: the record of the run that did it then stays."""
        resumed = getattr(self.options, "resume", False) and not self.results
        return resumed and self.record_path is not None and self.record_path.exists()

    def _write_record(self) -> None:
        record = {
            "command": self.command,
            "cflex_version": __version__,
            "options": self.options.model_dump(mode="json"),
            "packages": {"python": platform.python_version(), **_versions()},
            "seed": getattr(self.options, "seed", None),
            "device": self.device,
            "threads": self.threads,
            "inputs": self.inputs,
            "stages": self.stages,
            "wall_s": round(time.perf_counter() - self._start, 3),
            "cpu_s": round(time.process_time() - self._start_cpu, 3),
            "peak_memory_mb": _peak_memory_mb(),
            **self._all_processes(),
            "results": self.results,
        }
        if self.record_path is not None:
            atomic_text(self.record_path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def _all_processes(self) -> dict[str, Any]:
        """What all processes of the run have used: each, the sum of the CPU times and the highest memory of one."""
        if self.crew is None:
            return {}
        each = [self.usage()]
        for rank, sign, ended in self.crew.others():
            each.append({"rank": rank, **(sign.figures if sign is not None else {})})
            if ended != "ended":
                each[-1]["lost"] = ended
        return {
            "launcher": self.place.launcher,
            "processes": each,
            "cpu_s": round(sum(figures.get("cpu_s", 0.0) for figures in each), 3),
            "peak_memory_mb": max(figures.get("peak_memory_mb", 0.0) for figures in each),
        }


def _peak_memory_mb() -> float:
    """Highest memory of this process; the resource usage counts that of the program which started it as well."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        found = None
    return round((int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024, 1)


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
