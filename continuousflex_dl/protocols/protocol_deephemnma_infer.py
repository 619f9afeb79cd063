"""Conformations and poses of particles by a trained network."""

from __future__ import annotations

import enum
import json
import os

import pyworkflow.protocol.params as params
from pwem.objects import ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA

from ..constants import MODEL_ATTRIBUTE, MODEL_FILE, PARTICLES_FILE, PREDICTIONS_FILE, PROGRAM_DEEPHEMNMA
from ..convert import amplitudes_of, particle_updates, prepare_modes, write_particles
from .base import CflexProtocol
from .model_input import ModelInputMixin
from .particles_input import ParticlesInputMixin


class CflexDeepHEMNMAInferOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputParticles = SetOfParticlesFlex


class CflexProtDeepHEMNMAInfer(ModelInputMixin, ParticlesInputMixin, CflexProtocol):
    """Predicts the conformation and the pose of the particle in every image with a trained network (DeepHEMNMA).

    The predictions have expected errors. They can be refined by HEMNMA's local refinement, with more work where the
    network is unsure. The output goes into one conformational space with the particles of the training.
    """

    _label = "deep hemnma infer"
    _devStatus = BETA
    _possibleOutputs = CflexDeepHEMNMAInferOutputs
    COMMAND = "deephemnma infer"
    INPUTS = ("model", "particles", "modes", "structure", "pixel_size")
    MANY_PROCESSES = True
    MODEL_METHOD = " by deep hemnma"

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form)
        self._addModelParam(form)
        self._addOptions(form, "refine")
        form.addParam(
            "inputModes",
            params.PointerParam,
            pointerClass="SetOfNormalModes",
            allowsNull=True,
            condition="refine",
            label="Normal modes (optional)",
            help="Those of the training; needed where the files of the training are not here any more.",
        )
        self._addOptions(
            form, "estimate", "refine_above", "search_above", refine_above={"condition": "refine"},
            search_above={"condition": "refine"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=1)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        self._insertFunctionStep(
            self.convertInputStep,
            self.inputParticles.get().getObjId(),
            self.inputModel.get().getObjId(),
            needsGPU=False,
        )
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _particlesId, _modelId):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        inputs = {"model": self._modelFolder(), "particles": self._inputPath(PARTICLES_FILE)}
        if self.refine.get() and self.inputModes.get() is not None:
            prepared = prepare_modes(self.inputModes.get(), self._inputPath("modes"))
            inputs["modes"] = prepared.path
            if prepared.structure is not None:
                inputs["structure"] = prepared.structure
        self._runCommand(inputs, values)
        return [self._resultPath(PREDICTIONS_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        output = self._newFlexSet(particles, PROGRAM_DEEPHEMNMA)
        update = particle_updates(
            self._resultPath(PREDICTIONS_FILE), particles.getSamplingRate(), program=PROGRAM_DEEPHEMNMA
        )
        for item in particles.iterItems():
            flexible = ParticleFlex(progName=PROGRAM_DEEPHEMNMA)
            flexible.copy(item)
            update(flexible)
            output.append(flexible)
        output.setAlignmentProj()
        output.getFlexInfo().setAttr(MODEL_ATTRIBUTE, self._modelFolder())
        self._defineOutputs(**{CflexDeepHEMNMAInferOutputs.outputParticles.name: output})
        self._defineTransformRelation(self.inputParticles, output)
        self._defineSourceRelation(self.inputModel, output)
        figures = self._figures()
        line = (
            f"*{output.getSize()}* particles, {figures.get('converged')} with an orientation to trust; expected error "
            f"{figures.get('median_angle_std_deg')} degrees (median)."
        )
        if self.refine.get():
            line += (
                f"\nRefined: {figures.get('polished')} from middle resolution on, {figures.get('refined')} from low "
                f"resolution on, {figures.get('searched')} by a search."
            )
        self.summaryVar.set(line)

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._particleErrors() + self._modelErrors()
        particles = self.inputParticles.get()
        if particles is None or not particles.getSize():
            return errors
        estimate = self.getEnumText("estimate")
        if estimate == "amplitudes" and not particles.hasAlignmentProj():
            errors.append("The particles have no 3D poses to keep; set 'Estimate' to all")
        if estimate == "poses" and not amplitudes_of(particles.getFirstItem()):
            errors.append("The particles carry no amplitudes to keep; set 'Estimate' to all")
        return errors + ([] if errors else self._fitErrors(particles))

    def _fitErrors(self, particles) -> list[str]:
        """Whether box and pixel size are those of the network."""
        if self.inputModel.get() is None:
            return []
        try:
            with open(os.path.join(self._modelFolder(), MODEL_FILE), encoding="utf-8") as stream:
                trained = json.load(stream)["preparation"]
            box, pixel = int(trained["box"]), float(trained["pixel_size"])
        except (OSError, ValueError, KeyError, TypeError):
            return ["'Trained network': its description cannot be read; train it again"]
        errors = []
        if particles.getDim()[0] != box:
            errors.append(f"The images have a box of {particles.getDim()[0]} px, but the network is for {box} px")
        if abs(particles.getSamplingRate() / pixel - 1) > 0.01:
            errors.append(
                f"The images have a pixel size of {particles.getSamplingRate():g} Å, but the network is for {pixel:g} Å"
            )
        return errors

    def _summary(self):
        return self.summaryVar.get("Nothing is predicted yet.").splitlines()

    def _methods(self):
        if not hasattr(self, CflexDeepHEMNMAInferOutputs.outputParticles.name):
            return []
        refined = " and refined by elastic alignment" if self.refine.get() else ""
        return [
            f"Poses and amplitudes of normal modes of {self.outputParticles.getSize()} particles were predicted by a "
            f"network{refined} (DeepHEMNMA)."
        ]

    def _citations(self):
        return ["Hamitouche2022"]
