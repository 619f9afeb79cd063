"""Sets up Scipion for the tests of this folder; skips them where Scipion is not installed."""

import importlib.util
import os

import pytest

HAS_SCIPION = importlib.util.find_spec("pyworkflow") is not None and importlib.util.find_spec("pwem") is not None

if HAS_SCIPION:
    from continuousflex_dl.tests.environment import load_plugins, prepare

    prepare()
else:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _scipion_plugins():
    if HAS_SCIPION:
        load_plugins()


@pytest.fixture(autouse=True)
def _same_folder():
    """Scipion changes the current folder when it loads a project."""
    before = os.getcwd()
    yield
    os.chdir(before)
