"""What is measured on which images."""

from types import SimpleNamespace

import numpy as np
import pytest

from continuousflex_dl.core.hemnma import pipeline
from continuousflex_dl.core.hemnma.pipeline import Calibration, Hemnma


@pytest.mark.parametrize(("factor", "images"), [(2.0, [128]), (1.2, [128, 300])])
def test_a_model_error_near_one_is_measured_on_more_images(monkeypatch, factor, images):
    """Of 128 images a factor of 1.2 is known to a tenth only, which decides what is made of faint particles."""
    asked = []

    def measured(reference, probes, observation, prior, *pose, threads):
        asked.append(observation)
        return factor

    monkeypatch.setattr(pipeline, "probe_inflation", measured)
    hemnma = SimpleNamespace(
        _probes=np.zeros((4, 9, 3)),
        group=np.zeros(300, dtype=int),
        reference=lambda *_: None,
        observe=lambda members, group: len(members),
        _pose=lambda found, group: [],
    )
    before = Calibration(1.5, [[4.0, 2.0]], 2.0, [0.0], [[1.0]])
    found = {name: np.zeros(300) for name in pipeline._KNOWN}
    after = Hemnma._corrected(hemnma, before, np.arange(300), found, threads=1)
    assert asked == images
    assert after.inflation == factor
    # the noise counts the model error: what it counted before is taken back
    np.testing.assert_allclose(after.noise, np.array([[4.0, 2.0]]) * (factor / 2.0) ** 2)
