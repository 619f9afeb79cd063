"""Particle images of known conformations and poses."""

from __future__ import annotations

import os

from pwem.objects import SetOfParticles, SetOfParticlesFlex
from pyworkflow import BETA

from ..constants import PARTICLES_FILE, PROGRAM_SIMULATE, TRUTH_FILE
from ..convert import new_particles, set_properties
from .base import CflexProtocol
from .modes_input import ModesInputMixin

# a dictionary, because members of an Enum with the same class would be one member
OUTPUT_PARTICLES, OUTPUT_TRUTH = "outputParticles", "outputTruth"


class CflexProtSimulate(ModesInputMixin, CflexProtocol):
    """Simulates particle images of a structure that moves along its normal modes, or of an ensemble of structures.

    The second output holds the same images with the true poses and amplitudes, to measure the errors of an analysis.
    """

    _label = "simulate particles"
    _devStatus = BETA
    _possibleOutputs = {OUTPUT_PARTICLES: SetOfParticles, OUTPUT_TRUTH: SetOfParticles}
    COMMAND = "simulate"
    INPUTS = ("modes", "structure")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addModesParam(form)
        self._addOptions(form, "n_particles", "box", "pixel_size", "downsample", "sigma", "seed")
        form.addSection(label="Conformations")
        self._addOptions(form, "use", "law", "amplitude", "ensemble", "topology")
        form.addSection(label="Images")
        self._addOptions(
            form, "noiseless", "snr", "shift_px", "no_ctf", "voltage", "cs", "amplitude_contrast", "defocus",
            "ctf_table", "phase_flip",
            snr={"condition": "not noiseless"},
            voltage={"condition": "not noCtf"},
            cs={"condition": "not noCtf"},
            amplitude_contrast={"condition": "not noCtf"},
            defocus={"condition": "not noCtf"},
            ctf_table={"condition": "not noCtf"},
            phase_flip={"condition": "not noCtf"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=2, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        self._insertFunctionStep(self.convertInputStep, self.inputModes.get().getObjId(), needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _modesId):
        self._modesFiles()

    def runStep(self, values):
        self._runCommand(self._modesFiles(), values)
        return [self._resultPath(PARTICLES_FILE), self._resultPath(TRUTH_FILE)]

    def createOutputStep(self):
        star, truth_star = self._resultPath(PARTICLES_FILE), self._resultPath(TRUTH_FILE)
        common = set_properties(star)
        particles = SetOfParticles.create(self.getPath(), prefix="particles")
        true_items = new_particles(truth_star, os.getcwd(), flexible=True, program=PROGRAM_SIMULATE)
        first = next(true_items)
        kind = SetOfParticlesFlex if hasattr(first, "getZFlex") else SetOfParticles
        truth = kind.create(self.getPath(), prefix="truth")
        if kind is SetOfParticlesFlex:
            truth.getFlexInfo().setProgName(PROGRAM_SIMULATE)
        truth.setAlignmentProj()
        for output, items in (
            (particles, new_particles(star, os.getcwd(), flexible=False)),
            (truth, _chain(first, true_items)),
        ):
            output.setSamplingRate(common.pixel_size)
            output.setIsPhaseFlipped(common.phase_flipped)
            output.setHasCTF(common.has_ctf)
            if common.acquisition is not None:
                output.setAcquisition(common.acquisition.clone())
            for item in items:
                output.append(item)
        self._defineOutputs(**{OUTPUT_PARTICLES: particles, OUTPUT_TRUTH: truth})
        self._defineSourceRelation(self.inputModes, particles)
        self._defineSourceRelation(self.inputModes, truth)

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors()
        if not (self.ensemble.get() or "").strip():
            errors += self._modeErrors()
        for name in ("ensemble", "topology", "ctfTable"):
            file = (getattr(self, name).get() or "").strip()
            if file and not os.path.isfile(file):
                errors.append(f"{self.getParam(name).label.get()}: no such file: {file}")
        return errors

    def _summary(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return ["The particles are not simulated yet."]
        source = (
            f"ensemble {self.ensemble.get()}"
            if (self.ensemble.get() or "").strip()
            else f"modes {self.modeList.get()}, law {self.getEnumText('law')}, amplitude {self.amplitude.get():g} Å"
        )
        noise = "no noise" if self.noiseless.get() else f"signal-to-noise ratio {self.snr.get():g}"
        return [f"*{self.outputParticles.getSize()}* particles, {source}, {noise}."]

    def _methods(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return []
        return [
            f"{self.outputParticles.getSize()} particle images were simulated by projecting a flexible reference "
            "with orientations uniform over all rotations."
        ]

    def _citations(self):
        return ["Hamitouche2022", "Harastani2020"]


def _chain(first, rest):
    yield first
    yield from rest
