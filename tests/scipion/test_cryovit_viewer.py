"""Figures of Cryo-ViT results are made without a screen."""

import matplotlib

matplotlib.use("Agg")

import h5py
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from continuousflex_dl.convert import ConversionError
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.particles import write_star
from continuousflex_dl.viewers.viewer_cryovit import curves_figure, latent_figure


def test_latents_and_costs_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["latent"] = rng.normal(size=(20, 4))
    names = [f"{number + 1:06d}@p.mrcs" for number in range(20)]
    table = ParticleTable.create(names, 2.0, folder=tmp_path, box=16, ctf=None)
    write_star(tmp_path / "p.star", table.with_results(score=rng.uniform(size=20)))
    (tmp_path / "p.mrcs").touch()
    (tmp_path / "loss.csv").write_text("step,learning_rate,loss,train_loss\n1,0.1,3,4\n2,0.1,2,3\n")
    for figure in (latent_figure(tmp_path / "c.h5", tmp_path / "p.star"), curves_figure(tmp_path / "loss.csv")):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        assert np.asarray(canvas.buffer_rgba())[..., :3].std() > 0


def test_a_result_without_latents_is_said(tmp_path):
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["coordinates"] = np.zeros((2, 3, 3))
    with pytest.raises(ConversionError, match="expected the latents"):
        latent_figure(tmp_path / "c.h5", tmp_path / "p.star")
