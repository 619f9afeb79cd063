"""Labelled particles of a small flexible structure, and a small network that has learned from them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from continuousflex_dl.cli.main import main
from continuousflex_dl.core.deephemnma.learning import Request, prepare
from continuousflex_dl.core.deephemnma.presets import PRESETS
from continuousflex_dl.core.dynamics.modes import NormalModes
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.core.training.loop import train
from continuousflex_dl.core.training.settings import TrainingSettings

CPU = torch.device("cpu")
STRUCTURE = Path(__file__).resolve().parents[3] / "examples" / "adk_4ake_A.pdb"
SMALL = replace(PRESETS["default"], batch=32, network_box=32, radii=16, angles=32, widths=(16, 32, 64, 128))


@dataclass(frozen=True)
class Set:
    """Particles with their truth, and the modes."""

    folder: Path
    table: ParticleTable
    stack: ImageStack
    modes: NormalModes

    def prepared(self, preset=SMALL, table=None, **request):
        """A training of these particles."""
        asked = {"modes": (7, 8), "source": "labelled", "test": 0.0, **request}
        table = table or self.table
        return prepare(
            table, ImageStack(table), self.modes, preset, Request(**asked), batch_size=preset.batch,
            dtype=torch.float32, device=CPU,
        )  # fmt: skip

    @staticmethod
    def train(prepared, folder, steps, preset=SMALL):
        """A network trained for so many steps, on one thread; and how it ended."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.manual_seed(0)
        description = prepared.learning.description
        box, radius = description["preparation"]["network_box"], description["radius_px"]
        model = preset.build(len(description["modes"]), box, radius)
        settings = TrainingSettings(
            steps=steps,
            validate_every=max(1, steps // 2),
            learning_rate=1e-3,
            weight_decay=1e-2,
            warmup_steps=10,
            clip_norm=1,
        )
        outcome = train(model, prepared.learning, settings, folder, device=CPU)
        torch.set_num_threads(before)
        return model, outcome


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> Set:
    folder = tmp_path_factory.mktemp("deephemnma")
    network = ["--representation", "ca-p", "--block-size", "0", "--cutoff", "12", "--n-modes", "13"]
    assert main(["nma", str(STRUCTURE), "-o", str(folder / "nma"), *network]) == 0
    images = ["--n-particles", "600", "--box", "40", "--pixel-size", "2.4", "--shift-px", "2", "--snr", "2"]
    law = ["--use", "7,8", "--law", "uniform", "--amplitude", "60"]
    assert main(["simulate", str(folder / "nma" / "modes.npz"), "-o", str(folder / "images"), *images, *law]) == 0
    table = read_particles(folder / "images" / "truth.star")
    return Set(folder, table, ImageStack(table), read_modes(folder / "nma" / "modes.npz").select((7, 8)))


@pytest.fixture(scope="session")
def learned(labelled, tmp_path_factory):
    """Folder and network of a training on nothing but rendered particles, validated on real ones."""
    from continuousflex_dl.cli.held_out import calibrate_and_write
    from continuousflex_dl.core.deephemnma.predict import Network

    folder = tmp_path_factory.mktemp("network")
    prepared = labelled.prepared(source="rendered")
    model, _ = labelled.train(prepared, folder, 200)
    calibrate_and_write(folder, prepared, model, labelled.table, torch.float32)
    return folder, Network.read(folder, CPU)


@pytest.fixture
def predicted():
    """Makes predictions that are off by so many degrees and Å."""

    def make(table, angle_deg, amplitude):
        generator = np.random.default_rng(0)
        count = len(table)
        amplitudes = np.stack([table.amplitudes[mode] for mode in (7, 8)], 1)
        return {
            "euler_deg": table.euler_deg + generator.normal(scale=angle_deg, size=(count, 3)),
            "shift_angst": table.shift_angst + generator.normal(scale=0.5, size=(count, 2)),
            "amplitudes": amplitudes + generator.normal(scale=amplitude, size=(count, 2)),
            "amplitude_std": np.full((count, 2), amplitude),
            "angle_std_deg": np.full(count, angle_deg),
            "shift_std_angst": np.full(count, 0.5),
            "confidence": np.ones(count),
            "converged": np.ones(count, dtype=bool),
        }

    return make
