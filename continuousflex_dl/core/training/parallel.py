"""Training by several processes: torch's DistributedDataParallel among those that torchrun (srun, mpirun) started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..distributed import Place


@contextmanager
def group(place: Place, device: torch.device, folder: Path) -> Iterator[None]:
    """Connect the processes of a run while the context lasts.

    Parameters
    ----------
    place
        This process.
    device
        Decides what carries the messages: NCCL between GPUs, gloo between CPUs.
    folder
        That all processes see: they meet in a file there where the launcher names no address (torchrun does).
    """
    if place.alone:
        yield
        return
    meeting = "env://" if place.launcher == "torchrun" else f"file://{(folder / '.cflex-meeting').absolute()}"
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)  # messages about plain objects go through the current GPU
    dist.init_process_group(backend, init_method=meeting, rank=place.rank, world_size=place.size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        if place.leads:
            (folder / ".cflex-meeting").unlink(missing_ok=True)


def shared_by(model: nn.Module, device: torch.device, place: Place) -> nn.Module:
    """The network with its gradients averaged over all processes."""
    if place.alone:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def any_of(flags: Sequence[bool], place: Place) -> tuple[bool, ...]:
    """For each flag, whether it is set in any process; all then do the same."""
    if place.alone:
        return tuple(flags)
    everywhere: list[Sequence[bool] | None] = [None] * place.size
    dist.all_gather_object(everywhere, tuple(flags))
    return tuple(any(one) for one in zip(*(each for each in everywhere if each is not None), strict=True))


def same_for_all(figures: dict[str, float], place: Place) -> dict[str, float]:
    """What the process that leads has found, so that all decide alike."""
    if place.alone:
        return figures
    told = [figures]
    dist.broadcast_object_list(told, src=0)
    return told[0]
