"""Fixtures for the whole suite."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

HAS_SCIPION = importlib.util.find_spec("pyworkflow") is not None and importlib.util.find_spec("pwem") is not None
NEED_SCIPION = ("convert", "scipion")  # folders whose tests are left out where Scipion is not installed

# other examples every time for whoever works here, the same ones in continuous integration; being slow is no failure
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the repository; tests that need it are skipped where it is absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("../shared/data is absent")
    return path


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.parent.name in NEED_SCIPION and not HAS_SCIPION else None


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Set Scipion's environment before a module of the tests imports it."""
    if module_path.parent.name in NEED_SCIPION:
        from continuousflex_dl.tests.environment import prepare

        prepare()


@pytest.fixture(scope="session")
def _scipion_plugins():
    from continuousflex_dl.tests.environment import load_plugins

    load_plugins()


@pytest.fixture(autouse=True)
def _scipion(request):
    """Plugins for the tests that need Scipion, which changes the current folder when it loads a project."""
    if request.path.parent.name not in NEED_SCIPION:
        yield
        return
    request.getfixturevalue("_scipion_plugins")
    before = os.getcwd()
    yield
    os.chdir(before)
