"""What the step before has shown of the curvature, for faint particles.

Gauss-Newton leaves out how the slopes themselves change, times the residual. Where the residual is mostly noise that
is no small part: the refinement then takes steps that are too short or too long, each a fixed share of the one before.
One secant mends it (a structured quasi-Newton method; Nocedal & Wright, Numerical Optimization, 2006, ch. 10.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 0.2  # of the curvature that Gauss-Newton expects along the step (Powell 1978): it must stay positive


@dataclass(frozen=True)
class Secant:
    """A step that hypotheses took (or tried), and what became of the gradient.

    Attributes
    ----------
    step
        (h, P) in the units of the refinement, float64; zero where nothing is known.
    change
        (h, P) gradient after the step less that before it, float64.
    """

    step: Tensor
    change: Tensor

    def take(self, index: Tensor) -> Secant:
        """Those at `index`."""
        return Secant(self.step[index], self.change[index])

    def corrected(self, curvature: Tensor) -> Tensor:
        """Curvature (h, P, P) that explains what happened along the step, and is as it was across (BFGS update)."""
        expected = (curvature * self.step[:, None]).sum(-1)
        whole = (self.step * expected).sum(-1, keepdim=True)
        found = (self.step * self.change).sum(-1, keepdim=True)
        wanting = (found < _LEAST * whole) & (whole > found)
        share = torch.where(wanting, (1.0 - _LEAST) * whole / (whole - found).clamp(min=1e-300), 1.0)
        change = share * self.change + (1.0 - share) * expected
        along = (self.step * change).sum(-1, keepdim=True)
        known = (whole > 0) & (along > 0)
        before = torch.where(known, expected / torch.sqrt(whole.clamp(min=1e-300)), 0.0)
        after = torch.where(known, change / torch.sqrt(along.clamp(min=1e-300)), 0.0)
        return curvature - before[:, :, None] * before[:, None] + after[:, :, None] * after[:, None]
