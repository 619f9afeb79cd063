"""``make test``: pytest, then the suite in ``continuousflex_dl/tests`` as Scipion runs it; fails if either fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCIPION_SUITES = (
    "continuousflex_dl.tests.test_workflow",
    "continuousflex_dl.tests.test_map_workflow",
    "continuousflex_dl.tests.test_deep_workflow",
    "continuousflex_dl.tests.test_vit_workflow",
)
# runs the same suite under pytest, for those who call pytest alone
SAME_SUITE = "tests/scipion/test_workflow_suite.py"


def environment(home: str) -> dict[str, str]:
    """Environment with a Scipion of its own, whatever the user has set."""
    bin_folder = os.path.dirname(sys.executable)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SCIPION_")}
    return variables | {
        "PATH": bin_folder + os.pathsep + os.environ.get("PATH", os.defpath),
        "SCIPION_HOME": home,
        "SCIPION_USER_DATA": os.path.join(home, "data"),
        "SCIPION_DOMAIN": "pwem",
        "SCIPION_PYTHON": sys.executable,
        "SCIPION_NOTIFY": "False",
        "SCIPION_TEST_NOSYNC": "True",
        "SCIPION_CANCEL_XMIPP_BINDING_WARNING": "True",
    }


def main(arguments: list[str]) -> int:
    """Run both and say how they ended."""
    home = tempfile.mkdtemp(prefix="scipion-home-")
    os.makedirs(os.path.join(home, "config"))
    Path(home, "config", "hosts.conf").write_text(
        "[localhost]\nPARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s\n"
    )
    pytest = [sys.executable, "-m", "pytest", "-q", "-rs", f"--ignore={SAME_SUITE}", *arguments]
    suites = [(f"scipion test {suite}", [sys.executable, "-m", "scipion", "test", suite]) for suite in SCIPION_SUITES]
    ended = []
    try:
        for name, command in (("pytest", pytest), *suites):
            begin = time.monotonic()
            print(f"\n== {name}", flush=True)
            code = subprocess.run(command, cwd=ROOT, env=environment(home), check=False).returncode
            ended.append((name, code, time.monotonic() - begin))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print()
    for name, code, seconds in ended:
        print(f"make test: {name}: {'passed' if code == 0 else f'FAILED (exit code {code})'} in {seconds:.0f} s")
    return int(any(code for _, code, _ in ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
