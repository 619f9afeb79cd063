"""What the reference gets wrong is measured on refined predictions, and makes their errors larger."""

from dataclasses import replace

import numpy as np
import pytest

from continuousflex_dl.core.deephemnma.refine import Effort, Refinement
from continuousflex_dl.core.hemnma.align import Settings
from continuousflex_dl.core.hemnma.pipeline import Hemnma
from continuousflex_dl.core.particles.stack import ImageStack

COUNT = 48


@pytest.fixture(scope="module")
def refinement(labelled):
    def make(displaced_angst=0.0):
        """Of a reference whose atoms are displaced at random."""
        table, modes = labelled.table.take(np.arange(COUNT)), labelled.modes
        shape = modes.coordinates.shape
        wrong = modes.coordinates + np.random.default_rng(1).normal(scale=displaced_angst / np.sqrt(3), size=shape)
        hemnma = Hemnma(table, ImageStack(table), replace(modes, coordinates=wrong), Settings(max_shift_px=4.0))
        covariance = [[1200.0, 0.0], [0.0, 1200.0]]
        return table, Refinement(hemnma, float(modes.sigma), [0.0, 0.0], covariance, Effort())

    return make


def refined(made, predicted):
    """Factor, and results before and after it was measured."""
    table, refine = made
    start = predicted(table, 4.0, 20.0)
    rows = np.arange(COUNT)
    before = refine(rows, start)
    factor = refine.measure_error(rows, start)
    return factor, before, refine(rows, start)


def test_a_wrong_reference_makes_predicted_errors_larger(refinement, predicted):
    right, _, _ = refined(refinement(), predicted)
    wrong, before, after = refined(refinement(displaced_angst=4.0), predicted)
    assert 1.0 <= right < 1.6
    assert wrong > 1.5 * right
    grown = np.median(after["amplitude_std"] / before["amplitude_std"])
    assert 0.8 * wrong < grown <= 1.1 * wrong  # what the prior says of the amplitudes does not grow


def test_predicted_errors_hold_with_a_wrong_reference(refinement, predicted):
    made = refinement(displaced_angst=4.0)
    _, before, after = refined(made, predicted)
    truth = np.stack([made[0].amplitudes[mode] for mode in (7, 8)], 1)
    ratios = [np.abs(found["amplitudes"] - truth) / found["amplitude_std"] for found in (before, after)]
    before, after = (np.median(ratio) / 0.674 for ratio in ratios)
    assert before > 1.5
    assert 0.5 < after < 1.5
