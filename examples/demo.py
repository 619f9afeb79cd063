"""``make demo``: the conformational transition of adenylate kinase from particle images, in a real Scipion project.

The true transition is a path of dynamic importance sampling from the closed to the open form, which no normal mode was
used to make. Images of its frames are simulated with the CTF of real micrographs and noise; HEMNMA then finds pose and
mode amplitudes of every image, starting from the open structure alone. The end is compared with the truth.

Everything is written below ``demo/`` at the top of the checkout; a second run replaces the project. ``--open`` shows
the project in Scipion instead of running anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# ---------------------------------------------------------------- what the demo does: change it here

STRUCTURE, TRANSITION, CTF_ROWS = "adk_4ake_A.pdb", "adk_dims_heavy.dcd", "empiar10028_ctf_2000.npz"

NMA = {"numberOfModes": 20}
SIMULATE = {
    "numberOfParticles": 200,
    "box": 128,
    "pixelSize": 1.1,
    "snr": 0.1,
    "shiftPx": 5.0,
    "seed": 0,
}
HEMNMA = {"modeList": "7-12"}
SPACE = {"nComponents": 2}

# what the result must reach
LEAST_RANK_CORRELATION = 0.9  # of the first coordinate with the frame of the transition, whatever its sign
LARGEST_MEDIAN_ANGLE_DEG = 3.0  # between true and found axes

# ---------------------------------------------------------------- where it does it

EXAMPLES = Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
DEMO = ROOT / "demo"
HOME, USER_DATA = DEMO / "scipion", DEMO / "data"
PROJECT = "adenylate_kinase"
EVALUATION, REPORT = DEMO / "evaluation", DEMO / "report"
LAUNCHER = DEMO / "scipion.sh"
HOSTS = "[localhost]\nPARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s\n"


class DemoError(Exception):
    """A step of the demo failed."""


def environment() -> dict[str, str]:
    """Variables of a Scipion that lives in ``demo/`` and uses this Python."""
    return {
        "SCIPION_HOME": str(HOME),
        "SCIPION_USER_DATA": str(USER_DATA),
        "SCIPION_DOMAIN": "pwem",
        "SCIPION_PYTHON": sys.executable,
        "SCIPION_NOTIFY": "False",
        "SCIPION_CANCEL_XMIPP_BINDING_WARNING": "True",
        # some commands of Scipion start the "python" of the PATH
        "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath),
    }


def prepare() -> None:
    """Make the folders of Scipion, and a launcher that has its environment."""
    (HOME / "config").mkdir(parents=True, exist_ok=True)
    (HOME / "config" / "hosts.conf").write_text(HOSTS, encoding="utf-8")
    (HOME / "software" / "em").mkdir(parents=True, exist_ok=True)
    USER_DATA.mkdir(exist_ok=True)
    variables = environment()
    variables["PATH"] = os.path.dirname(sys.executable) + os.pathsep
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = [line + '"$PATH"' if line.startswith("export PATH=") else line for line in lines]
    lines.append(f'exec {shlex.quote(sys.executable)} -m scipion "$@"')
    LAUNCHER.write_text(
        "#!/bin/sh\n# Scipion with the project of the demo: ./scipion.sh project\n" + "\n".join(lines) + "\n"
    )
    LAUNCHER.chmod(0o755)


def say(message: str = "") -> None:
    """Print at once, so that the lines of this process and of its children keep their order."""
    print(message, flush=True)


# ---------------------------------------------------------------- Scipion


class Workflow:
    """A new Scipion project, in which protocols are run one after another."""

    def __init__(self, name: str) -> None:
        import pwem
        from pyworkflow.project import Manager

        pwem.Domain.getPlugins()
        manager = Manager()
        if manager.hasProject(name):
            manager.deleteProject(name)
        self.project = manager.createProject(name)
        self.path = Path(self.project.path).absolute()
        os.chdir(self.path)  # the paths that Scipion stores are relative to the project

    def run(self, kind: type, label: str, **values: Any) -> Any:
        """Run a protocol, show what its program says, and return the protocol.

        Raises
        ------
        DemoError
            If the protocol fails.
        """
        begin = time.monotonic()
        say(f"\n== {label} ({kind.__name__})")
        protocol = self.project.newProtocol(kind, **values)
        protocol.setObjLabel(label)
        errors = protocol.validate()
        if errors:
            raise DemoError(f"{label}: {'; '.join(errors)}")
        self.project.launchProtocol(protocol, wait=False)
        logs = _Tail(protocol)
        while not (protocol.isFinished() or protocol.isFailed() or protocol.isAborted()):
            time.sleep(0.5)
            self.project._updateProtocol(protocol, checkPid=True)
            logs.show()
        logs.show()
        if not protocol.isFinished():
            message = protocol.getErrorMessage() or "it was stopped"
            raise DemoError(f"{label}: {message}; the log is {self.path / protocol.getStdoutLog()}")
        outputs = ", ".join(f"{name}: {value}" for name, value in protocol.iterOutputAttributes())
        say(f"   {time.monotonic() - begin:.0f} s; {outputs}")
        return protocol


class _Tail:
    """Shows the lines of ``cflex`` in the log of a run as they come."""

    def __init__(self, protocol: Any) -> None:
        self._files = {protocol.getStdoutLog(): 0, protocol.getStderrLog(): 0}

    def show(self) -> None:
        for name, position in self._files.items():
            if not os.path.exists(name):
                continue
            with open(name, encoding="utf-8", errors="replace") as handle:
                handle.seek(position)
                text = handle.read()
            complete = text[: text.rfind("\n") + 1]
            self._files[name] = position + len(complete.encode("utf-8"))
            for line in complete.splitlines():
                if line.startswith("cflex: "):
                    say("   " + line.removeprefix("cflex: "))


def run_workflow() -> tuple[Path, Path, Path]:
    """Run the protocols; gives HEMNMA's particles, the truth and the modes."""
    from pwem.protocols import ProtImportPdb

    from continuousflex_dl.protocols import CflexProtHEMNMA, CflexProtNMA, CflexProtSimulate, CflexProtSpace

    workflow = Workflow(PROJECT)
    threads = {"numberOfThreads": len(os.sched_getaffinity(0))}
    say(f"Scipion project: {workflow.path}")
    structure = workflow.run(
        ProtImportPdb,
        "1. open adenylate kinase, 4AKE",
        inputPdbData=ProtImportPdb.IMPORT_FROM_FILES,
        pdbFile=str(EXAMPLES / STRUCTURE),
    )
    modes = workflow.run(CflexProtNMA, "2. normal modes", inputStructure=structure.outputPdb, **threads, **NMA)
    simulated = workflow.run(
        CflexProtSimulate,
        "3. particles along the closed-to-open transition",
        inputModes=modes.outputModes,
        ensemble=str(EXAMPLES / TRANSITION),
        topology=str(EXAMPLES / STRUCTURE),
        ctfTable=str(EXAMPLES / CTF_ROWS),
        **threads,
        **SIMULATE,
    )
    aligned = workflow.run(
        CflexProtHEMNMA,
        "4. HEMNMA",
        inputParticles=simulated.outputParticles,
        inputModes=modes.outputModes,
        **threads,
        **HEMNMA,
    )
    workflow.run(
        CflexProtSpace,
        "5. conformational space",
        inputParticles=aligned.outputParticles,
        inputModes=modes.outputModes,
        inputTruth=simulated.outputTruth,
        **threads,
        **SPACE,
    )
    return tuple(
        workflow.path / protocol._resultPath(name)
        for protocol, name in ((aligned, "particles.star"), (simulated, "truth.star"), (modes, "modes.npz"))
    )


