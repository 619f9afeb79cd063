"""Elastic 3D-to-2D alignment of a reference to every particle image."""

from __future__ import annotations

import enum

import numpy as np
from pwem.objects import ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA
from pyworkflow.object import Set

from ..constants import CALIBRATION_FILE, PARTICLES_FILE, PROGRAM_HEMNMA
from ..convert import describe_numbers, particle_updates, read_modes, write_particles
from .base import CflexProtocol
from .modes_input import ModesInputMixin
from .particles_input import ParticlesInputMixin
from .streaming import Portion, StreamingMixin


class CflexHEMNMAOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputParticles = SetOfParticlesFlex


class CflexProtHEMNMA(StreamingMixin, ModesInputMixin, ParticlesInputMixin, CflexProtocol):
    """Finds the conformation and the pose of the particle in every image (HEMNMA).

    The reference structure is moved along the chosen normal modes and projected, and pose, shift and amplitudes are
    refined until the projection fits the image. The amplitudes span the conformational space of the particles.

    Several GPUs, or several processes (MPI, also on several computers) share the particles; the result is the same.
    A set that is still growing is taken in portions.
    """

    _label = "hemnma"
    _devStatus = BETA
    _possibleOutputs = CflexHEMNMAOutputs
    COMMAND = "hemnma"
    INPUTS = ("particles", "modes", "structure", "pixel_size")
    MANY_PROCESSES = True

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form)
        self._addModesParam(form)
        self._addOptions(form, "use", "ctf")
        form.addSection(label="Alignment")
        self._addOptions(
            form, "initial_poses", "angular_step", "max_shift_px", "local_range", "local_shift", "symmetry",
            "search_rmsd", "hypotheses", "max_resolution", "batch_size", "seed",
            angular_step={"condition": "not initialPoses"},
            max_shift_px={"condition": "not initialPoses"},
            symmetry={"condition": "not initialPoses"},
            local_range={"condition": "initialPoses"},
            local_shift={"condition": "initialPoses"},
        )  # fmt: skip
        self._addOtherOptions(form)
        self._addStreamingParams(form)
        form.addParallelSection(threads=4, mpi=1)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        if self._startsOpen():
            self._insertFunctionStep(self.convertModesStep, self.inputModes.get().getObjId(), needsGPU=False)
            self._insertPortionSteps()
            return
        self._insertFunctionStep(
            self.convertInputStep,
            self.inputParticles.get().getObjId(),
            self.inputModes.get().getObjId(),
            needsGPU=False,
        )
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _particlesId, _modesId):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        self._modesFiles()
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        self._runCommand({"particles": self._inputPath(PARTICLES_FILE), **self._modesFiles()}, values)
        return [self._resultPath(PARTICLES_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        output = self._newFlexSet(particles, PROGRAM_HEMNMA)
        for item in self._aligned(particles.iterItems(), self._resultPath(PARTICLES_FILE), particles.getSamplingRate()):
            output.append(item)
        output.setAlignmentProj()
        self._defineOutputs(**{CflexHEMNMAOutputs.outputParticles.name: output})
        self._defineRelations(output)
        self.summaryVar.set(self._summaryOf([self._figures()]))

    # ---------------------------------------------------------------- steps of a set that grows

    def convertModesStep(self, _modesId):
        self._modesFiles()

    def _insertPortion(self, portion: Portion):
        number = portion.number
        convert = self._insertFunctionStep(self.convertPortionStep, number, prerequisites=[1], needsGPU=False)
        run = self._insertFunctionStep(
            self.runPortionStep, number, self._formValues(), prerequisites=[convert], needsGPU=self._onGpu()
        )
        self._insertFunctionStep(self.outputPortionStep, number, prerequisites=[run], needsGPU=False)

    def convertPortionStep(self, number):
        path = self._portionPath(number, PARTICLES_FILE)
        particles = self._openInput()
        write_particles(particles, path, frozenset(self._portions()[number - 1].ids.tolist()))
        particles.close()
        return [path]

    def runPortionStep(self, number, values):
        inputs = {"particles": self._portionPath(number, PARTICLES_FILE), **self._modesFiles()}
        if number > 1:
            inputs["calibration"] = self._portionPath(1, self.COMMAND, CALIBRATION_FILE)
        output = self._portionPath(number, self.COMMAND)
        self._runCommand(inputs, values, output)
        return [self._portionPath(number, self.COMMAND, PARTICLES_FILE)]

    def outputPortionStep(self, number):
        name = CflexHEMNMAOutputs.outputParticles.name
        portion, particles = self._portions()[number - 1], self.inputParticles.get()
        known = hasattr(self, name)
        output = self._openFlexSet(PROGRAM_HEMNMA) if known else self._newFlexSet(self._openInput(), PROGRAM_HEMNMA)
        # what is there already: the step is repeated after it had done this, or an earlier run took the set as a whole
        there = output.getIdSet() if known and int(portion.ids[0]) in output else ()
        result = self._portionPath(number, self.COMMAND, PARTICLES_FILE)
        for item in self._aligned(self._portionItems(portion), result, particles.getSamplingRate()):
            if item.getObjId() not in there:
                output.append(item)
        output.setAlignmentProj()
        self._updateOutputSet(name, output, Set.STREAM_OPEN)
        if not known:
            self._defineRelations(output)
        records = [self._runRecord(self._portionPath(i + 1, self.COMMAND)) for i in range(number)]
        self.summaryVar.set(self._summaryOf([record.get("results", {}) for record in records]))
        self._store()

    # ---------------------------------------------------------------- outputs

    def _aligned(self, items, resultFile, samplingRate):
        """Flexible particles out of items of the input and the rows of a result."""
        update = particle_updates(resultFile, samplingRate, program=PROGRAM_HEMNMA)
        for item in items:
            flexible = ParticleFlex(progName=PROGRAM_HEMNMA)
            flexible.copy(item)
            update(flexible)
            yield flexible

    def _defineRelations(self, output):
        self._defineTransformRelation(self.inputParticles, output)
        self._defineSourceRelation(self.inputModes, output)

    def _summaryOf(self, figures):
        """One line about the results of one or more runs of the command."""
        count, converged = (sum(found.get(name, 0) for found in figures) for name in ("particles", "converged"))
        line = f"*{count}* particles aligned on modes {self.modeList.get()}, {converged} converged"
        scores = [found["median_score"] for found in figures if "median_score" in found]
        return line + (f"; median score {float(np.median(scores)):.3f}." if scores else ".")

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._modeErrors() + self._particleErrors()
        particles = self.inputParticles.get()
        if particles is None:
            return errors
        if self.initialPoses.get() and not particles.hasAlignmentProj():
            errors.append("The particles have no 3D poses to start from; set 'Start from given poses' to No")
        ctf = self.getEnumText("ctf")
        if ctf in ("model", "flipped") and not particles.hasCTF():
            errors.append(f"The particles have no CTF, so CTF '{ctf}' is not possible; take 'auto' or 'none'")
        if particles.isAmplitudeCorrected() and ctf != "none":
            errors.append(
                "The images are CTF-corrected in amplitude, which the model does not describe; take CTF 'none'"
            )
        return errors

    def _warnings(self):
        particles = self.inputParticles.get()
        warnings = []
        if particles is not None and not particles.hasCTF():
            warnings.append("The particles have no CTF: the reference is compared without one.")
        if particles is not None and self.inputModes.get() is not None:
            wanted = self._options().use if self._options() else ()
            poor = [m.number for m in read_modes(self.inputModes.get()) if m.number in wanted and not m.enabled]
            if poor:
                warnings.append(
                    f"Mode {describe_numbers(poor)} is disabled in the set (low collectivity); local motions are "
                    "rarely visible in single images."
                )
        return warnings

    def _summary(self):
        return [self.summaryVar.get("The particles are not aligned yet.")]

    def _methods(self):
        if not hasattr(self, CflexHEMNMAOutputs.outputParticles.name):
            return []
        search = (
            "the given poses" if self.initialPoses.get() else f"a global search in steps of {self.angularStep.get():g}°"
        )
        return [
            f"Poses and amplitudes of normal modes {self.modeList.get()} of {self.outputParticles.getSize()} particles "
            f"were determined by elastic 3D-to-2D alignment, starting from {search}."
        ]

    def _citations(self):
        return ["Jin2014", "Harastani2020", "Harastani2022"]
