"""Makes groups in the Scipion project that a result came from: what "Create in Scipion" of the web viewer runs.

``python -m continuousflex_dl.protocols.in_project PROJECT RUN --selection FILE`` launches the protocols as the form
would: `CflexProtGroup` on the run's particles, after `CflexProtSpace` where these are in no space yet. It waits for
them, and ends with exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

AXES = 6  # of the space that the viewer makes of a method's particles
OUTPUT = "outputParticles"


class LaunchError(Exception):
    """What was asked for cannot be launched, or failed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; exit code 0, 1 if a protocol failed, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="in_project", description="Groups of a selection in a Scipion project.")
    parser.add_argument("project", help="Folder of the project.")
    parser.add_argument("run", type=int, help="Number of the run whose particles are grouped.")
    parser.add_argument("--selection", action="append", required=True, help="File that cflex view saved; repeatable.")
    parser.add_argument("--reconstruct", action="store_true", help="Reconstruct a map of every group.")
    parser.add_argument("--keep-unconverged", action="store_true", help="Take particles that did not converge too.")
    parser.add_argument("--label", default="", help="Label of the group run.")
    options = parser.parse_args(argv)
    try:
        launch(options)
    except LaunchError as error:
        print(f"in_project: error: {error}", file=sys.stderr)
        return 1
    return 0


def launch(options: argparse.Namespace) -> None:
    """Launch the protocols, one after the other.

    Raises
    ------
    LaunchError
        If Scipion is not set up, the project or the run is not there, or a protocol fails.
    """
    files = [Path(name).absolute() for name in options.selection]
    if missing := [file for file in files if not file.is_file()]:
        raise LaunchError(f"{missing[0]}: no such file; save the selection again")
    folder = Path(options.project).absolute()
    if not (folder / "project.sqlite").is_file():
        raise LaunchError(f"{folder}: is no Scipion project")
    project = load_project(folder)
    from ..convert import amplitudes_of
    from .forms import enum_choices
    from .protocol_group import _WAYS, CflexProtGroup
    from .protocol_space import CflexProtSpace

    source = project.mapper.selectById(options.run)
    if source is None:
        raise LaunchError(f"{folder}: has no run {options.run}")
    if getattr(source, OUTPUT, None) is None:
        raise LaunchError(f"run {options.run} ({source}) has no {OUTPUT}")
    if not isinstance(source, CflexProtSpace):
        space = project.newProtocol(CflexProtSpace, nComponents=AXES)
        point(space.inputParticles, source)
        if (modes := modes_behind(source)) is not None:
            space.inputModes.copy(modes)
        first = getattr(source, OUTPUT).getFirstItem()
        if not amplitudes_of(first):
            space.on.set(enum_choices(CflexProtSpace.optionsClass(), "on").index("latent"))
        space.setObjLabel(f"space of {source.getRunName()}")
        run_protocol(project, space)
        source = space
    names = [keep(file, project) for file in files]
    group = project.newProtocol(
        CflexProtGroup,
        groupBy=_WAYS.index("selection"),
        selection=";".join(names),
        reconstruct=options.reconstruct,
        keepUnconverged=options.keep_unconverged,
    )
    point(group.inputParticles, source)
    group.setObjLabel(options.label or "selection " + ", ".join(file.stem for file in files))
    run_protocol(project, group)


def modes_behind(run: Any) -> Any:
    """Pointer to the normal modes of a run, or of the training of its network; None where there are none."""
    pointer = getattr(run, "inputModes", None)
    if pointer is not None and pointer.get() is not None:
        return pointer
    network = getattr(run, "inputModel", None)
    training = None if network is None else network.getObjValue()
    return None if training is None else modes_behind(training)


def load_project(folder: Path) -> Any:
    """Load a project, whichever it is; Scipion must be set up, as it is for everything that Scipion started."""
    if "SCIPION_HOME" not in os.environ and "SCIPION_HOSTS" not in os.environ:
        raise LaunchError("SCIPION_HOME is not set; open the viewer from Scipion, or set it as Scipion's launcher does")
    os.environ.setdefault("SCIPION_DOMAIN", "pwem")
    os.environ.setdefault("SCIPION_PYTHON", sys.executable)
    try:
        import pwem
        from pyworkflow.project import Project
    except ImportError as error:
        raise LaunchError(f"{error.name} is not installed in {sys.executable}; use the Python of Scipion") from None
    pwem.Domain.getPlugins()
    project = Project(pwem.Domain, str(folder))
    project.load()  # goes to the folder of the project: its paths are relative to that
    return project


def point(pointer: Any, run: Any) -> None:
    """Let an input point to the particles of a run, as the form does."""
    pointer.set(run)
    pointer.setExtended(OUTPUT)


def keep(file: Path, project: Any) -> str:
    """Copy a selection into the project, so that the run can be repeated whatever becomes of the viewer's."""
    folder = project.getPath("Uploads")
    os.makedirs(folder, exist_ok=True)
    number, target = 1, os.path.join(folder, file.name)
    while os.path.exists(target) and Path(target).read_bytes() != file.read_bytes():
        number += 1
        target = os.path.join(folder, f"{file.stem}_{number}{file.suffix}")
    shutil.copyfile(file, target)
    return target


def run_protocol(project: Any, protocol: Any) -> None:
    """Validate, launch and wait."""
    errors = protocol.validate()
    if errors:
        raise LaunchError(f"{protocol.getObjLabel()}: {'; '.join(errors)}")
    print(f"in_project: {protocol.getObjLabel()} ({protocol.getClassName()})", flush=True)
    project.launchProtocol(protocol, wait=True)
    if not protocol.isFinished():
        raise LaunchError(f"{protocol.getObjLabel()}: {protocol.getErrorMessage() or protocol.getStatusMessage()}")
    outputs = ", ".join(f"{name}: {value}" for name, value in protocol.iterOutputAttributes())
    print(f"in_project: run {protocol.getObjId()} finished; {outputs}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
