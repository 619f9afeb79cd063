"""One folder, one run."""

import os
import signal
import subprocess
import sys

import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io import lock
from continuousflex_dl.core.io.lock import LOCK_NAME, FolderLock

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from continuousflex_dl.core.io.lock import FolderLock\n"
    "held = FolderLock(Path(sys.argv[1])); held.take(); print('held', flush=True); time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_held_folder_is_refused_with_the_name_of_the_holder(tmp_path, holder):
    with pytest.raises(InputError, match=rf"another cflex \(process {holder.pid} on .*\) is working in it"):
        FolderLock(tmp_path).take()


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_NAME).exists()
    again = FolderLock(tmp_path)
    again.take()
    again.give_back()
    assert list(tmp_path.iterdir()) == []


def test_two_in_one_process(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    with pytest.raises(InputError, match=f"process {os.getpid()} "):
        second.take()
    second.give_back()
    assert (tmp_path / LOCK_NAME).exists()
    first.give_back()
    second.take()
    second.give_back()
    second.give_back()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    held = FolderLock(tmp_path)
    held.take()
    assert "has no locks" in caplog.text
    held.give_back()
    assert list(tmp_path.iterdir()) == []
