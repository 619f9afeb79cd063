"""Curvature corrected by a step: what it must keep and what it must learn."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.hemnma.secant import Secant


def curvatures(seed, count=4, size=5):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, size, size, generator=generator, dtype=torch.float64)
    return root @ root.transpose(-1, -2) + 0.1 * torch.eye(size, dtype=torch.float64), generator


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_step_is_explained_and_the_curvature_stays_positive(seed):
    curvature, generator = curvatures(seed)
    truth, _ = curvatures(seed + 1)
    step = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    change = (truth @ step[..., None])[..., 0]
    corrected = Secant(step, change).corrected(curvature)
    assert torch.allclose(corrected, corrected.transpose(-1, -2))
    assert (torch.linalg.eigvalsh(corrected) > 0).all()
    # where the change was not too small to be believed it is what the corrected curvature gives
    believed = (step * change).sum(-1) > 0.2 * (step * (curvature @ step[..., None])[..., 0]).sum(-1)
    assert torch.allclose((corrected @ step[..., None])[believed, :, 0], change[believed], rtol=1e-6, atol=1e-6)


def test_across_the_step_nothing_changes():
    curvature = torch.eye(3, dtype=torch.float64)[None]
    step = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    corrected = Secant(step, 0.5 * step).corrected(curvature)
    assert torch.allclose(corrected, torch.diag(torch.tensor([0.5, 1.0, 1.0], dtype=torch.float64))[None])


def test_a_gradient_that_turned_back_leaves_a_fifth_of_the_curvature():
    curvature = 2 * torch.eye(2, dtype=torch.float64)[None]
    step = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    corrected = Secant(step, -3.0 * step).corrected(curvature)
    assert torch.allclose(corrected, torch.diag(torch.tensor([0.4, 2.0], dtype=torch.float64))[None])


def test_without_a_step_the_curvature_is_left_alone():
    curvature, _ = curvatures(3)
    nothing = torch.zeros(4, 5, dtype=torch.float64)
    assert torch.equal(Secant(nothing, nothing).corrected(curvature), curvature)


def test_refinement_that_gauss_newton_makes_slow_ends_sooner():
    # a residual that takes 60 % of the curvature along one direction: the steps of Gauss-Newton are too short
    curvature = torch.diag(torch.tensor([1.0, 1.0], dtype=torch.float64))[None]
    truth = torch.diag(torch.tensor([0.4, 1.0], dtype=torch.float64))
    place = {"plain": torch.tensor([[3.0, 2.0]], dtype=torch.float64)}
    place["secant"] = place["plain"].clone()
    secant = None
    for _ in range(4):
        place["plain"] = place["plain"] - place["plain"] @ truth
        gradient = place["secant"] @ truth
        used = curvature if secant is None else secant.corrected(curvature)
        step = -torch.linalg.solve(used, gradient[..., None])[..., 0]
        place["secant"] = place["secant"] + step
        secant = Secant(step, place["secant"] @ truth - gradient)
    assert place["secant"].norm() < 0.01 < 0.3 < place["plain"].norm()
