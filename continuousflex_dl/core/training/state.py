"""The state of a training: all that a resumed run needs to go on as if nothing had happened, in one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from ..io.atomic import atomic_path

FOLDER, STATE = "training", "state.safetensors"


def write_state(
    folder: Path,
    model: nn.Module,
    kept: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    standing: dict[str, Any],
) -> None:
    """Save networks, optimiser and standing.

    Parameters
    ----------
    folder
        Output directory of the training.
    model, kept
        What is trained, and what is validated: the same, or a moving average.
    optimizer
        Of the model.
    best
        Weights of the best network so far.
    standing
        Plain values.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    if kept is not model:
        tensors |= {f"kept.{name}": value for name, value in kept.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    (folder / FOLDER).mkdir(exist_ok=True)
    with atomic_path(folder / FOLDER / STATE) as temporary:
        # names of one tensor (and views) become tensors of their own
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(own, temporary, metadata={"standing": json.dumps(standing)})


def read_state(
    folder: Path,
    model: nn.Module,
    kept: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
) -> dict[str, Any] | None:
    """Put everything back where `write_state` took it from.

    Returns
    -------
    The standing, or None where there is no state.

    Raises
    ------
    InputError
        If the file is damaged, or belongs to another network.
    """
    path = folder / FOLDER / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            standing: dict[str, Any] = json.loads(stream.metadata()["standing"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (not a dictionary)
        model.load_state_dict(_below(tensors, "model."))
        if kept is not model:
            kept.load_state_dict(_below(tensors, "kept."))
        found = _below(tensors, "best.")
        for name, value in best.items():
            value.copy_(found[name])
        _load_moments(optimizer, _below(tensors, "optimizer."))
    except (SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: not the state of this training ({reason}); give the options of the run that is resumed, or "
            "--overwrite to start anew"
        ) from None
    return standing


def minutes_spent(folder: Path) -> float:
    """Wall time in minutes that earlier runs of a training took; 0 where there is no state that can be read."""
    try:
        with safe_open(folder / FOLDER / STATE, framework="pt") as stream:
            return float(json.loads(stream.metadata()["standing"])["minutes"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0.0  # `read_state` says what is wrong with it


def remove_state(folder: Path) -> None:
    """Forget the state: nothing is left to be resumed."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, moment = name.partition(".")
        like = parameters[int(number)]
        # laid out in memory like the parameter, so that the same kernels run
        placed = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(number), {})[moment] = placed
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
