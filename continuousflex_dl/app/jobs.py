"""Commands that run in processes of their own, one after the other, while the page goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import InputError
from .commands import Command

State = Literal["waiting", "running", "done", "failed", "stopped"]
LOG_LINES, _STOP_S = 12, 10.0


@dataclass
class Job:
    """A command and how far it is."""

    number: int
    command: Command
    log: Path
    state: State = "waiting"
    process: subprocess.Popen | None = field(default=None, repr=False)

    def files(self) -> list[str]:
        """Names of what it made, relative to its folder; nothing before it is done."""
        output = self.command.output
        if self.state != "done" or output is None:
            return []
        folder = output if output.is_dir() else output.parent
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())

    def file(self, name: str) -> Path:
        """Path of one of its files.

        Raises
        ------
        InputError
            If it made none of this name.
        """
        output = self.command.output
        if output is None or name not in self.files():
            raise InputError(f"{name}: job {self.number} made no such file")
        return (output if output.is_dir() else output.parent) / name

    def describe(self) -> dict[str, Any]:
        """For the page."""
        output = self.command.output
        return {
            "number": self.number,
            "title": self.command.title,
            "command": self.command.text,
            "state": self.state,
            "log": _tail(self.log),
            "output": None if output is None else str(output),
            "files": self.files(),
        }


class Jobs:
    """The jobs of a server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False

    def start(self, command: Command) -> Job:
        """Run a command when those before it have ended."""
        with self._lock:
            number = len(self._jobs) + 1
            log = self._folder / "logs" / f"job_{number:03d}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("", encoding="utf-8")
            job = Job(number, command, log)
            self._jobs.append(job)
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, daemon=True)
                self._worker.start()
        return job

    def all(self) -> list[Job]:
        """Jobs in the order in which they were started."""
        return list(self._jobs)

    def get(self, number: int) -> Job:
        """One job; raises InputError if there is none of this number."""
        if not 1 <= number <= len(self._jobs):
            raise InputError(f"there is no job {number}")
        return self._jobs[number - 1]

    def stop(self, number: int) -> None:
        """End a job."""
        job = self.get(number)
        with self._lock:
            if job.state in ("waiting", "running"):
                job.state = "stopped"
        _end(job.process)

    def close(self) -> None:
        """End what still runs."""
        self._closed = True
        for job in self._jobs:
            if job.state in ("waiting", "running"):
                self.stop(job.number)

    def _next(self) -> Job | None:
        with self._lock:
            job = next((job for job in self._jobs if job.state == "waiting"), None)
            if job is None or self._closed:
                self._worker = None
                return None
            job.state = "running"
            return job

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                with open(job.log, "ab") as log:
                    # a process group of its own: what the command starts ends with it
                    job.process = subprocess.Popen(
                        job.command.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
                    )
                if job.state == "stopped":
                    _end(job.process)
                code = job.process.wait()
            except OSError as error:
                job.log.write_text(f"{error}\n", encoding="utf-8")
                code = 1
            with self._lock:
                if job.state == "running":
                    job.state = "done" if code == 0 else "failed"


def _end(process: subprocess.Popen | None) -> None:
    if process is None or process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + _STOP_S
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is not None:
            return


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.replace("\r", "\n").splitlines()[-LOG_LINES:])
