"""The same particles in two results: found by file and section, however the particle files name and order them."""

import time

import numpy as np
import pytest

from continuousflex_dl.core.io.image_files import ImageLocations
from continuousflex_dl.core.space.links import Link


def images(stacks, numbers, sections):
    count = len(sections)
    return ImageLocations(tuple(stacks), np.asarray(numbers), np.asarray(sections), np.ones(count, dtype=bool))


def names_of(located):
    return [(located.stacks[k], s) for k, s in zip(located.stack_number, located.stack_index, strict=True)]


def test_selection_is_carried_to_the_same_images():
    rng = np.random.default_rng(0)
    first = images(["/d/a.mrcs", "/d/b.mrcs"], rng.integers(0, 2, 500), rng.permutation(500))
    chosen = rng.permutation(500)[:300]
    # stacks in another order, a stack more, particles that the first does not have
    second = images(
        ["/d/b.mrcs", "/d/c.mrcs", "/d/a.mrcs"],
        np.concatenate([np.array([2, 0])[first.stack_number[chosen]], np.ones(50, dtype=int)]),
        np.concatenate([first.stack_index[chosen], np.arange(50)]),
    )
    link = Link.between(first, second)
    assert link.shared == 300
    assert link.turned.shared == 300
    mask = rng.random(500) < 0.4
    selected = {name for name, there in zip(names_of(first), mask, strict=True) if there}
    np.testing.assert_array_equal(link.carried(mask), [name in selected for name in names_of(second)])
    back = link.turned.carried(link.carried(mask))
    np.testing.assert_array_equal(back, mask & np.isin(np.arange(500), chosen))


def test_links_and_copies(tmp_path):
    """A link is the same file; a copy elsewhere is known by its name where no file is shared, and only then."""
    (tmp_path / "a.mrcs").touch()
    (tmp_path / "link.mrcs").symlink_to(tmp_path / "a.mrcs")
    first = images([str(tmp_path / "a.mrcs")], [0, 0, 0], [0, 1, 2])
    assert Link.between(first, images([str(tmp_path / "link.mrcs")], [0, 0], [2, 7])).shared == 1
    assert Link.between(first, images(["/copy/a.mrcs"], [0, 0], [1, 2])).shared == 2
    assert Link.between(first, images(["/copy/b.mrcs"], [0, 0], [1, 2])).shared == 0
    both = images([str(tmp_path / "a.mrcs"), "/copy/a.mrcs"], [0, 1], [0, 1])
    assert Link.between(first, both).shared == 1
    # two stacks of one name: nobody can tell which is meant
    assert Link.between(first, images(["/x/a.mrcs", "/y/a.mrcs"], [0, 1], [0, 1])).shared == 0


def test_an_image_twice_is_marked_twice():
    first = images(["/d/a.mrcs"], [0, 0, 0], [5, 6, 7])
    second = images(["/d/a.mrcs"], [0, 0, 0, 0], [6, 6, 5, 9])
    np.testing.assert_array_equal(Link.between(first, second).carried(np.array([False, True, False])), [1, 1, 0, 0])


def test_a_million_particles():
    rng = np.random.default_rng(0)
    stacks = [f"/nowhere/stack_{k}.mrcs" for k in range(1000)]
    place = rng.permutation(1_000_000)
    first = images(stacks, np.arange(1_000_000) // 1000, np.arange(1_000_000) % 1000)
    second = images(stacks, place // 1000, place % 1000)
    begin = time.process_time()
    link = Link.between(first, second)
    matched = time.process_time() - begin
    mask = rng.random(1_000_000) < 0.3
    begin = time.process_time()
    carried = link.carried(mask)
    assert time.process_time() - begin < 0.3
    assert matched < 5
    np.testing.assert_array_equal(carried, mask[place])
    assert link.shared == 1_000_000


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nothing_in_common(order):
    pair = [images(["/d/a.mrcs"], [0], [0]), images(["/e/b.mrcs"], [0, 0], [0, 1])]
    link = Link.between(*(pair[k] for k in order))
    assert link.shared == 0
    assert not link.carried(np.ones(len(link.first), dtype=bool)).any()
