"""The deformable reference and its coarser versions."""

import numpy as np
import torch

from continuousflex_dl.core.hemnma.reference import Reference
from continuousflex_dl.core.imaging.fourier import Disc
from continuousflex_dl.core.imaging.gaussian import form_factor, project


def coefficients(reference, amplitudes, disc, pixel=3.0):
    x, y, _ = (reference.deformed(amplitudes) / pixel).unbind(-1)
    return project(x, y, reference.weights, disc) * form_factor(disc, reference.sigma, pixel)


def test_centre_is_the_unweighted_mean(model):
    reference = Reference.from_arrays(model[0] + 7.0, *model[1:], 2.0)
    assert reference.coordinates.mean(0).abs().max() < 1e-5
    assert float(reference.weights.sum()) == np.float32(1.0) or abs(float(reference.weights.sum()) - 1) < 1e-5


def test_an_amplitude_moves_by_itself_over_root_n(reference):
    moved = reference.deformed(torch.tensor([24.0, 0.0])) - reference.coordinates
    rmsd = float((moved**2).sum(-1).mean().sqrt())
    np.testing.assert_allclose(rmsd, 24.0 / reference.amplitude_unit, rtol=1e-5)


def test_coarse_reference_projects_the_same_at_low_resolution(reference):
    coarse = reference.coarsened(6.0)
    assert coarse.n_atoms < reference.n_atoms
    disc = Disc.make(40, 7)
    amplitudes = torch.tensor([20.0, -15.0])
    a, b = coefficients(reference, amplitudes, disc), coefficients(coarse, amplitudes, disc)
    correlation = (a.conj() * b).real.sum() / (a.abs().norm() * b.abs().norm())
    assert float(correlation) > 0.998
    np.testing.assert_allclose(float(coarse.weights.sum()), 1.0, rtol=1e-5)


def test_cells_smaller_than_bonds_change_nothing(reference):
    assert reference.coarsened(1e-3) is reference
