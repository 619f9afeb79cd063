"""Ranking of normal modes by what the particle images say of them."""

from __future__ import annotations

import csv
import enum
import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, SetOfNormalModes
from pyworkflow import BETA
from pyworkflow.object import Float

from ..constants import PARTICLES_FILE
from ..convert import ConversionError, describe_numbers, prepare_volume, read_modes, volume_path, write_particles
from .base import CflexProtocol
from .modes_input import ModesInputMixin
from .particles_input import ParticlesInputMixin

RANKING_FILE = "ranking.csv"


class CflexRankOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputModes = SetOfNormalModes


class CflexProtRank(ModesInputMixin, ParticlesInputMixin, CflexProtocol):
    """Chooses normal modes by evidence: aligns some images along many modes and weighs what each mode explains.

    Modes that make images more probable that they were not learned from are enabled in the output, the others are not.
    Where this output is the input of HEMNMA, the wizard of its list of modes offers this choice with one click. With a
    second structure or map, the overlap of the modes with the way to it is given beside the evidence.
    """

    _label = "rank normal modes"
    _devStatus = BETA
    _possibleOutputs = CflexRankOutputs
    COMMAND = "rank"
    INPUTS = ("particles", "modes", "structure", "target", "pixel_size")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form)
        self._addModesParam(form)
        self._addOptions(form, "use", "n_images", "ctf")
        form.addParam(
            "inputTarget",
            params.PointerParam,
            pointerClass="AtomStruct,Volume",
            allowsNull=True,
            label="Target (optional)",
            help="Another conformation of the molecule, as a structure or as a map.\n\nCommand line: --target",
        )
        form.addSection(label="Alignment")
        self._addOptions(
            form, "initial_poses", "angular_step", "max_shift_px", "symmetry", "search_rmsd", "max_resolution", "seed",
            angular_step={"condition": "not initialPoses"},
            max_shift_px={"condition": "not initialPoses"},
            symmetry={"condition": "not initialPoses"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        target = self.inputTarget.get()
        self._insertFunctionStep(
            self.convertInputStep,
            self.inputParticles.get().getObjId(),
            self.inputModes.get().getObjId(),
            needsGPU=False,
        )
        self._insertFunctionStep(
            self.runStep, 0 if target is None else target.getObjId(), self._formValues(), needsGPU=self._onGpu()
        )
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _particlesId, _modesId):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        self._modesFiles()
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, _targetId, values):
        inputs = {"particles": self._inputPath(PARTICLES_FILE), **self._modesFiles()}
        target = self.inputTarget.get()
        if isinstance(target, AtomStruct):
            inputs["target"] = target.getFileName()
        elif target is not None:
            inputs["target"] = prepare_volume(target, self._inputPath("target.mrc"))
        self._runCommand(inputs, values)
        return [self._resultPath(RANKING_FILE)]

    def createOutputStep(self):
        with open(self._resultPath(RANKING_FILE), newline="", encoding="utf-8") as stream:
            ranked = {int(row["mode"]): row for row in csv.DictReader(stream)}
        numbers = [mode.number for mode in read_modes(self.inputModes.get())]
        items = sorted(
            (item.clone(copyEnable=True) for item in self.inputModes.get().iterItems()),
            key=lambda item: item.getObjId(),
        )
        modes = SetOfNormalModes.create(self.getPath(), prefix="modes")
        for number, item in zip(numbers, items, strict=True):
            row = ranked.get(number)
            item.setObjId(number)
            item.setEnabled(row is not None and row["supported"] == "1")
            item._cflexGain = Float(None if row is None else float(row["gain"]))
            item._cflexGainError = Float(None if row is None else float(row["gain_error"]))
            item._cflexOverlap = Float(None if row is None or "overlap" not in row else float(row["overlap"]))
            modes.append(item)
        modes.setPdb(self.inputModes.get().getPdb())
        self._defineOutputs(**{CflexRankOutputs.outputModes.name: modes})
        self._defineSourceRelation(self.inputModes, modes)
        self._defineSourceRelation(self.inputParticles, modes)

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._particleErrors() + self._modeErrors()
        target = self.inputTarget.get()
        if isinstance(target, AtomStruct):
            if not os.path.exists(target.getFileName() or ""):
                errors.append(f"The file of the target is not there: {target.getFileName()}")
        elif target is not None:
            try:
                volume_path(target)
            except ConversionError as error:
                errors.append(str(error))
        return errors

    def _summary(self):
        figures = self._figures()
        if not figures:
            return ["The modes are not ranked yet."]
        chosen = figures["suggested"]
        return [
            f"*{describe_numbers(chosen)}*: the modes that the images ask for."
            if chosen
            else "The images ask for none of the modes.",
            f"{figures['images']} images counted, {figures['left_out']} were left out (poses unsure, or far from all).",
        ]

    def _methods(self):
        figures = self._figures()
        if not figures:
            return []
        return [
            f"Normal modes were ranked by the likelihood of {figures['images']} images, each half of them under the "
            "distribution of amplitudes learned from the other half."
        ]

    def _citations(self):
        return ["Jin2014", "Harastani2020"]
