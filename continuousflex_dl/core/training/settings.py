"""How a network is trained, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of the loop.

    Attributes
    ----------
    steps
        Batches in all.
    validate_every
        Steps between validations; a row of the loss curves each.
    learning_rate
        At its highest.
    weight_decay
        See `decoupled`.
    decoupled
        AdamW; otherwise Adam, whose decay is a penalty on the square of the weights (L2).
    schedule
        ``cosine`` falls to zero at the end; ``staircase`` is divided by ten every `stair_steps`; ``constant``.
    warmup_steps
        Steps over which the rate rises from zero.
    clip_norm
        Longest gradient; 0 for no limit.
    average
        Decay per step of the moving average of the weights that is validated and kept; 0 for the weights themselves.
    patience
        Validations without improvement after which training stops; 0 to go on to the end.
    max_minutes
        Wall time in all, resumed runs included; the schedule then ends when either steps or time do.
    save_minutes
        Wall time between saves of the state that `--resume` continues from; it is saved at every validation as well.
    seed
        Of dropout and the like. Batches come from the task, which has a seed of its own.
    dtype
        Of the matrix products: float32, or bfloat16 for mixed precision.
    """

    steps: int
    validate_every: int
    learning_rate: float
    weight_decay: float = 0.0
    decoupled: bool = True
    schedule: Literal["cosine", "staircase", "constant"] = "cosine"
    stair_steps: int = 1
    warmup_steps: int = 0
    clip_norm: float = 0.0
    average: float = 0.0
    patience: int = 0
    max_minutes: float | None = None
    save_minutes: float = 5.0
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def rate(self, step: int, minutes: float) -> float:
        """Learning rate of a step (0-based), `minutes` after the start."""
        rising = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "staircase":
            return self.learning_rate * rising * 0.1 ** (step // self.stair_steps)
        if self.schedule == "constant":
            return self.learning_rate * rising
        done = step / self.steps
        if self.max_minutes is not None:
            done = max(done, min(1.0, minutes / self.max_minutes))
        return self.learning_rate * rising * 0.5 * (1.0 + math.cos(math.pi * done))

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        # fused: all moments of a weight are read once, which is half the time of a step of the published networks
        return kind(list(parameters), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
