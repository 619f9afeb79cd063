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
from .command import program, quote_arguments

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
            help="The GPU to use: 0, 1 ...",
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
        values["threads"] = max(1, self.numberOfThreads.get())
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
        return self._getExtraPath(self.COMMAND, *names)

    def _inputPath(self, *names: str) -> str:
        """Path in the folder of converted inputs."""
        return self._getExtraPath("input", *names)

    def _runCommand(self, inputs: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Run the command as a process.

        When the step is repeated with the same options and the same inputs after a kill, the command continues from
        what it had finished (``--resume``); when anything changed it starts afresh.
        """
        arguments = forms.arguments_of(self.optionsClass(), {**values, **inputs, "output": self._resultPath()})
        state = {
            "arguments": [
                text for text in arguments if not text.startswith("--threads=")
            ],  # blocks do not depend on it
            "inputs": _fingerprints([self._inputPath(), *map(str, inputs.values())]),
        }
        stateFile = self._getExtraPath(f"{self.COMMAND}.state.json")
        begun = os.path.isdir(self._resultPath()) and bool(os.listdir(self._resultPath()))
        if begun and _readJson(stateFile) == state:
            arguments = ["--resume", *arguments]
        elif begun:
            pwutils.cleanPath(self._resultPath())
        _writeJson(stateFile, state)
        gpu = self._onGpu()
        self.runJob(
            program(gpu=gpu),
            quote_arguments([*self.COMMAND.split(), *arguments], gpu=gpu),
            numberOfMpi=1,
            numberOfThreads=1,
        )

    # ---------------------------------------------------------------- information

    def _runRecord(self) -> dict[str, Any]:
        """The record that the command wrote; empty before it finished."""
        return _readJson(self._resultPath(RECORD_FILE)) or {}

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
