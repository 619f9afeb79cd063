"""What all protocols of the plugin share: hidden GPU parameters, option values, and the resumable run of a command."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.protocols import EMProtocol

from ..constants import RECORD_FILE
from ..options import Options, command
from . import forms
from .command import job

# what Scipion decides, or what makes no sense inside it
_NOT_IN_FORMS = ("output", "device", "threads", "resume", "overwrite", "datadir", "verbose", "debug")


class CflexProtocol(EMProtocol):
    """Base of the protocols; one protocol runs one ``cflex`` command.

    Subclasses name the command in ``COMMAND`` and the options that come from input objects in ``INPUTS``; every other
    option of the command is in the form. Heavy work happens only in the process that `_runCommand` launches.
    """

    COMMAND = ""
    INPUTS: tuple[str, ...] = ()
    USES_GPU = True
    MANY_PROCESSES = False  # the command shares its work among processes: one per GPU, or MPI

    # ---------------------------------------------------------------- form

    @classmethod
    def optionsClass(cls) -> type[Options]:
        """Option class of the command."""
        return command(cls.COMMAND).options

    @classmethod
    def formOptions(cls) -> list[str]:
        """Names of the options that the form shows."""
        return [name for name in cls.optionsClass().model_fields if name not in (*_NOT_IN_FORMS, *cls.INPUTS)]

    def _addGpuParams(self, form):
        form.addHidden(
            params.USE_GPU,
            params.BooleanParam,
            default=False,
            label="Use GPU for execution",
            help="Run on a GPU (CUDA). Without it the computation takes the CPU.",
        )
        form.addHidden(
            params.GPU_LIST,
            params.StringParam,
            default="0",
            expertLevel=params.LEVEL_ADVANCED,
            label="Choose GPU IDs",
            help="The GPU to use: 0, 1 ..."
            + (" Several (0,1 or 0-3) share the particles, one process each." if self.MANY_PROCESSES else ""),
        )

    def _addOptions(self, form, *names: str, **changes: Mapping[str, Any]):
        """Add these options to the form."""
        forms.add_options(form, self.optionsClass(), names, changes)

    def _addOtherOptions(self, form):
        """Add the options that have no place in the form yet, so that none is ever missing."""
        names = [name for name in self.formOptions() if not form.hasParam(forms.param_name(name))]
        forms.add_options(form, self.optionsClass(), names)

    # ---------------------------------------------------------------- option values

    def _formValues(self) -> dict[str, Any]:
        """Values of the form under option names, with threads and device."""
        values = forms.form_values(self, self.optionsClass(), self.formOptions())
        values["threads"] = max(1, self.numberOfThreads.get() // self._processesHere())
        if self.USES_GPU:
            values["device"] = "cuda" if self._onGpu() else "cpu"
        return values

    def _placeholders(self) -> dict[str, str]:
        """Stand-ins for the files that only exist when the protocol runs, so that a form can be validated before."""
        model = self.optionsClass()
        return {
            name: "-"
            for name, field in model.model_fields.items()
            if field.is_required() and name not in self.formOptions()
        }

    def _onGpu(self) -> bool:
        return self.USES_GPU and self.useGpu.get()

    def _mpi(self) -> int:
        """Processes that the host's parallel command starts."""
        return max(1, self.numberOfMpi.get()) if self.MANY_PROCESSES else 1

    def _gpusToUse(self) -> list[int]:
        """GPUs of the form, or of the slot that the executor gives to this step; a queue numbers them from 0."""
        if not self._onGpu():
            return []
        executor = getattr(self, "_stepsExecutor", None)
        gpus = [int(gpu) for gpu in (executor.getGpuList() if executor is not None else self.getGpuList()) or [0]]
        return gpus if self.MANY_PROCESSES else gpus[:1]

    def _processesHere(self) -> int:
        """Processes that share the threads of the form: one per GPU; those of MPI have as many each."""
        if self._mpi() > 1 or not self._onGpu() or not self.MANY_PROCESSES:
            return 1
        try:
            return max(1, len(self.getGpuList()))
        except (ValueError, TypeError):
            return 1

    def _optionErrors(self) -> list[str]:
        """Errors of the form, in the words of the command line."""
        _, errors = forms.parse(self.optionsClass(), {**self._placeholders(), **self._formValues()}, self.formOptions())
        return errors

    def _options(self) -> Options | None:
        """The form as validated options (files are placeholders), or None where it is not valid."""
        options, _ = forms.parse(self.optionsClass(), {**self._placeholders(), **self._formValues()})
        return options

    def _gpuErrors(self) -> list[str]:
        if not self._onGpu():
            return []
        try:
            gpus = [int(gpu) for gpu in self.getGpuList()]
        except (ValueError, TypeError):
            return [f"GPU IDs '{self.gpuList.get()}' are not numbers; write 0 or 0,1"]
        if not gpus:
            return ["No GPU ID is given; write 0 or set 'Use GPU' to No"]
        if len(set(gpus)) < len(gpus):
            return [f"GPU IDs '{self.gpuList.get()}' name a GPU twice; one process takes a whole GPU"]
        if self.useQueue():
            return []  # the computer that runs it has other GPUs than this one
        import torch

        if not torch.cuda.is_available():
            return ["No CUDA device is available on this computer; set 'Use GPU' to No"]
        count = torch.cuda.device_count()
        return [
            f"GPU {gpu} does not exist, this computer has {count} (0 to {count - 1})" for gpu in gpus if gpu >= count
        ]

    # ---------------------------------------------------------------- running

    def _resultPath(self, *names: str) -> str:
        """Path in the output directory of the command."""
        return self._getExtraPath(self.COMMAND.replace(" ", "_"), *names)

    def _inputPath(self, *names: str) -> str:
        """Path in the folder of converted inputs."""
        return self._getExtraPath("input", *names)

    def _runCommand(self, inputs: Mapping[str, Any], values: Mapping[str, Any], output: str | None = None) -> None:
        """Run the command: as one process, as one per GPU, or through the host's parallel command.

        Parameters
        ----------
        inputs, values
            Options that come from input objects, and those of the form.
        output
            Output directory (or file, for commands that write one); by default `_resultPath`.

        Notes
        -----
        When the step is repeated with the same options and the same inputs after a kill, the command continues from
        what it had finished (``--resume``); when anything changed it starts afresh.
        """
        output = self._resultPath() if output is None else output
        arguments = forms.arguments_of(self.optionsClass(), {**values, **inputs, "output": output})
        state = {
            "arguments": [
                text for text in arguments if not text.startswith("--threads=")
            ],  # blocks do not depend on it
            "inputs": _fingerprints([self._inputPath(), *map(str, inputs.values())]),
        }
        folder = os.path.dirname(output) if self.optionsClass().output_is_file else output
        stateFile = f"{folder}.state.json"
        begun = os.path.isdir(folder) and bool(os.listdir(folder))
        if begun and _readJson(stateFile) == state:
            arguments = ["--resume", *arguments]
        elif begun:
            pwutils.cleanPath(folder)
        _writeJson(stateFile, state)
        spelt = job([*self.COMMAND.split(), *arguments], gpus=self._gpusToUse(), mpi=self._mpi())
        environ = self._getEnviron()
        environ.update(spelt.environ)
        self.runJob(spelt.program, spelt.arguments, numberOfMpi=spelt.mpi, numberOfThreads=1, env=environ)

    # ---------------------------------------------------------------- information

    def _runRecord(self, output: str | None = None) -> dict[str, Any]:
        """The record that the command wrote, by default into `_resultPath`; empty before it finished."""
        return self._readRecord(os.path.join(self._resultPath() if output is None else output, RECORD_FILE))

    def _readRecord(self, path: str) -> dict[str, Any]:
        return _readJson(path) or {}

    def _figures(self) -> dict[str, Any]:
        """Result figures of the run record."""
        return self._runRecord().get("results", {})


def _fingerprints(paths: list[str]) -> dict[str, str]:
    """Content hash of small files and size with time of large ones; folders are entered."""
    found: dict[str, str] = {}
    for path in paths:
        if os.path.isdir(path):
            for folder, _, names in sorted(os.walk(path)):
                found.update(_fingerprints([os.path.join(folder, name) for name in sorted(names)]))
        elif os.path.isfile(path):
            status = os.stat(path)
            if status.st_size <= 64 * 1024 * 1024:
                with open(path, "rb") as handle:
                    found[path] = hashlib.sha256(handle.read()).hexdigest()
            else:
                found[path] = f"{status.st_size} {status.st_mtime_ns}"
    return found


def _readJson(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except (OSError, json.JSONDecodeError):
        return None


def _writeJson(path: str, content: Any) -> None:
    partial = path + ".part"
    with open(partial, "w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=1)
    os.replace(partial, path)
