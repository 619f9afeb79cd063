"""Conformational space of a particle set."""

from __future__ import annotations

import enum
import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA

from ..constants import PARTICLES_FILE, PROGRAM_SPACE, REPORT_FILE, SPACE_FILE, TRAJECTORY_FILE
from ..convert import amplitudes_of, padded, prepare_modes, read_space, write_particles
from .base import CflexProtocol
from .particles_input import ParticlesInputMixin


class CflexSpaceOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputParticles = SetOfParticlesFlex
    outputTrajectory = AtomStruct


class CflexProtSpace(ParticlesInputMixin, CflexProtocol):
    """Reduces the amplitudes of the particles to few dimensions and writes a report.

    The particles come out with their coordinates in the space, ready for plots, clusters and filters; with the normal
    modes a trajectory of structures along the first axis is made as well.
    """

    _label = "conformational space"
    _devStatus = BETA
    _possibleOutputs = CflexSpaceOutputs
    COMMAND = "space"
    INPUTS = ("input", "modes", "structure", "truth", "pixel_size")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._addParticlesParam(
            form, help="Particles with amplitudes of normal modes: a result of HEMNMA, of this plugin or another."
        )
        self._addOptions(form, "on", "method", "n_components", "keep_unconverged", "seed")
        form.addParam(
            "inputModes",
            params.PointerParam,
            pointerClass="SetOfNormalModes",
            allowsNull=True,
            label="Normal modes (optional)",
            help="The modes of the amplitudes. With them structures along the first axis are made.",
        )
        self._addOptions(form, "n_frames")
        form.addParam(
            "inputTruth",
            params.PointerParam,
            pointerClass="SetOfParticles,SetOfParticlesFlex",
            allowsNull=True,
            expertLevel=params.LEVEL_ADVANCED,
            label="Truth (optional)",
            help="The same images with true poses and amplitudes (second output of a simulation). The report then "
            "shows the errors.",
        )
        self._addOtherOptions(form)
        form.addParallelSection(threads=2, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        objects = (self.inputParticles, self.inputModes, self.inputTruth)
        identifiers = [pointer.get().getObjId() if pointer.get() is not None else 0 for pointer in objects]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, *_identifiers):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        if self.inputTruth.get() is not None:
            write_particles(self.inputTruth.get(), self._inputPath("truth.star"))
        self._otherFiles()
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        self._runCommand({"input": self._inputPath(PARTICLES_FILE), **self._otherFiles()}, values)
        return [self._resultPath(SPACE_FILE), self._resultPath(REPORT_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        space = read_space(self._resultPath(SPACE_FILE))
        if len(space.coordinates) != particles.getSize():
            raise ValueError(
                f"{self._resultPath(SPACE_FILE)}: found {len(space.coordinates)} particles, "
                f"expected {particles.getSize()}"
            )
        output = self._newFlexSet(particles, PROGRAM_SPACE)
        program = particles.getFlexInfo().getProgName() if isinstance(particles, SetOfParticlesFlex) else PROGRAM_SPACE
        output.getFlexInfo().setProgName(program)
        for item, coordinates in zip(particles.iterItems(), space.coordinates, strict=True):
            flexible = ParticleFlex(progName=program)
            flexible.copy(item)
            flexible.setZFlex(amplitudes_of(item))
            flexible.setZRed(padded(coordinates.tolist()))
            output.append(flexible)
        outputs = {CflexSpaceOutputs.outputParticles.name: output}
        if os.path.exists(self._resultPath(TRAJECTORY_FILE)):
            outputs[CflexSpaceOutputs.outputTrajectory.name] = AtomStruct(self._resultPath(TRAJECTORY_FILE))
        self._defineOutputs(**outputs)
        self._defineTransformRelation(self.inputParticles, output)
        self.summaryVar.set(
            f"*{output.getSize()}* particles in {space.coordinates.shape[1]} dimension(s).\n"
            f"Report: {self._resultPath(REPORT_FILE)}"
        )

    def _otherFiles(self) -> dict[str, str]:
        """Optional options that are files: modes and truth."""
        files = {}
        if self.inputModes.get() is not None:
            prepared = prepare_modes(self.inputModes.get(), self._inputPath("modes"))
            files["modes"] = prepared.path
            if prepared.structure and "structure" in self.optionsClass().model_fields:
                files["structure"] = prepared.structure
        if self.inputTruth.get() is not None:
            files["truth"] = self._inputPath("truth.star")
        return files

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._particleErrors()
        particles = self.inputParticles.get()
        if particles is not None and particles.getSize() > 0 and not amplitudes_of(particles.getFirstItem()):
            errors.append("The particles carry no amplitudes of normal modes; take the output of HEMNMA")
        truth = self.inputTruth.get()
        if particles is not None and truth is not None and truth.getSize() < particles.getSize():
            errors.append(
                f"The truth has {truth.getSize()} particles, fewer than the {particles.getSize()} of the input"
            )
        return errors

    def _summary(self):
        return self.summaryVar.get("The space is not computed yet.").splitlines()

    def _methods(self):
        if not hasattr(self, CflexSpaceOutputs.outputParticles.name):
            return []
        return [
            f"The mode amplitudes of {self.outputParticles.getSize()} particles were reduced to "
            f"{self.nComponents.get()} dimensions by {self.getEnumText('method').upper()}."
        ]

    def _citations(self):
        return ["Harastani2022"]
