"""Blocks of work that survive a kill."""

import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.atomic import atomic_path, atomic_text
from continuousflex_dl.core.io.block_files import BlockFile, decode, encode, records
from continuousflex_dl.core.io.blocks import BlockStore


def squares(first, last):
    return {"value": np.arange(first, last) ** 2, "name": np.array([f"p{i}" for i in range(first, last)])}


def store(tmp_path, total=23, size=5, owner=0, **fingerprint):
    return BlockStore(tmp_path / "blocks", total, size, fingerprint or {"modes": "7,8"}, owner)


def values(blocks, items=1):
    return np.concatenate([arrays["value"] for _, _, arrays in blocks.portions(items)])


def files(tmp_path):
    return sorted((tmp_path / "blocks").glob("*.blocks"))


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
    np.testing.assert_array_equal(values(blocks), np.arange(total) ** 2)
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("items", [1, 5, 7, 12, 100])
def test_portions_are_whole_blocks_in_order(tmp_path, items):
    blocks = store(tmp_path)
    blocks.run(squares, threads=3)
    portions = list(blocks.portions(items))
    assert portions[0][0] == 0
    assert portions[-1][1] == 23
    assert all(before[1] == after[0] for before, after in itertools.pairwise(portions))
    for first, last, arrays in portions:
        assert arrays["name"].tolist() == [f"p{i}" for i in range(first, last)]
        assert last - first < max(items + 5, 6)
        arrays["value"] += 1  # whoever goes through the blocks may change what it was given
    np.testing.assert_array_equal(values(blocks, items), np.arange(23) ** 2)


def test_only_what_is_missing_is_done_again(tmp_path):
    blocks = store(tmp_path)

    def fails(first, last):
        if first == 10:
            raise RuntimeError("killed")
        return squares(first, last)

    with pytest.raises(RuntimeError, match="killed"):
        blocks.run(fails, threads=1)
    done = []
    again = store(tmp_path)
    again.run(lambda first, last: done.append(first) or squares(first, last), threads=1)
    assert 10 in done
    assert 0 not in done
    np.testing.assert_array_equal(values(again), np.arange(23) ** 2)


def test_two_owners_share_a_folder(tmp_path):
    first, second = store(tmp_path), store(tmp_path, owner=1)
    first.run(squares, blocks=range(0, 5, 2))
    assert first.missing() == [1, 3]
    second.run(squares, blocks=range(1, 5, 2))
    assert second.missing() == [0, 2, 4]
    for blocks in (first, second):
        blocks.refresh()
        assert blocks.missing() == []
        np.testing.assert_array_equal(values(blocks), np.arange(23) ** 2)
    assert [path.name[:9] for path in files(tmp_path)] == ["00000-000", "00001-000"]


def test_check_ends_the_work(tmp_path):
    blocks = store(tmp_path, total=500, size=1)
    calls = []

    def check():
        if len(calls) > 3:
            raise RuntimeError("the leader is lost")

    with pytest.raises(RuntimeError, match="the leader is lost"):
        blocks.run(lambda first, last: calls.append(first) or squares(first, last), check=check)
    assert 0 < len(calls) < 500
    assert len(store(tmp_path, total=500, size=1).missing()) == 500 - len(calls)


@pytest.mark.parametrize("lost", [1, 20, 50])
def test_what_a_kill_leaves_at_the_end_is_passed_over(tmp_path, lost, caplog):
    store(tmp_path).run(squares)
    path = files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-lost])
    again = store(tmp_path)
    assert again.missing() == [4]
    assert "unfinished or damaged" in caplog.text
    again.run(squares)
    np.testing.assert_array_equal(values(again), np.arange(23) ** 2)
    assert len(files(tmp_path)) == 2  # nothing is appended to a file with a torn end
    assert store(tmp_path).missing() == []


def test_a_damaged_block_is_done_again(tmp_path, caplog):
    store(tmp_path).run(squares)
    path = files(tmp_path)[0]
    third = list(records(path, skip_damaged=True))[2]
    data = bytearray(path.read_bytes())
    data[third.begin + 30] ^= 1
    path.write_bytes(data)
    done = []
    again = store(tmp_path)
    assert "unfinished or damaged" in caplog.text
    again.run(lambda first, last: done.append(first) or squares(first, last))
    assert done == [10]
    np.testing.assert_array_equal(values(again), np.arange(23) ** 2)