# ---------------------------------------------------------------- comparison with the truth


def cflex(*arguments: str | Path) -> None:
    """Run a command of this checkout.

    Raises
    ------
    DemoError
        If it fails.
    """
    words = [os.path.relpath(argument, ROOT) if isinstance(argument, Path) else argument for argument in arguments]
    say("   cflex " + shlex.join(words))
    done = subprocess.run([sys.executable, "-m", "continuousflex_dl", *words], cwd=ROOT, check=False)
    if done.returncode:
        raise DemoError(f"cflex {words[0]} ended with exit code {done.returncode}")


def compare(particles: Path, truth: Path, modes: Path) -> bool:
    """Print the table of errors, write the report with them, and say whether the result is as good as it must be."""
    say("\n== 6. errors")
    for folder in (EVALUATION, REPORT):
        if folder.exists():
            shutil.rmtree(folder)
    cflex("evaluate", particles, truth, "--modes", modes, "-o", EVALUATION)
    say("\n== 7. report with the errors")
    cflex("space", particles, "--modes", modes, "--truth", truth, "-o", REPORT)
    figures = json.loads((EVALUATION / "metrics.json").read_text(encoding="utf-8"))
    correlation = rank_correlation(REPORT / "particles.star", truth)
    angle = float(figures["axis_distance_deg"]["median"])
    checks = (
        (
            f"rank correlation of the first conformational coordinate with the true frame: {correlation:.3f} "
            f"(at least {LEAST_RANK_CORRELATION:g})",
            correlation >= LEAST_RANK_CORRELATION,
        ),
        (
            f"median angular error: {angle:.2f} degrees (less than {LARGEST_MEDIAN_ANGLE_DEG:g})",
            angle < LARGEST_MEDIAN_ANGLE_DEG,
        ),
    )
    say("\n== result")
    for text, good in checks:
        say(f"   {'ok    ' if good else 'MISSED'} {text}")
    return all(good for _, good in checks)


def rank_correlation(space: Path, truth: Path) -> float:
    """Absolute rank correlation of ``_cflexSpace1`` with ``_cflexFrame``."""
    import starfile
    from scipy.stats import spearmanr

    found, true = (starfile.read(path, always_dict=True)["particles"] for path in (space, truth))
    if len(found) != len(true):
        raise DemoError(f"{space}: {len(found)} particles, expected {len(true)}")
    return abs(float(spearmanr(found["cflexSpace1"].astype(float), true["cflexFrame"].astype(int)).statistic))


# ---------------------------------------------------------------- command line


def main() -> int:
    """Run the demo and return the exit code: 0 done and accurate, 1 not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", action="store_true", help="Show the project in Scipion.")
    options = parser.parse_args()
    prepare()
    for name in [name for name in os.environ if name.startswith("SCIPION_")]:
        del os.environ[name]  # another Scipion of the user
    os.environ.update(environment())
    if options.open:
        if not (USER_DATA / "projects" / PROJECT).is_dir():
            say("there is no project yet: run 'make demo' first")
            return 1
        return subprocess.run([str(LAUNCHER), "project", PROJECT], check=False).returncode
    begin = time.monotonic()
    say(__doc__.split("\n\n")[1])
    try:
        good = compare(*run_workflow())
    except DemoError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    say(f"   {time.monotonic() - begin:.0f} s in all\n")
    say(f"report:           {REPORT / 'report.html'}")
    say(f"in the browser:   .venv/bin/cflex view {os.path.relpath(REPORT, ROOT)}")
    say(f"errors:           {EVALUATION / 'metrics.json'}")
    say(f"Scipion project:  {USER_DATA / 'projects' / PROJECT}")
    say("                  (see it in Scipion: make scipion)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
