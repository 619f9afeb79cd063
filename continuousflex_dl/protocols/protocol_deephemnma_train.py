"""Training of a network that reads conformations and poses off particle images."""

from __future__ import annotations

import enum

import pyworkflow.protocol.params as params
from pwem.objects import ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA

from ..constants import MODEL_ATTRIBUTE, MODEL_FILE, PARTICLES_FILE, PROGRAM_DEEPHEMNMA
from ..convert import amplitudes_of, mode_numbers_of, padded, write_particles
from .base import CflexProtocol
from .model_input import model_folder
from .modes_input import ModesInputMixin
from .particles_input import ParticlesInputMixin


class CflexDeepHEMNMATrainOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputParticles = SetOfParticlesFlex


class CflexProtDeepHEMNMATrain(ModesInputMixin, ParticlesInputMixin, CflexProtocol):
    """Trains a network on particles whose conformations and poses are known (DeepHEMNMA).

    The labels come from HEMNMA on a part of a large set, of this plugin or of another one. The network learns from
    these particles and from fresh ones that are rendered with their CTF and noise, and then predicts the rest of the
    set in seconds. The output is the set of labelled particles, which carries the network.

    Several GPUs share the batches.
    """

    _label = "deep hemnma train"
    _devStatus = BETA
    _possibleOutputs = CflexDeepHEMNMATrainOutputs
    COMMAND = "deephemnma train"
    INPUTS = ("particles", "modes", "structure", "start_from", "pixel_size")
    MANY_PROCESSES = True

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(
            form,
            label="Labelled particles",
            help="Particles with poses and amplitudes of normal modes, for example those that hemnma has aligned.",
        )
        self._addModesParam(form)
        form.addParam(
            "startFromSet",
            params.PointerParam,
            pointerClass="SetOfParticlesFlex",
            allowsNull=True,
            label="Start from (optional)",
            help="The output of an earlier training, whose network is trained further on these particles.",
        )
        self._addOptions(form, "use", "preset", "source")
        form.addSection(label="Training")
        self._addOptions(form, "epochs", "max_minutes", "batch_size", "learning_rate", "patience", "validation", "test")
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=1)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        objects = (self.inputParticles.get(), self.inputModes.get(), self.startFromSet.get())
        identifiers = [item.getObjId() if item is not None else 0 for item in objects]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, *_identifiers):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        self._modesFiles()
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        inputs = {"particles": self._inputPath(PARTICLES_FILE), **self._modesFiles()}
        before = model_folder(self.startFromSet.get())
        if before is not None:
            inputs["start_from"] = before
        self._runCommand(inputs, values)
        return [self._resultPath(MODEL_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        output = self._newFlexSet(particles, PROGRAM_DEEPHEMNMA)
        for item in particles.iterItems():
            flexible = ParticleFlex(progName=PROGRAM_DEEPHEMNMA)
            flexible.copy(item)
            flexible.setZFlex(amplitudes_of(item))
            flexible.setZRed(padded(amplitudes_of(item)))
            output.append(flexible)
        output.setAlignmentProj()
        output.getFlexInfo().setAttr(MODEL_ATTRIBUTE, self._resultPath())
        self._defineOutputs(**{CflexDeepHEMNMATrainOutputs.outputParticles.name: output})
        self._defineTransformRelation(self.inputParticles, output)
        self._defineSourceRelation(self.inputModes, output)
        figures = self._figures()
        held = figures.get("errors", {})
        tested = held.get("test") or held.get("validation", {})
        self.summaryVar.set(
            f"Trained on {figures.get('source')} particles for {figures.get('steps')} steps "
            f"({figures.get('training_minutes')} minutes).\n"
            f"Mean errors on particles held out: amplitudes {tested.get('amplitude_angst', float('nan')):.1f} Å, "
            f"orientation {tested.get('angle_deg', float('nan')):.1f} degrees, shift "
            f"{tested.get('shift_angst', float('nan')):.2f} Å."
        )

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._modeErrors() + self._particleErrors()
        particles, before = self.inputParticles.get(), self.startFromSet.get()
        if before is not None and model_folder(before) is None:
            errors.append("'Start from': the set carries no network; take the output of a training")
        if particles is None or not particles.getSize() or self.getEnumText("source") == "rendered":
            return errors
        first = particles.getFirstItem()
        if not amplitudes_of(first):
            errors.append("The particles carry no amplitudes of normal modes to learn; take the output of hemnma")
        elif not particles.hasAlignmentProj():
            errors.append("The particles have no 3D poses to learn; take the output of hemnma")
        else:
            options = self._options()
            missing = sorted(set(options.numbers if options else ()) - set(mode_numbers_of(first)))
            if missing:
                errors.append(f"The particles carry no amplitudes of mode {', '.join(map(str, missing))}")
        return errors

    def _summary(self):
        return self.summaryVar.get("The network is not trained yet.").splitlines()

    def _methods(self):
        if not hasattr(self, CflexDeepHEMNMATrainOutputs.outputParticles.name):
            return []
        return [
            f"A network was trained on {self.outputParticles.getSize()} particles with known amplitudes and poses "
            f"(DeepHEMNMA, preset {self.getEnumText('preset')})."
        ]

    def _citations(self):
        return ["Hamitouche2022"]
