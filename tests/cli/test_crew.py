"""What the processes of a run know of each other: who lives, who is lost, and what is left of earlier runs."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from continuousflex_dl.cli.crew import FOLDER, Crew, LostProcessError
from continuousflex_dl.cli.signs import Sign, SignBoard
from continuousflex_dl.core.distributed import Place
from continuousflex_dl.core.errors import InputError

LEADER, WORKER = Place(0, 2, 0, 2, "srun", "7.0"), Place(1, 2, 1, 2, "srun", "7.0")


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setenv("CFLEX_PATIENCE", "1")


@pytest.fixture
def crews(tmp_path):
    """Makes crews in this process and ends them."""
    made = []

    def make(place):
        made.append(Crew(place, tmp_path))
        return made[-1]

    yield make
    for crew in made:
        crew.close("ended")


def willing():
    """An output directory that nobody would refuse."""


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def elsewhere(folder, rank, **changes):
    """Write the sign of a process of another computer, as an earlier run may have left it."""
    sign = replace(Sign.of_this_process(rank, "7.0"), computer="another", host="node9", **changes)
    (folder / FOLDER).mkdir(exist_ok=True)
    (folder / FOLDER / f"{rank:05d}.json").write_text(json.dumps(asdict(sign)))
    return sign


def test_leader_and_worker_find_each_other(crews, tmp_path):
    leader, worker = crews(LEADER), crews(WORKER)
    leader.lead()
    worker.join(willing)
    assert until(lambda: all(sign is not None for _, sign, _ in leader.others()))
    leader.announce(stage="ready")
    assert worker.wait_until_ready()
    worker.tell(done=5)
    assert until(lambda: leader.done_by_others() == 5)
    worker.close("ended", cpu_s=1.5)
    assert until(lambda: [end for _, _, end in leader.others()] == ["ended"])
    assert next(leader.others())[1].figures == {"cpu_s": 1.5}
    leader.close("ended")
    assert not (tmp_path / FOLDER).exists()


def test_the_order_of_their_start_does_not_matter(crews):
    leader, worker = crews(LEADER), crews(WORKER)
    joined = threading.Thread(target=worker.join, args=(willing,))
    joined.start()
    time.sleep(0.2)
    assert joined.is_alive()
    leader.lead()
    joined.join(3)
    assert not joined.is_alive()


def test_a_failed_worker_says_why(crews):
    leader, worker = crews(LEADER), crews(WORKER)
    leader.lead()
    worker.join(willing)
    worker.close("failed", "particle 3 is bad")
    assert until(lambda: [end for _, _, end in leader.others()] == ["failed: particle 3 is bad"])


def test_a_failed_leader_ends_the_others(crews):
    leader, worker = crews(LEADER), crews(WORKER)
    leader.lead()
    worker.join(willing)
    leader.close("failed", "all images are constant")
    with pytest.raises(LostProcessError, match=r"process 0 \(on .*\) failed: all images are constant"):
        worker.wait_until_ready()
    late = crews(WORKER)
    with pytest.raises(LostProcessError, match="all images are constant"):
        late.join(willing)


def test_a_leader_that_ended_before_the_others_began(crews, tmp_path):
    leader, worker = crews(LEADER), crews(WORKER)
    leader.lead()
    worker.join(willing)
    (tmp_path / "run.json").write_text("{}")
    leader.close("ended")
    assert not worker.wait_until_ready()
    late = crews(WORKER)
    late.join(willing, resume=True)
    assert not late.wait_until_ready()


def test_an_output_that_was_removed(crews, tmp_path):
    leader, worker = crews(LEADER), crews(WORKER)
    leader.lead()
    worker.join(willing)
    leader.close("ended")
    with pytest.raises(LostProcessError, match="was removed"):
        worker.wait_until_ready()


def test_what_an_earlier_run_left_is_no_leader(crews, tmp_path, monkeypatch):
    monkeypatch.setenv("CFLEX_PATIENCE", "0.2")
    elsewhere(tmp_path, 0, stage="ready")
    begun = time.monotonic()
    with pytest.raises(LostProcessError, match=r"no sign of process 0 in .* for 2 s"):
        crews(WORKER).join(willing)
    assert time.monotonic() - begun < 4


def test_signs_of_earlier_runs_are_nobody(crews, tmp_path):
    elsewhere(tmp_path, 1, stage="ended")
    leader = crews(LEADER)
    leader.lead()
    elsewhere(tmp_path, 1, stage="ended", crew="that of an earlier run")
    time.sleep(0.5)
    assert [(sign, end) for _, sign, end in leader.others()] == [(None, "")]
    assert until(lambda: [end for _, _, end in leader.others()] == ["gave no sign for 1 s"])


def test_a_leader_elsewhere_is_believed_when_its_sign_changes(crews, tmp_path):
    sign = elsewhere(tmp_path, 0, stage="ready")
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            elsewhere_again = replace(sign, beat=number)
            elsewhere_again = replace(elsewhere_again, crew=sign.token)
            (tmp_path / FOLDER / "00000.json").write_text(json.dumps(asdict(elsewhere_again)))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        worker = crews(WORKER)
        worker.join(willing)
        assert worker.wait_until_ready()
        time.sleep(1.5)
        worker.check()
    finally:
        stop.set()
        thread.join()
    time.sleep(1.5)
    with pytest.raises(LostProcessError, match=r"process 0 \(on node9\) gave no sign for 1 s; --resume continues"):
        worker.check()


def test_another_run_in_the_same_directory(crews):
    crews(LEADER).lead()
    with pytest.raises(InputError, match="another cflex is working in it"):
        crews(replace(WORKER, job="8.0")).join(willing)


def test_a_worker_refuses_what_the_leader_must_have_refused(crews):
    def refuse():
        raise InputError("out: is not empty")

    begun = time.monotonic()
    with pytest.raises(InputError, match="is not empty"):
        crews(WORKER).join(refuse)
    assert time.monotonic() - begun < 2


def test_a_dead_process_of_this_computer_is_seen_at_once(tmp_path):
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom continuousflex_dl.cli.signs import Sign, SignBoard\n"
        "SignBoard(Path(sys.argv[1]), Sign.of_this_process(1, ''), 600).write(new=True)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    board = SignBoard(tmp_path, Sign.of_this_process(0, ""), 600)
    board.look(1)
    assert board.lives(1)
    assert board.lost(1) == ""
    process.kill()
    assert until(lambda: board.lost(1) == "has died")  # nobody has waited for it yet
    process.wait()
    assert board.lost(1) == "has died"


def test_a_number_that_another_process_has_now(tmp_path):
    sign = replace(Sign.of_this_process(1, ""), started="long ago")
    (tmp_path / "00001.json").write_text(json.dumps(asdict(sign)))
    board = SignBoard(tmp_path, Sign.of_this_process(0, ""), 600)
    board.look(1)
    assert os.getpid() == sign.process
    assert board.lost(1) == "has died"


def test_a_process_that_finishes_nothing_is_not_waited_for(tmp_path):
    board, sign = SignBoard(tmp_path, Sign.of_this_process(0, ""), 600), Sign.of_this_process(1, "")
    for beat, done in enumerate((0, 0, 3, 3)):
        (tmp_path / "00001.json").write_text(json.dumps(asdict(replace(sign, beat=beat, done=done))))
        board.look(1)
        time.sleep(0.1)
        assert board.lost(1) == board.stuck(1, 0.25) == ""
    time.sleep(0.1)
    assert board.stuck(1, 0.25).startswith("has finished nothing for ")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"rank": 1}', '{"rank": 1, "new_field": 2}'])
def test_half_a_sign_is_no_news(tmp_path, text):
    board = SignBoard(tmp_path, Sign.of_this_process(0, ""), 600)
    (tmp_path / "00001.json").write_text(text)
    board.look(1)
    assert board.sign(1) is None


def test_patience_is_a_number(monkeypatch, tmp_path):
    monkeypatch.setenv("CFLEX_PATIENCE", "soon")
    with pytest.raises(InputError, match="CFLEX_PATIENCE=soon: expected a number of seconds"):
        Crew(LEADER, tmp_path)
