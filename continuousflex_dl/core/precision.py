"""Number format of large matrix products where a few digits are enough."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch


def product_dtype(device: torch.device, choice: str = "auto") -> torch.dtype:
    """float32, or bfloat16 where the processor multiplies matrices of it faster.

    Parameters
    ----------
    device
        Where the products are computed.
    choice
        ``full`` for float32, ``mixed`` for bfloat16, ``auto`` for what the processor does best.
    """
    if choice == "full":
        return torch.float32
    if choice == "mixed":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


@cache
def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
