"""What real ribosome images say of their pixel size and poses (the first part of benchmarks/ribosome.py)."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from continuousflex_dl.core.imaging.rotations import rotation_grid
from continuousflex_dl.core.io.modes import read_modes

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def ribosome():
    spec = importlib.util.spec_from_file_location("ribosome", BENCHMARKS / "ribosome.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ribosome"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ribosome"]


@pytest.fixture(scope="module")
def modes(ribosome, shared_data, tmp_path_factory):
    return read_modes(ribosome.reference_modes(shared_data, tmp_path_factory.mktemp("ribosome")))


@pytest.fixture(scope="module")
def some_frames():
    grid = rotation_grid(20.0).float()
    return grid[torch.randperm(len(grid), generator=torch.Generator().manual_seed(3))[:150]]


def test_images_reject_the_pixel_size_of_their_star_file(ribosome, shared_data, modes, some_frames):
    found = {}
    for pixel in (ribosome.IN_STAR, ribosome.BY_NAME):
        scene = ribosome.Scene.read(shared_data, modes, pixel)
        found[pixel] = scene.detection(scene.projector(False), some_frames[:20], scene.rotations).mean()
    assert found[ribosome.BY_NAME] > 5
    assert abs(found[ribosome.IN_STAR]) < 1.5


def test_deposited_poses_belong_to_the_images(ribosome, shared_data, modes, some_frames):
    """Images of a tilt series agree with the reference in the same frames, which shuffled poses average out.

    That says nothing of the frame in which the series belong together: that is not found (docs/fitting.md).
    """
    scene = ribosome.Scene.read(shared_data, modes, ribosome.BY_NAME)
    projector = scene.projector(False)
    order = torch.randperm(len(scene.rotations), generator=torch.Generator().manual_seed(0))
    true, shuffled = (
        scene.detection(projector, some_frames, images) for images in (scene.rotations, scene.rotations[order])
    )
    assert true.std() > 1.3 * shuffled.std()
    assert true.max() > shuffled.max()
