"""``cflex view``: the web viewer of results."""

from __future__ import annotations

import html
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, read_modes, read_reference
from ..core.io.particles import read_particles
from ..core.space.features import CONFORMATIONS_NAME
from ..core.space.landscape import LANDSCAPE_NAME, Landscape
from ..core.space.result import SPACE_NAME
from ..options.files import RESULT_FILES
from ..options.view import ViewOptions
from .run import Run
from .space_folder import read_space_folder
from .space_inputs import atoms_of

if TYPE_CHECKING:
    from ..app.dataset import Dataset

WORKSPACE, SPACE_FOLDER = "view", "space"
_AXES_OF_A_RESULT = 6


def run(options: ViewOptions, run: Run) -> None:
    """Read the results, print the address of the page, and serve it until Ctrl-C."""
    try:
        from ..app.server import Server
    except ImportError as error:
        from ..app.assets import ADVICE

        raise InputError(f"{error.name}: is not installed; {ADVICE}") from None
    folders = [Path(given) for given in (options.input, *options.also)]
    datasets = []
    for number, folder in enumerate(folders):
        base = Path(options.output) if options.output else folder / WORKSPACE
        workspace = base if number == 0 or not options.output else base / f"also_{number}"
        structure = options.structure if number == 0 else None
        datasets.append(read_dataset(folder, workspace, structure, run))
    server = Server(datasets, port=options.port, points=options.points)
    print(server.address, flush=True)
    run.say("the viewer runs until Ctrl-C; nobody without this address can use it")
    with TemporaryDirectory(prefix="cflex-view-") as private:
        if options.browser and not open_browser(server.address, Path(private)):
            run.say("there is no web browser here; open the address yourself, from afar through a tunnel (ssh -L)")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is lost: it ends like Ctrl-C
        try:
            server.serve(options.idle_minutes)
        except KeyboardInterrupt:
            run.say("closed")


def open_browser(address: str, private: Path) -> bool:
    """Open the page by way of a file that only this user can read: command lines, and the token in them, all can."""
    file = private / "open.html"
    file.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">', encoding="utf-8")
    return webbrowser.open(file.as_uri())


def read_dataset(folder: Path, workspace: Path, structure: str | None, run: Run) -> Dataset:
    """Read a result directory: modes, a space, or particles whose space is made first.

    Raises
    ------
    InputError
        If it is none of them.
    """
    from ..app.dataset import Dataset

    folder = folder.parent if folder.name in (SPACE_NAME, MODES_NAME) else folder
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory; give one that cflex space, nma or a method wrote")
    folder, workspace = folder.absolute(), workspace.absolute()
    name = folder.name if folder.name not in (SPACE_FOLDER, "hemnma", "nma") else f"{folder.parent.name}/{folder.name}"
    particles = next((path for name in RESULT_FILES if (path := folder / name).is_file()), None)
    has_space, has_particles = (folder / SPACE_NAME).is_file(), particles is not None
    if not has_space and not has_particles and (folder / MODES_NAME).is_file():
        modes = read_modes(folder / MODES_NAME)
        atoms = atoms_of(structure, modes.n_atoms) if structure else read_reference(folder / MODES_NAME, modes)
        return Dataset(name, folder, folder, workspace, modes=modes, structure=atoms, structure_file=structure)
    if not has_space and not has_particles:
        raise InputError(f"{folder}: holds neither {SPACE_NAME}, particles nor {MODES_NAME}; nothing to view")
    source, path = folder, folder
    if not has_space and particles is not None:
        path = make_space(particles, workspace / SPACE_FOLDER, structure, run)
    found = read_space_folder(str(path), run, structure)
    landscape = Landscape.load(path) if (path / LANDSCAPE_NAME).is_file() else None
    datadir = getattr(run.options, "datadir", None)
    return Dataset(
        name, path, source, workspace, found.space, found.decoder, landscape, found.particles, datadir,
        structure_file=structure,
    )  # fmt: skip


def make_space(particles: Path, output: Path, structure: str | None, run: Run) -> Path:
    """Make the space of a method's particles, with as many axes as there are modes, unless that was done before.

    Raises
    ------
    InputError
        If the command fails; it says why itself.
    """
    made = output / SPACE_NAME
    if made.is_file() and made.stat().st_mtime_ns >= particles.stat().st_mtime_ns:
        return output
    words = ["space", str(particles), "-o", str(output), "--n-components", str(_AXES_OF_A_RESULT), "--overwrite"]
    words += ["--structure", structure] if structure else []
    words += ["--on", on] if (on := what_varies(particles)) != "amplitudes" else []
    run.say(f"{particles} has no space yet: cflex {' '.join(words)}")
    done = subprocess.run([sys.executable, "-m", __package__.split(".")[0], *words], stdout=sys.stderr, check=False)
    if done.returncode:
        raise InputError(f"{particles}: its space could not be made; see above, or run cflex space yourself")
    return output


def what_varies(particles: Path) -> str:
    """What the space of a result is made of: amplitudes, where it has none its latents, else its coordinates."""
    import h5py

    conformations = particles.parent / CONFORMATIONS_NAME
    if not conformations.is_file() or read_particles(particles, check_images=False).amplitudes:
        return "amplitudes"
    with h5py.File(conformations, "r") as stored:
        return "latent" if "latent" in stored else "coordinates"
