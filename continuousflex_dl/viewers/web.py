"""The web viewer as a view of Scipion."""

from __future__ import annotations

import os
import subprocess
import sys

from pyworkflow.viewer import View

from ..protocols.command import PACKAGE

IDLE_MINUTES = 30


class WebView(View):
    """A result directory in the web viewer, which runs as a process of its own and ends when its page is closed.

    Parameters
    ----------
    path
        Directory that a command wrote.
    """

    def __init__(self, path: str):
        self.path = os.path.abspath(path)

    def command(self) -> list[str]:
        """Command that is started, with Scipion's Python and environment: it can launch protocols in the project."""
        return [sys.executable, "-m", PACKAGE, "view", self.path, "--idle-minutes", str(IDLE_MINUTES)]

    def show(self):
        log = os.path.join(self.path, "view.log") if os.access(self.path, os.W_OK) else os.devnull
        # the log holds the address, and who knows that may use the viewer
        private = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(private, "w", encoding="utf-8") as stream:
            subprocess.Popen(
                self.command(), stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
            )
