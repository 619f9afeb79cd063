"""Figures of a training, from the tables that it writes."""

import csv

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from continuousflex_dl.convert import ConversionError
from continuousflex_dl.viewers.viewer_deephemnma import angle_figure, held_out_figure, training_figure


@pytest.fixture
def tables(tmp_path):
    """Curves of five validations and twenty held-out particles, predicted with an error of 2 Å."""
    generator = np.random.default_rng(0)
    curves = [
        {
            "step": 10 * n,
            "learning_rate": 1e-3,
            "train_loss": 2 / n,
            "train_error": 1.0,
            "loss": 3 / n,
            "angle_deg": 90 / n,
        }
        for n in range(1, 6)
    ]
    held = []
    for number in range(20):
        label = float(generator.normal(scale=50))
        held.append(
            {
                "image": f"{number + 1}@p.mrcs", "set": "test", "mode7_label": label, "mode7": label + 2,
                "origin_x_label": 1.0, "origin_x": 1.5, "origin_y_label": 0.5, "origin_y": 0.5,
                "angle_error_deg": 3.0 + number, "angle_std_deg": 2.0,
            }
        )  # fmt: skip
    for name, rows in (("loss.csv", curves), ("held_out.csv", held)):
        with open(tmp_path / name, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return tmp_path


def lines_of(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_training_and_validation_share_a_panel(tables):
    loss, angle, error = training_figure(str(tables / "loss.csv")).axes
    np.testing.assert_allclose(lines_of(loss)["training"], [2, 1, 2 / 3, 0.5, 0.4])
    np.testing.assert_allclose(lines_of(loss)["validation"], [3, 1.5, 1, 0.75, 0.6])
    assert list(lines_of(angle)) == ["validation"]
    assert list(lines_of(error)) == ["training"]


def test_predictions_stand_against_their_labels(tables):
    panels = held_out_figure(str(tables / "held_out.csv")).axes
    assert [axes.get_title() for axes in panels] == [
        "mode 7 (Å): mean error 2", "shift x (Å): mean error 0.5", "shift y (Å): mean error 0",
    ]  # fmt: skip
    points = panels[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1] - points[:, 0], 2.0)
    assert len(angle_figure(str(tables / "held_out.csv")).axes) == 1


def test_what_is_not_there_yet_is_said(tmp_path):
    with pytest.raises(ConversionError, match="before the first validation"):
        training_figure(str(tmp_path / "loss.csv"))
    with pytest.raises(ConversionError, match="held out"):
        held_out_figure(str(tmp_path / "held_out.csv"))
