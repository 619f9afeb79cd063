"""Blocks of work that survive a kill."""

import threading

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.atomic import atomic_path, atomic_text
from continuousflex_dl.core.io.blocks import BlockStore


def squares(first, last):
    return {"value": np.arange(first, last) ** 2, "name": np.array([f"p{i}" for i in range(first, last)])}


def store(tmp_path, total=23, size=5, **fingerprint):
    return BlockStore(tmp_path / "blocks", total, size, fingerprint or {"modes": "7,8"})


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize(("total", "size"), [(23, 5), (5, 5), (1, 16), (40, 1)])
def test_everything_is_done_once_and_in_order(tmp_path, threads, total, size):
    calls, lock = [], threading.Lock()

    def work(first, last):
        with lock:
            calls.append((first, last))
        return squares(first, last)

    blocks = store(tmp_path, total, size)
    seen = []
    blocks.run(work, threads=threads, progress=lambda done, whole: seen.append((done, whole)))
    assert sorted(calls) == [blocks.range(block) for block in range(len(blocks))]
    np.testing.assert_array_equal(blocks.collect()["value"], np.arange(total) ** 2)
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)


def test_only_what_is_missing_is_done_again(tmp_path):
    blocks = store(tmp_path)

    def fails(first, last):
        if first == 10:
            raise RuntimeError("killed")
        return squares(first, last)

    with pytest.raises(RuntimeError, match="killed"):
        blocks.run(fails, threads=1)
    done = []
    store(tmp_path).run(lambda first, last: done.append(first) or squares(first, last), threads=1)
    assert 10 in done
    assert 0 not in done
    np.testing.assert_array_equal(blocks.collect()["value"], np.arange(23) ** 2)


def test_a_damaged_block_is_done_again(tmp_path):
    blocks = store(tmp_path)
    blocks.run(squares)
    path = next((tmp_path / "blocks").glob("block_0000002*"))
    path.write_bytes(path.read_bytes()[:100])
    done = []
    blocks.run(lambda first, last: done.append(first) or squares(first, last))
    assert done == [10]


def test_other_settings_are_refused(tmp_path):
    store(tmp_path, modes="7,8")
    with pytest.raises(InputError, match=r"modes '7,8', found '7-9' now"):
        store(tmp_path, modes="7-9")
    with pytest.raises(InputError, match="total"):
        store(tmp_path, total=24, modes="7,8")


def test_an_unfinished_store_does_not_pass_for_a_result(tmp_path):
    blocks = store(tmp_path)
    blocks.save(0, squares(0, 5))
    with pytest.raises(InputError, match=r"block 1 is missing \(4 in all\)"):
        blocks.collect()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "result.txt"
    atomic_text(target, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        fail(temporary)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.txt"]
