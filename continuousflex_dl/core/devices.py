"""Choice of the device and of the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from .errors import InputError


def resolve_device(name: str, local_rank: int = 0) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device.

    Parameters
    ----------
    name
        What the user asked for.
    local_rank
        Number of this process among those of the same run on this computer: ``auto`` and ``cuda`` share the GPUs that
        are visible among them.

    Raises
    ------
    InputError
        If a GPU is asked for and absent: a run that was meant for a GPU must not crawl on a CPU unnoticed.
    """
    if name == "cpu":
        return torch.device("cpu")
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", local_rank % available) if available else torch.device("cpu")
    index = int(name.partition(":")[2]) if ":" in name else local_rank % max(available, 1)
    if index >= available:
        raise InputError(
            f"--device {name}: this machine has {available} usable CUDA device(s); "
            "use --device cpu or auto, or check the driver and CUDA_VISIBLE_DEVICES"
        )
    return torch.device("cuda", index)


@contextmanager
def one_core_each() -> Iterator[None]:
    """Let every thread compute on one core while blocks of work run side by side.

    The result is then the same whatever the number of threads, and no core waits for work in a loop, as the threads of
    NumPy's BLAS do: they took a third of the CPU time of an alignment.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let the C allocator keep freed memory instead of giving it back to the system at once.

    Alignment allocates and frees arrays of megabytes all the time; returned to the system, every one of them has to be
    paged in anew, which costs a quarter of the time. All threads share one arena, because those of their own are taken
    apart again whatever the thresholds. Does nothing where the allocator is not glibc's.
    """
    import ctypes

    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # <malloc.h>
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(m_arena_max, 1)
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        return
