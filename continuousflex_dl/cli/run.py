"""What every command does around its core call: output directory, stages, progress, run record."""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from .._version import __version__
from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.progress import Progress
from ..options import Options

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
RECORD_NAME = "run.json"


class Run:
    """One execution of a command: a context that prepares the output directory and writes ``run.json`` at its end.

    Parameters
    ----------
    command
        Name of the command.
    options
        Validated options; those named ``output``, ``resume`` and ``overwrite`` govern the output directory.
    """

    def __init__(self, command: str, options: Options):
        self.command = command
        self.options = options
        output = getattr(options, "output", None)
        self.output: Path | None = Path(output).absolute() if output else None
        self._is_file = options.output_is_file
        self._created = False
        self.results: dict[str, Any] = {}
        self.stages: list[dict[str, Any]] = []
        self.inputs: dict[str, int] = {}
        self.device: str = "cpu"

    def __enter__(self) -> Run:
        threads = getattr(self.options, "threads", 0)
        if self.output is not None:
            self._prepare_file(self.output) if self._is_file else self._prepare_output(self.output)
        self._start = time.perf_counter()
        self._start_cpu = time.process_time()
        self.threads = threads if threads > 0 else len(os.sched_getaffinity(0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if not self._found_complete():
                self._write_record()
        elif self.output is not None and self._created and self.output.is_dir() and not any(self.output.iterdir()):
            self.output.rmdir()  # a refused run leaves no empty directory behind

    def _prepare_output(self, output: Path) -> None:
        self._created = not output.exists()
        if output.exists() and not output.is_dir():
            raise InputError(f"{output}: is a file, expected a directory; give another --output")
        if output.is_dir() and any(output.iterdir()):
            if getattr(self.options, "overwrite", False):
                if not (output / RECORD_NAME).exists() and not (output / ".cflex").exists():
                    raise InputError(
                        f"{output}: was not written by cflex, so --overwrite does not empty it; "
                        "remove it yourself or give another --output"
                    )
                for entry in output.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            elif not getattr(self.options, "resume", False):
                raise InputError(
                    f"{output}: is not empty; give --resume to continue, --overwrite to replace, or another --output"
                )
        output.mkdir(parents=True, exist_ok=True)

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
        atomic_text(self.path(".cflex"), self.command + "\n")

    def add_input(self, path: str | os.PathLike[str]) -> None:
        """Note an input file and its size for the record."""
        self.inputs[os.path.abspath(path)] = os.path.getsize(path)

    def result(self, **figures: Any) -> None:
        """Add result figures to the record."""
        self.results.update(figures)

    def say(self, message: str) -> None:
        """Tell the user something that matters (stderr; stdout holds results and tables)."""
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
        reporter = _Bar(label, unit) if sys.stderr.isatty() else _Lines(label, unit)
        try:
            yield reporter
        finally:
            reporter.close()

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
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "results": self.results,
        }
        if self.record_path is not None:
            atomic_text(self.record_path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class _Bar:
    """tqdm bar on a terminal."""

    def __init__(self, label: str, unit: str):
        self._label, self._unit = label, unit
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, unit=self._unit, file=sys.stderr)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Lines:
    """A plain line now and then, for log files."""

    def __init__(self, label: str, unit: str):
        self._label, self._unit = label, unit
        self._last = self._start = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last < 10:
            return
        self._last = now
        left = (now - self._start) * (total - done) / max(done, 1)
        print(
            f"cflex: {self._label}: {done}/{total} {self._unit}, {now - self._start:.0f} s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Nothing to close."""
