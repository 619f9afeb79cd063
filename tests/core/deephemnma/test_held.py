"""Amplitudes are refined at poses that stay, and poses of conformations that stay."""

import numpy as np
import pytest

from continuousflex_dl.core.deephemnma.refine import Effort, Refinement
from continuousflex_dl.core.hemnma.align import Settings
from continuousflex_dl.core.hemnma.pipeline import Hemnma
from continuousflex_dl.core.metrics import axis_distance_deg


@pytest.fixture(scope="module")
def refinement(labelled):
    def make(estimate):
        from continuousflex_dl.core.particles.stack import ImageStack

        table = labelled.table.take(np.arange(12))
        hemnma = Hemnma(table, ImageStack(table), labelled.modes, Settings(max_shift_px=4.0))
        covariance = [[1200.0, 0.0], [0.0, 1200.0]]
        return table, Refinement(hemnma, 3.0, [0.0, 0.0], covariance, Effort(), estimate)

    return make


def amplitude_error(table, found):
    truth = np.stack([table.amplitudes[mode] for mode in (7, 8)], 1)
    return np.abs(found["amplitudes"] - truth).mean()


def axis_error(table, found):
    from continuousflex_dl.core.conventions import matrix_from_euler

    return axis_distance_deg(matrix_from_euler(found["euler_deg"]), matrix_from_euler(table.euler_deg)).mean()


def test_amplitudes_at_given_poses(refinement, predicted):
    table, refine = refinement("amplitudes")
    start = predicted(table, 5.0, 25.0)
    found = refine(np.arange(12), start)
    np.testing.assert_allclose(axis_error(table, found), 0.0, atol=1e-3)
    np.testing.assert_allclose(found["shift_angst"], table.shift_angst, atol=1e-4)
    assert amplitude_error(table, found) < 0.4 * amplitude_error(table, start)
    assert (found["amplitude_std"] > 0).all()
    assert (found["angle_std_deg"] == 0).all()


def test_poses_of_given_conformations(refinement, predicted):
    table, refine = refinement("poses")
    start = predicted(table, 5.0, 25.0)
    found = refine(np.arange(12), start)
    assert amplitude_error(table, found) < 1e-3
    assert axis_error(table, found) < 0.4 * axis_error(table, start)
    assert (found["amplitude_std"] == 0).all()


@pytest.mark.parametrize(("error_deg", "work"), [(5.0, 1), (7.0, 2)])
def test_all_together_beats_the_prediction(refinement, predicted, error_deg, work):
    table, refine = refinement("all")
    start = predicted(table, error_deg, 25.0)
    found = refine(np.arange(12), start)
    assert (found["refined"] == work).all()
    assert axis_error(table, found) < 0.4 * axis_error(table, start)
    assert amplitude_error(table, found) < 0.6 * amplitude_error(table, start)
