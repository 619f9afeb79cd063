"""Says in one line what the installation needs and does not find. Runs under the Python that .venv is made from."""

import importlib.util
import os
import shutil
import sys
import sysconfig

PACKAGES = {
    "gcc": "build-essential",
    "g++": "build-essential",
    "the headers of Python (Python.h)": "python3-dev",
    "tkinter": "python3-tk",
    "venv": "python3-venv",
}


def missing() -> list:
    """Names of what is not there."""
    found = [name for name in ("gcc", "g++") if shutil.which(name) is None]
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        found.append("the headers of Python (Python.h)")
    try:
        import tkinter  # noqa: F401
    except ImportError:
        found.append("tkinter")
    if importlib.util.find_spec("ensurepip") is None:
        found.append("venv")
    return found


def main() -> int:
    """Exit with 1 and one line where something is missing."""
    version = ".".join(map(str, sys.version_info[:2]))
    if version != "3.11":
        print(
            "make install: found Python " + version + " (" + sys.executable + "), expected 3.11, for which "
            "Scipion's packages are made: install it (Debian 12: python3.11), or name it: "
            "make install PYTHON=/path/to/python3.11",
            file=sys.stderr,
        )
        return 1
    names = missing()
    if names:
        packages = sorted({PACKAGES[name] for name in names})
        print(
            "make install: missing: " + ", ".join(names) + " (for " + sys.executable + "); on Debian or Ubuntu: "
            "sudo apt-get install "
            + " ".join(packages)
            + ("; a Python built by pyenv or conda needs tkinter of its own" if "tkinter" in names else ""),
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
