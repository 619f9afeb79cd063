"""Project window and form open on a virtual screen, in the optimised Python that Scipion uses for its GUI."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from continuousflex_dl.options.base import field_extra
from continuousflex_dl.protocols import CflexProtHEMNMA

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PROBE = Path(__file__).with_name("gui_probe.py")


@pytest.fixture(scope="module")
def display():
    """A virtual screen of our own."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (Debian: apt-get install xvfb)")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1500x950x24"],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    if not number:
        pytest.skip("Xvfb does not start here")
    yield f":{number}"
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="module")
def shown(display, tmp_path_factory):
    pytest.importorskip("tkinter")
    done = subprocess.run(
        [sys.executable, "-O", "-W", "ignore", str(PROBE), "CflexGuiTest", "CflexProtHEMNMA"],
        env={**os.environ, "DISPLAY": display},
        cwd=tmp_path_factory.mktemp("gui"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_form_opens_with_every_basic_option(shown):
    assert shown["title"] == "Protocol Run: CflexProtHEMNMA"
    text = " | ".join(shown["form"])
    assert "Input particles" in text
    assert "Normal modes" in text
    model = CflexProtHEMNMA.optionsClass()
    for name in CflexProtHEMNMA.formOptions():
        extra = field_extra(model, name)
        if not extra.get("advanced"):
            assert extra["label"] in text, name


def test_project_window_opens(shown):
    assert "Protocols SPA" in shown["project"]
