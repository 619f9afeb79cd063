"""Which of the processes of a run this one is, from what a launcher (torchrun, mpirun, srun) leaves in the environment.

The processes need nothing else in common than the output directory: they exchange no messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import InputError

SWITCH = "CFLEX_LAUNCHER"  # environment variable that names the launcher, or "none"
_AUTO = ("torchrun", "openmpi", "mpich", "srun")  # srun last: torchrun and mpirun are started through it


@dataclass(frozen=True)
class Place:
    """One process among those of a run.

    Parameters
    ----------
    rank, size
        Number of this process, from 0, and how many there are.
    local_rank, local_size
        The same among those of this computer.
    launcher
        Who started them; empty for a process on its own.
    job
        What the launcher calls this start, where it says so; no two starts at the same time share it.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str = ""
    job: str = ""

    @property
    def leads(self) -> bool:
        """Whether this is the process that prepares and writes; a process on its own does."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no other processes."""
        return self.size == 1

    def __str__(self) -> str:
        return f"process {self.rank} of {self.size} ({self.launcher})"


ALONE = Place()


def place_of(environ: Mapping[str, str]) -> Place:
    """Read the variables of the launcher.

    A process is on its own where there are none, or where they speak of one process. In a SLURM batch script the
    variables of a task are set as well: they count only inside a step (``srun``) of more than one task.

    Parameters
    ----------
    environ
        Usually `os.environ`. Its variable CFLEX_LAUNCHER may be ``none`` (whatever else is set, this process is on its
        own), ``auto`` or the name of the one launcher to look for.

    Raises
    ------
    InputError
        For numbers that make no sense.
    """
    choice = environ.get(SWITCH, "auto").strip().lower() or "auto"
    if choice == "none":
        return ALONE
    if choice not in ("auto", *_READERS):
        raise InputError(f"{SWITCH}={choice}: expected none, auto, {', '.join(_READERS)}; correct or unset it")
    for name in _AUTO if choice == "auto" else (choice,):
        place = _READERS[name](environ)
        if place is not None and place.size > 1:
            return place
    return ALONE


def default_threads(place: Place, environ: Mapping[str, str]) -> int:
    """Share of this process in the cores of its computer.

    srun and mpirun often bind every process to cores of its own; the cores that it may use are then its share already.
    Where all processes may use the same cores, these are divided.

    Parameters
    ----------
    place
        This process.
    environ
        For SLURM's cores per task and per node.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if place.local_size == 1:
        return usable
    asked = environ.get("SLURM_CPUS_PER_TASK", "")
    if place.launcher == "srun" and asked.isdigit():
        return max(1, min(usable, int(asked)))
    on_node = environ.get("SLURM_CPUS_ON_NODE", "")
    whole = int(on_node) if on_node.isdigit() else os.cpu_count() or usable
    bound = place.launcher != "torchrun" and usable * place.local_size <= whole
    return usable if bound else max(1, usable // place.local_size)


def _torchrun(environ: Mapping[str, str]) -> Place | None:
    if "RANK" not in environ or "WORLD_SIZE" not in environ:
        return None
    job = ":".join(environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"))
    return _place(environ, "torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", job.strip(":"))


def _openmpi(environ: Mapping[str, str]) -> Place | None:
    prefix = "OMPI_COMM_WORLD_"
    if prefix + "RANK" not in environ or prefix + "SIZE" not in environ:
        return None
    job = environ.get("PMIX_NAMESPACE") or environ.get("OMPI_MCA_ess_base_jobid") or ""
    local = prefix + "LOCAL_RANK", prefix + "LOCAL_SIZE"
    return _place(environ, "openmpi", prefix + "RANK", prefix + "SIZE", *local, job)


def _mpich(environ: Mapping[str, str]) -> Place | None:
    if "PMI_RANK" not in environ or "PMI_SIZE" not in environ:
        return None
    place = _place(environ, "mpich", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "")
    through_srun = None if "MPI_LOCALRANKID" in environ else _srun(environ)  # srun --mpi=pmi2 says more itself
    if through_srun is not None and (through_srun.rank, through_srun.size) == (place.rank, place.size):
        return through_srun
    return place


def _srun(environ: Mapping[str, str]) -> Place | None:
    if "SLURM_PROCID" not in environ or not environ.get("SLURM_STEP_NUM_TASKS"):
        return None
    local_size = _tasks_of_node(environ.get("SLURM_STEP_TASKS_PER_NODE", ""), environ.get("SLURM_NODEID", ""))
    values = dict(environ)
    if local_size:
        values["SLURM_LOCAL_TASKS"] = str(local_size)
    job = f"{environ.get('SLURM_JOB_ID', '')}.{environ.get('SLURM_STEP_ID', '')}"
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_LOCAL_TASKS")
    return _place(values, "srun", *names, job.strip("."))


_READERS = {"torchrun": _torchrun, "openmpi": _openmpi, "mpich": _mpich, "srun": _srun}


def _place(
    environ: Mapping[str, str], launcher: str, rank: str, size: str, local_rank: str, local_size: str, job: str
) -> Place:
    """Place from variables of these names; without the local ones all processes are taken to be on one computer."""
    own, whole = _number(environ, rank), _number(environ, size)
    near = _number(environ, local_rank) if local_rank in environ else own
    around = _number(environ, local_size) if local_size in environ else max(whole, 1)
    if whole > 1 and not (0 <= own < whole and 0 <= near < around):
        raise InputError(
            f"{rank}={environ[rank]}, {size}={environ[size]}: no place among the processes of {launcher}; "
            f"correct them, or set {SWITCH}=none for a process on its own"
        )
    return Place(own, whole, near, around, launcher, job)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name].strip()
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(
            f"{name}={text}: found in the environment, expected a whole number; "
            f"correct it, or set {SWITCH}=none for a process on its own"
        )
    return int(text)


def _tasks_of_node(counts: str, node: str) -> int:
    """Tasks of a node (0 where it is not said) from SLURM's ``4(x2),3``: two nodes with 4 tasks, then one with 3."""
    if not node.isdigit():
        return 0
    expanded: list[int] = []
    for item in counts.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", item.strip())
        if found is None:
            return 0
        expanded += [int(found[1])] * int(found[2] or 1)
    return expanded[int(node)] if int(node) < len(expanded) else 0
