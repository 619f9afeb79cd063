"""``cflex cryovit train`` and ``cflex cryovit infer``: one structure per particle image."""

from __future__ import annotations

from .cryovit_infer import run_cryovit_infer
from .cryovit_train import run_cryovit_train

MANY_PROCESSES = True  # training shares each batch among the processes, the fitting of particles their blocks

__all__ = ["MANY_PROCESSES", "run_cryovit_infer", "run_cryovit_train"]
