"""The variables of launchers, as they were found on clusters, and the strays among them."""

import os

import pytest

from continuousflex_dl.core.distributed import ALONE, Place, default_threads, place_of
from continuousflex_dl.core.errors import InputError

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "abc", "MASTER_ADDR": "node1", "MASTER_PORT": "29400",
}  # fmt: skip
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "6",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "3", "PMIX_NAMESPACE": "prterun-node1-77@1",
}  # fmt: skip
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
# what slurmd gives a batch script of "sbatch --ntasks 4": it has a place, but there is no step
BATCH = {
    "SLURM_JOB_ID": "12", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0", "SLURM_TASKS_PER_NODE": "4", "SLURM_CPUS_ON_NODE": "16", "SLURM_JOB_NUM_NODES": "1",
}  # fmt: skip
SRUN = BATCH | {
    "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "11", "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
}  # fmt: skip
# "srun --pty bash" or salloc with an interactive step: one task
INTERACTIVE = BATCH | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        (TORCHRUN, Place(3, 8, 1, 2, "torchrun", "abc:node1:29400")),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2, 1, 2, "torchrun", "")),
        (OPENMPI, Place(5, 6, 2, 3, "openmpi", "prterun-node1-77@1")),
        (MPICH, Place(1, 2, 1, 2, "mpich", "")),
        (SRUN, Place(9, 11, 1, 3, "srun", "12.0")),
        ({**SRUN, "SLURM_NODEID": "1", "SLURM_LOCALID": "3"}, Place(9, 11, 3, 4, "srun", "12.0")),
    ],
)
def test_places(environ, place):
    assert place_of({"HOME": "/root", **environ}) == place


@pytest.mark.parametrize(
    "environ",
    [
        {},
        BATCH,
        INTERACTIVE,
        {"WORLD_SIZE": "4"},
        {"RANK": "2"},
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"},
        {**OPENMPI, "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
        {**SRUN, "CFLEX_LAUNCHER": "none"},
        {**TORCHRUN, **SRUN, "CFLEX_LAUNCHER": "None"},
        {**TORCHRUN, "CFLEX_LAUNCHER": "srun"},
    ],
)
def test_a_process_on_its_own(environ):
    assert place_of(environ) == ALONE
    assert place_of(environ).leads


def test_what_a_launcher_starts_goes_before_what_started_the_launcher():
    assert place_of({**SRUN, **TORCHRUN}).launcher == "torchrun"
    assert place_of({**SRUN, **OPENMPI}).launcher == "openmpi"
    assert place_of({**SRUN, **MPICH}).launcher == "mpich"
    one_torchrun_per_task = {**SRUN, **TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}
    assert place_of(one_torchrun_per_task).launcher == "srun"


def test_srun_with_an_interface_for_mpi_keeps_its_local_rank():
    place = place_of({**SRUN, "PMI_RANK": "9", "PMI_SIZE": "11"})
    assert (place.launcher, place.local_rank, place.local_size) == ("srun", 1, 3)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({**TORCHRUN, "RANK": "8"}, "RANK=8, WORLD_SIZE=8: no place"),
        ({**TORCHRUN, "RANK": "two"}, "RANK=two: found in the environment, expected a whole number"),
        ({**OPENMPI, "OMPI_COMM_WORLD_SIZE": "-3"}, "expected a whole number"),
        ({**TORCHRUN, "LOCAL_RANK": "2"}, "no place"),
        ({"CFLEX_LAUNCHER": "pbs"}, "CFLEX_LAUNCHER=pbs: expected none, auto, torchrun"),
    ],
)
def test_nonsense_is_said_in_one_line(environ, message):
    with pytest.raises(InputError, match=message) as raised:
        place_of(environ)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("place", "environ", "usable", "cores", "expected"),
    [
        (ALONE, {}, 7, 8, 7),
        (ALONE, BATCH, 4, 16, 4),
        (Place(1, 4, 1, 4, "torchrun"), {}, 16, 16, 4),
        (Place(1, 4, 1, 4, "torchrun"), {}, 8, 64, 2),  # a container with 8 of 64 cores
        (Place(1, 4, 1, 4, "torchrun"), {}, 2, 2, 1),
        (Place(1, 4, 1, 4, "openmpi"), {}, 16, 16, 4),
        (Place(1, 4, 1, 4, "openmpi"), {}, 1, 16, 1),  # bound to a core, as mpirun does by default
        (Place(1, 4, 1, 2, "srun"), {"SLURM_CPUS_PER_TASK": "6"}, 6, 64, 6),
        (Place(1, 4, 1, 2, "srun"), {"SLURM_CPUS_PER_TASK": "6"}, 64, 64, 6),  # --cpu-bind=none
        (Place(1, 4, 1, 2, "srun"), {"SLURM_CPUS_ON_NODE": "8"}, 4, 64, 4),
        (Place(1, 4, 1, 2, "srun"), {"SLURM_CPUS_ON_NODE": "8"}, 8, 64, 4),
    ],
)
def test_threads_are_the_share_of_the_cores(monkeypatch, place, environ, usable, cores, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(usable)))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_threads(place, environ) == expected
