"""The training loop: batches, steps, validation, the best network kept, and a state that a killed run goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..distributed import ALONE, Place
from ..errors import InputError, NonFiniteError
from ..progress import Progress, silent
from .checkpoint import write_checkpoint
from .curves import Row, write_curves
from .parallel import any_of, same_for_all, shared_by
from .settings import TrainingSettings
from .state import read_state, write_state


class Task(Protocol):
    """What is learned: a method gives one.

    Attributes
    ----------
    description
        Plain values for ``model.json``: options, statistics, label scaling; enough to rebuild and to use the network.
    """

    description: dict[str, Any]

    def batch(self, step: int) -> Any:
        """Batch of a step (0-based), a function of the step alone: its seed comes from there, and from the place."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss to be minimised, and its parts; uses the network only by calling it, so that processes can share it."""
        ...

    def validate(self, model: nn.Module) -> Row:
        """Figures on particles that are not trained on, ``loss`` among them: the network with the least is kept."""
        ...


@dataclass(frozen=True)
class Standing:
    """Where a training stands; with the tensors this is all that a resumed run needs.

    Attributes
    ----------
    step
        Steps done.
    best_step
        When the best network was found; -1 for none.
    minutes
        Wall time, resumed runs included.
    rows
        Of the loss curves.
    sums
        Of the training figures since the last validation.
    options
        What a resumed run must have in common with this one.
    """

    step: int = 0
    best_step: int = -1
    minutes: float = 0.0
    rows: tuple[Row, ...] = ()
    sums: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Row:
        """Figures of the best network so far."""
        return next((row for row in self.rows if row["step"] == self.best_step), {"loss": math.inf})


@dataclass(frozen=True)
class Outcome:
    """How a training ended: ``steps``, ``time``, ``patience``, or ``interrupted`` where `stop` said so."""

    reason: str
    standing: Standing

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.reason != "interrupted"


def train(
    model: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    *,
    device: torch.device,
    place: Place = ALONE,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train a network; the best one is written to `folder` (`core.training.checkpoint`), and the loss curves.

    A run that is killed and resumed ends with the same bits as one that is not, except under `max_minutes`, where the
    schedule follows the clock.

    Parameters
    ----------
    model
        On the device; holds the best weights at the end.
    task
        What is learned.
    settings
        How.
    folder
        Output directory. The state lies in it until the caller removes it (`core.training.state.remove_state`).
    device
        Where to compute.
    place
        This process among those of the run; gradients are averaged over them (`core.training.parallel.group`).
    resume
        Go on from the state in the folder, if there is one.
    options
        Plain values that a resumed run must have in common with the one that it goes on from.
    progress
        Told of the steps.
    stop
        Asked after every step; where it says so, the state is saved and training ends as ``interrupted``.
    clock
        Seconds that `max_minutes` counts: those on the wall, or of the processor for comparisons.

    Raises
    ------
    InputError
        If the state in the folder is that of another training.
    NonFiniteError
        If a loss or a gradient is not finite.
    """
    optimizer = settings.optimizer(model.parameters())
    kept = model
    if settings.average:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.average), use_buffers=True)
        kept = average.module
    at, best = Standing(options=dict(options or {})), _copy(kept)
    if resume and (found := read_state(folder, model, kept, optimizer, best)) is not None:
        _check_same(folder, found.get("options", {}), at.options)
        at = Standing(**{**found, "rows": tuple(found["rows"])})
        if settings.average:
            average.n_averaged.fill_(at.step)
    shared = shared_by(model, device, place)
    begin, saved = clock() - 60 * at.minutes, time.monotonic()
    reason = _over(at, settings)
    while not reason:
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(at.step, at.minutes)
        shared.train()
        with _seeded(settings.seed, at.step, place, device):
            batch = task.batch(at.step)
            with torch.autocast(device.type, settings.dtype, enabled=settings.dtype != torch.float32):
                loss, terms = task.loss(shared, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm or math.inf)
        figures = _finite({"loss": loss, **terms, "gradient": norm}, at.step)
        optimizer.step()
        if settings.average:
            average.update_parameters(model)
        minutes = (clock() - begin) / 60
        sums = {name: at.sums.get(name, 0.0) + value for name, value in figures.items()}
        at = replace(at, step=at.step + 1, minutes=minutes, sums={**sums, "steps": at.sums.get("steps", 0.0) + 1})
        progress(at.step, settings.steps)
        late = settings.max_minutes is not None and minutes >= settings.max_minutes
        late, stopped = any_of((late, stop()), place)
        reason = "time" if late else "interrupted" if stopped else ""
        validated = at.step % settings.validate_every == 0 or at.step >= settings.steps or late
        if validated:
            kept.eval()
            at = _judged(at, same_for_all(task.validate(kept), place), settings)
            if at.best_step == at.step:
                best = _copy(kept)
                if place.leads:
                    write_checkpoint(folder, best, {**task.description, "step": at.step, "metrics": at.best})
            if place.leads:
                write_curves(folder, at.rows)
            reason = _over(at, settings) or reason
        if place.leads and (validated or reason or time.monotonic() - saved > 60 * settings.save_minutes):
            write_state(folder, model, kept, optimizer, best, asdict(at))
            saved = time.monotonic()
    model.load_state_dict(best)
    model.eval()
    return Outcome(reason, at)


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in before:
        if before[name] != now.get(name):
            raise InputError(
                f"{folder}: the training to be resumed had {name} {before[name]}, found {now.get(name)} now; give the "
                "options and particles of that run, or --overwrite to start anew"
            )


def _over(at: Standing, settings: TrainingSettings) -> str:
    if at.step >= settings.steps:
        return "steps"
    since = sum(row["step"] > at.best_step for row in at.rows)
    return "patience" if settings.patience and since >= settings.patience else ""


def _judged(at: Standing, figures: Row, settings: TrainingSettings) -> Standing:
    """Add a row to the curves: what was validated, and the means of training since the last time."""
    if not math.isfinite(figures["loss"]):
        raise NonFiniteError(
            f"training: the validation loss is {figures['loss']} after step {at.step}; lower the learning rate, or "
            "look for odd images among the validation particles"
        )
    means = {f"train_{name}": total / at.sums["steps"] for name, total in at.sums.items() if name != "steps"}
    row = {"step": float(at.step), "learning_rate": settings.rate(at.step - 1, at.minutes), **means, **figures}
    better = figures["loss"] < at.best["loss"]
    return replace(at, rows=(*at.rows, row), sums={}, best_step=at.step if better else at.best_step)


def _finite(figures: dict[str, Tensor], step: int) -> dict[str, float]:
    values = {name: float(value.detach()) for name, value in figures.items()}
    bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise NonFiniteError(
            f"training: step {step + 1}: found {', '.join(bad)}, expected finite numbers; lower the learning rate "
            "(the network of the last validation is kept)"
        )
    return values


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@contextmanager
def _seeded(seed: int, step: int, place: Place, device: torch.device) -> Iterator[None]:
    """Dropout and the like draw from a seed of the step, so that a resumed run draws the same."""
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        torch.manual_seed((seed * 1_000_003 + step) * 4_099 + place.rank)
        yield
