"""Signs of life: one small file per process of a run, in a folder that all of them see."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

_BYTES = 4096  # of a file: always as long, so that it is overwritten in place


@dataclass(frozen=True)
class Sign:
    """What a process says of itself.

    Parameters
    ----------
    rank
        Which one of the run it is.
    token
        Made anew by every process that starts.
    crew
        Token of the process that leads its run.
    job
        What the launcher calls the run.
    computer, process, started
        Where it runs, for this program, with its process number and the time it was started.
    host
        Name of the computer, for people.
    beat
        Grows while it lives.
    stage
        ``working``; of the leader ``ready`` where the others may begin; ``ended`` or ``failed``.
    done
        Particles finished in this run.
    message
        Why it failed.
    figures
        What it used.
    """

    rank: int
    token: str
    crew: str
    job: str
    computer: str
    process: int
    started: str
    host: str
    beat: int = 0
    stage: str = "working"
    done: int = 0
    message: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, rank: int, job: str) -> Sign:
        """The first sign of this process, which belongs to no crew yet."""
        pid = os.getpid()
        return cls(rank, secrets.token_hex(8), "", job, _computer(), pid, _started(pid), socket.gethostname())

    @property
    def over(self) -> bool:
        """Whether it will do no more."""
        return self.stage in ("ended", "failed")

    def __str__(self) -> str:
        return f"process {self.rank} (on {self.host})"


@dataclass(frozen=True)
class _Seen:
    sign: Sign
    changed: float  # when it last did, on the clock of this process
    changes: int
    progressed: float  # when it last had finished more


class SignBoard:
    """The folder of the signs, as one process sees it.

    Parameters
    ----------
    folder
        Where the signs are.
    own
        Sign of this process.
    patience
        Seconds without a change after which a process on another computer is lost. On the same computer its death is
        seen at once.
    """

    def __init__(self, folder: Path, own: Sign, patience: float) -> None:
        self.folder, self.own, self.patience = folder, own, patience
        self._seen: dict[int, _Seen] = {}
        self._lock = threading.Lock()
        self.since = time.monotonic()

    def change(self, **news: Any) -> None:
        """Change what the next sign of this process says."""
        with self._lock:
            self.own = replace(self.own, **news)

    def write(self, *, new: bool = False) -> None:
        """Give a sign. Failure is no error: if it lasts, the others take this process for lost."""
        with self._lock:
            self.own = replace(self.own, beat=self.own.beat + 1)
            text = json.dumps(asdict(self.own)).encode().ljust(_BYTES - 1) + b"\n"
            try:
                # opened every time: a network file system shows to others what was written when the file is closed
                flags = os.O_WRONLY | (os.O_CREAT if new else 0)
                descriptor = os.open(self._path(self.own.rank), flags, 0o666)
            except OSError:
                return
            try:
                os.write(descriptor, text)
            except OSError:
                return
            finally:
                os.close(descriptor)

    def look(self, rank: int) -> None:
        """Read the sign of another process; what is half written, missing or of another crew is no news."""
        try:
            sign = Sign(**json.loads(self._path(rank).read_bytes()))
        except (OSError, ValueError, TypeError):
            return
        with self._lock:
            if self.own.crew and sign.crew != self.own.crew:
                return
            before = self._seen.get(rank)
            now = time.monotonic()
            if before is None or before.sign.token != sign.token:
                self._seen[rank] = _Seen(sign, now, 0, now)
            elif before.sign.beat != sign.beat:
                more = sign.done > before.sign.done
                self._seen[rank] = _Seen(sign, now, before.changes + 1, now if more else before.progressed)

    def sign(self, rank: int) -> Sign | None:
        """Last sign of another process."""
        with self._lock:
            return self._seen[rank].sign if rank in self._seen else None

    def lost(self, rank: int) -> str:
        """Why another process is lost, or an empty text; one that never gave a sign has as long as anybody."""
        with self._lock:
            seen, own = self._seen.get(rank), self.own
        if seen is not None and seen.sign.computer == own.computer:
            return "" if _started(seen.sign.process) == seen.sign.started else "has died"
        changed = self.since if seen is None else seen.changed
        return "" if time.monotonic() - changed < self.patience else f"gave no sign for {self.patience:.0f} s"

    def stuck(self, rank: int, limit: float) -> str:
        """Why another process that lives is of no use: for so many seconds it has finished nothing more."""
        with self._lock:
            seen = self._seen.get(rank)
        idle = 0.0 if seen is None else time.monotonic() - seen.progressed
        return "" if idle < limit else f"has finished nothing for {idle:.0f} s"

    def lives(self, rank: int) -> bool:
        """Whether another process was seen to live: its sign may be one that an earlier run has left."""
        with self._lock:
            seen, own = self._seen.get(rank), self.own
        if seen is None or (seen.sign.computer != own.computer and not seen.changes):
            return False
        return not self.lost(rank)

    def _path(self, rank: int) -> Path:
        return self.folder / f"{rank:05d}.json"


def _computer() -> str:
    """A name for this computer, or container: where process numbers mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {os.getpid()}"  # no other process: then only the beat tells


def _started(process: int) -> str:
    """When a process of this computer was started; empty for none, also for one that is dead and waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
