"""What benchmarks that run named cases of one command share: arguments, processes of one thread, the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


class Named(Protocol):
    """A case."""

    @property
    def name(self) -> str:
        """By which it is chosen and reported."""


AnyCase = TypeVar("AnyCase", bound=Named)


@dataclass(frozen=True)
class Used:
    """What a process used: CPU and wall seconds, and its peak memory in GB (2**30 bytes)."""

    cpu_s: float
    wall_s: float
    memory_gb: float


def cflex(*arguments: object) -> Used:
    """Run a command with one thread in a process of its own; stop where it fails."""
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments), "--threads", "1"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    error = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(error.strip().splitlines()[-1] if error.strip() else f"status {status}")
    return Used(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 2**20)


def arguments(description: str | None, number: str, default: int, meaning: str) -> argparse.Namespace:
    """``--data``, ``--only`` and one number; stops with 2 where the real data are not there."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="Folder of the real data.")
    parser.add_argument(f"--{number}", type=int, default=default, help=meaning)
    parser.add_argument("--only", nargs="*", help="Names of the cases to run.")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.exit(2, f"{options.data}: no such folder; give the real data with --data\n")
    return options


def measured(
    cases: Sequence[AnyCase], only: Sequence[str] | None, measure: Callable[[AnyCase, Path], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Figures of the cases that were asked for, by name, each said when it is known.

    `measure` is given the case and a folder for what it makes, which all cases share.
    """
    rows = {}
    with tempfile.TemporaryDirectory(prefix="cflex-bench-") as temporary:
        for case in cases:
            if only and case.name not in only:
                continue
            rows[case.name] = measure(case, Path(temporary))
            print(f"{case.name}: {rows[case.name]}", flush=True)
    return rows


def write(results: Path, rows: dict[str, dict[str, Any]], *, keep: bool, **more: Any) -> int:
    """Write a report, with the figures of the cases that were not run where `keep` says so.

    Returns
    -------
    Exit status: 0 where every case has reached its target.
    """
    if keep and results.exists():
        rows = json.loads(results.read_text(encoding="utf-8"))["cases"] | rows
    report = {"python": platform.python_version(), **more, "cases": rows}
    results.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {results.relative_to(ROOT)}")
    return 0 if all(row.get("reached", True) for row in rows.values()) else 1
