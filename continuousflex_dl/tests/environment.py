"""Lets tests use Scipion where nothing of it is configured. Imports nothing of Scipion: call `prepare` before that."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

HOSTS = "[localhost]\nPARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s\n"


def prepare() -> None:
    """Set the environment of Scipion in a temporary folder; what the user has set already stays."""
    if "SCIPION_HOME" not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="scipion-home-"))
        (home / "config").mkdir()
        (home / "config" / "hosts.conf").write_text(HOSTS)
        os.environ["SCIPION_HOME"] = str(home)
        os.environ["SCIPION_USER_DATA"] = str(home / "data")
        atexit.register(shutil.rmtree, home, True)
    os.environ.setdefault("SCIPION_DOMAIN", "pwem")
    os.environ.setdefault("SCIPION_PYTHON", sys.executable)  # of the child processes
    os.environ.setdefault("SCIPION_NOTIFY", "False")  # no usage statistics over the network
    os.environ.setdefault("SCIPION_TEST_NOSYNC", "True")  # no download of test data
    os.environ.setdefault("SCIPION_CANCEL_XMIPP_BINDING_WARNING", "True")


def load_plugins() -> None:
    """Let Scipion find the plugins and bind the protocol classes to them."""
    import pwem

    pwem.Domain.getPlugins()
    pwem.Domain.getProtocols()
