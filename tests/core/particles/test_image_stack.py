"""The lazy image stack."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mrcfile
import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError, MissingDependencyError, NonFiniteError
from continuousflex_dl.core.io import xmipp
from continuousflex_dl.core.io.mrc import write_stack
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.particles.stack import ImageStack


def images(n: int = 5, box: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, box, box)).astype(np.float32)


def table(folder, *names: str, box: int = 6) -> ParticleTable:
    return ParticleTable.create(names, 1.0, folder=folder, box=box)


def write(path, data):
    with write_stack(path, len(data), data.shape[-1], 1.0) as writer:
        writer.append(data)


def test_images_come_in_the_order_asked_for(tmp_path):
    a, b = images(5), images(3, seed=1)
    write(tmp_path / "a.mrcs", a)
    write(tmp_path / "b.mrcs", b)
    stack = ImageStack(table(tmp_path, "3@a.mrcs", "1@b.mrcs", "5@a.mrcs", "3@b.mrcs"))
    assert (len(stack), stack.box) == (4, 6)
    wanted = np.stack([a[2], b[0], a[4], b[2]])
    np.testing.assert_array_equal(stack.read(range(4)), wanted)
    np.testing.assert_array_equal(stack.read([3, 0, 3, 1]), wanted[[3, 0, 3, 1]])
    np.testing.assert_array_equal(stack.read(2), wanted[2:3])
    assert stack.read([]).shape == (0, 6, 6)
    assert stack.read([0]).dtype == np.float32
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stack)).read([1]), wanted[1:2])


def test_threads_read_at_once(tmp_path):
    """More files than stay open, from more threads than there are cores: nobody gets another's images."""
    data = images(90)
    for i, image in enumerate(data):
        write(tmp_path / f"{i}.mrc", image[None])
    stack = ImageStack(table(tmp_path, *(f"{i}.mrc" for i in range(90))))
    orders = [np.random.default_rng(seed).permutation(90) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for order, found in zip(orders, pool.map(stack.read, orders), strict=True):
            np.testing.assert_array_equal(found, data[order])


def test_reading_a_stack_does_not_keep_it(tmp_path):
    """What was read of a stack is no memory of the process, as pages of a memory map would be."""
    box, n = 128, 1500  # 98 MB
    with write_stack(tmp_path / "a.mrcs", n, box, 1.0) as writer:
        for _ in range(n // 50):
            writer.append(np.zeros((50, box, box), np.float32))
    program = (
        "import re, sys, numpy as np\n"
        "from continuousflex_dl.core.io.particle_table import ParticleTable\n"
        "from continuousflex_dl.core.particles.stack import ImageStack\n"
        f"names = [f'{{i + 1}}@a.mrcs' for i in range({n})]\n"
        f"stack = ImageStack(ParticleTable.create(names, 1.0, folder='.', box={box}))\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "stack.read(range(10)); before = peak()\n"
        f"for first in range(0, {n}, 10): stack.read(range(first, first + 10))\n"
        "print((peak() - before) / 1024)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 20


def test_more_files_than_stay_open(tmp_path):
    data = images(70)
    for i, image in enumerate(data):
        write(tmp_path / f"{i}.mrc", image[None])
    stack = ImageStack(table(tmp_path, *(f"{i}.mrc" for i in range(70))))
    np.testing.assert_array_equal(stack.read(range(70)), data)
    np.testing.assert_array_equal(stack.read([0, 69]), data[[0, 69]])


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16])
def test_other_types_become_float32(tmp_path, kind):
    data = (np.abs(images(2)) * 10).astype(kind)
    mrcfile.write(tmp_path / "a.mrcs", data)
    read = ImageStack(table(tmp_path, "1@a.mrcs", "2@a.mrcs")).read([0, 1])
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, data)


def test_subset_needs_only_its_own_files(tmp_path):
    write(tmp_path / "a.mrcs", images())
    whole = table(tmp_path, "1@a.mrcs", "1@gone.mrcs")
    with pytest.raises(InputError, match=r"gone.mrcs: cannot be read"):
        ImageStack(whole)
    assert len(ImageStack(whole.take([0]))) == 1


def test_files_that_do_not_fit(tmp_path):
    write(tmp_path / "a.mrcs", images())
    write(tmp_path / "b.mrcs", images(box=8))
    mrcfile.write(tmp_path / "c.mrcs", np.zeros((2, 4, 6), np.float32))
    with pytest.raises(InputError, match="row 1, _rlnImageName: asks for image 6"):
        ImageStack(table(tmp_path, "6@a.mrcs"))
    with pytest.raises(InputError, match=r"b.mrcs: found a box of 8 px, but .*a.mrcs has 6 px"):
        ImageStack(table(tmp_path, "1@a.mrcs", "1@b.mrcs"))
    with pytest.raises(InputError, match="6 x 4 px, expected square"):
        ImageStack(table(tmp_path, "1@c.mrcs"))
    with pytest.raises(InputError, match=r"row 2, .*holds 5 images, expected one"):
        ImageStack(table(tmp_path, "1@a.mrcs", "a.mrcs"))
    (tmp_path / "a.mrcs").write_bytes((tmp_path / "a.mrcs").read_bytes()[:-1])
    with pytest.raises(InputError, match="cut off: 4 of 5"):
        ImageStack(table(tmp_path, "5@a.mrcs"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_named(tmp_path, value):
    data = images()
    data[3, 2, 2] = value
    write(tmp_path / "a.mrcs", data)
    stack = ImageStack(table(tmp_path, "1@a.mrcs", "4@a.mrcs"))
    stack.read([0])
    with pytest.raises(NonFiniteError, match=r"row 2, .*image 4 of .*a.mrcs holds NaN or infinite"):
        stack.read([0, 1])


def test_sign_of_cryosparc_images_is_applied(shared_data):
    star, cs = (
        ImageStack(read_particles(shared_data / f"particles/cryodrgn/empiar_10076_7.{kind}")) for kind in ("star", "cs")
    )
    np.testing.assert_array_equal(star.read([0, 6]), -cs.read([0, 6]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # no map ID and no machine stamp in this real header
def test_real_stack_equals_mrcfile(shared_data):
    source = shared_data / "particles/cryodrgn/relion31"
    with mrcfile.open(source.with_suffix(".mrcs"), permissive=True) as mrc:
        np.testing.assert_array_equal(
            ImageStack(read_particles(source.with_suffix(".star"))).read([4, 0]), mrc.data[[4, 0]]
        )


def test_xmipp_formats(tmp_path):
    pytest.importorskip("xmippLib", reason="pyxmipp3 is not installed")
    data = images(2)
    for i, image in enumerate(data):
        xmipp.write_image(f"{i + 1}@{tmp_path}/a.stk", image)
    assert xmipp.available()
    stack = ImageStack(table(tmp_path, "2@a.stk", "1@a.stk"))
    np.testing.assert_allclose(stack.read([1, 0]), data, rtol=1e-6)
    with pytest.raises(InputError, match="Xmipp cannot read it"):
        ImageStack(table(tmp_path, "7@a.stk"))


def test_xmipp_formats_without_xmipp(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xmippLib", None)
    assert not xmipp.available()
    with pytest.raises(MissingDependencyError, match="convert the images to MRC, or install pyxmipp3"):
        ImageStack(table(tmp_path, "1@a.stk"))
