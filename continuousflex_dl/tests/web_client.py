"""The web viewer without a browser: starts it and speaks to it as its page does."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any

JOB_S = 240.0


class WebClient:
    """A viewer, from its start to its end.

    Parameters
    ----------
    command
        Its command line.
    """

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> WebClient:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        while self._process.poll() is None and not line.startswith("http"):
            line = self._process.stdout.readline().strip()
        assert line.startswith("http"), "the viewer did not start"
        self.address = line
        self.base, self.token = line.split("/?token=")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Answer to a request; AssertionError with what the server says where it refuses."""
        request = urllib.request.Request(
            f"{self.base}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Cflex-Token": self.token, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The same, as JSON."""
        return json.loads(self.ask(method, path, body))

    def finish(self, number: int) -> dict[str, Any]:
        """Wait for a job to end well."""
        until = time.monotonic() + JOB_S
        while time.monotonic() < until:
            job = next(job for job in self.json("GET", "jobs")["jobs"] if job["number"] == number)
            if job["state"] not in ("waiting", "running"):
                assert job["state"] == "done", job["log"]
                return job
            time.sleep(0.5)
        raise AssertionError(f"job {number} did not end in {JOB_S:.0f} s")
