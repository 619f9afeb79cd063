"""``cflex deephemnma train`` and ``cflex deephemnma infer``: amplitudes and poses read off images by a network."""

from __future__ import annotations

from .deephemnma_infer import run_deephemnma_infer
from .deephemnma_train import run_deephemnma_train

__all__ = ["run_deephemnma_infer", "run_deephemnma_train"]

MANY_PROCESSES = True  # training shares each batch among the processes, inference the blocks
