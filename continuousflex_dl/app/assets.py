"""The JavaScript of others, out of the Python packages that ship it; none of it is loaded from the network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..core.errors import InputError

STATIC = Path(__file__).parent / "static"
# name in the page -> package that ships it and its file there
VENDORED = {
    "plotly.min.js": ("plotly", "package_data/plotly.min.js"),
    "molstar.js": ("dash_molstar", "rcsb-molstar.js"),
}
ADVICE = (
    "the web viewer needs the packages flask, plotly and dash-molstar: "
    "pip install 'scipion-em-continuousflex-dl[viewer]'"
)


def vendored_files() -> dict[str, Path]:
    """Files by their name in the page. The packages are not imported: that takes seconds and brings nothing.

    Raises
    ------
    InputError
        If a package is not installed.
    """
    found = {}
    for name, (package, inside) in VENDORED.items():
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        path = next((Path(folder) / inside for folder in folders if (Path(folder) / inside).is_file()), None)
        if path is None:
            raise InputError(f"{package}: {inside} is not installed; {ADVICE}")
        found[name] = path
    return found