def test_after_a_damaged_head_the_rest_of_the_file_is_done_again(tmp_path):
    store(tmp_path).run(squares)
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[list(records(path, skip_damaged=True))[1].head + 9] ^= 1  # the number of the block
    path.write_bytes(data)
    assert store(tmp_path).missing() == [1, 2, 3, 4]


def test_a_block_that_is_being_written_is_waited_for(tmp_path):
    """On a network file system the arrays may arrive after the head of their record."""
    writer, reader = store(tmp_path, owner=1), store(tmp_path)
    writer.run(squares)
    path = files(tmp_path)[0]
    whole = path.read_bytes()
    second = list(records(path, skip_damaged=True))[1]
    path.write_bytes(whole[: second.begin] + bytes(second.length) + whole[second.end :])
    reader.refresh()
    assert reader.missing() == [1, 2, 3, 4]
    path.write_bytes(whole)
    reader.refresh()
    assert reader.missing() == []


def test_other_settings_are_refused(tmp_path):
    store(tmp_path, modes="7,8")
    with pytest.raises(InputError, match=r"modes '7,8', found '7-9' now"):
        store(tmp_path, modes="7-9")
    with pytest.raises(InputError, match="total"):
        store(tmp_path, total=24, modes="7,8")


def test_a_process_of_an_earlier_run_does_no_harm(tmp_path):
    """It saves into the folder of a run with other settings that was begun in the same place."""
    late = store(tmp_path, modes="7,8")
    shutil.rmtree(tmp_path / "blocks")
    blocks = store(tmp_path, modes="7-9")
    late.save(0, {"value": np.full(5, -1)})
    assert len(store(tmp_path, modes="7-9").missing()) == 5
    blocks.run(squares)
    np.testing.assert_array_equal(values(blocks), np.arange(23) ** 2)


def test_an_unfinished_store_does_not_pass_for_a_result(tmp_path):
    blocks = store(tmp_path)
    blocks.save(0, squares(0, 5))
    with pytest.raises(InputError, match=r"block 1 is missing \(4 in all\)"):
        values(blocks)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"none": np.zeros((0, 3)), "one": np.float32(3.5), "flags": np.array([True, False])},
        {"text": np.array(["a", "längst"]), "bytes": np.array([b"x", b"yz"]), "odd": np.arange(3, dtype=np.int8)},
        {"swapped": np.arange(4, dtype=">f8"), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
    ],
)
def test_arrays_come_back_as_they_were(arrays):
    back = decode(bytearray(encode(arrays)))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == np.asarray(array).dtype
        assert back[name].shape == np.shape(array)
        np.testing.assert_array_equal(back[name], array)


def test_objects_are_refused():
    with pytest.raises(TypeError, match="things: an array of Python objects"):
        encode({"things": np.array([{}])})


def test_a_full_disk_leaves_whole_blocks(tmp_path):
    """The file size limit stands for a disk that is full."""
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from continuousflex_dl.core.io.blocks import BlockStore\n"
        "blocks = BlockStore(Path('blocks'), 50, 5, {'modes': '7,8'})\n"
        "try:\n"
        "    blocks.run(lambda first, last: {'value': np.zeros((last - first, 400))})\n"
        "except OSError as error:\n"
        "    sys.exit(error.errno)\n"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, preexec_fn=limit, check=False)
    assert ended.returncode == 27  # file too large
    found = list(records(files(tmp_path)[0], skip_damaged=False))
    assert len(found) == 2
    assert found[-1].end == files(tmp_path)[0].stat().st_size


def test_files_are_for_the_whole_group(tmp_path):
    previous = os.umask(0o027)
    try:
        made = BlockFile(tmp_path, 3)
    finally:
        os.umask(previous)
    made.append(0, squares(0, 2))
    made.close()
    assert made.path.name == "00003-000.blocks"
    assert made.path.stat().st_mode & 0o777 == 0o640
    assert [record.block for record in records(made.path, skip_damaged=False)] == [0]


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
