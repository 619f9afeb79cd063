"""Cryo-ViT: learn how a structure moves from particle images, and find the structures of more particles with it."""

from __future__ import annotations

import enum
import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA

from ..constants import (
    CONFORMATIONS_ATTRIBUTE,
    CONFORMATIONS_FILE,
    MODEL_ATTRIBUTE,
    PARTICLES_FILE,
    PROGRAM_CRYOVIT,
    REFERENCE_FILE,
)
from ..convert import ConversionError, padded, particle_updates, read_latents, write_particles
from .base import CflexProtocol
from .particles_input import ParticlesInputMixin


class CflexCryoViTOutputs(enum.Enum):
    """Outputs of both protocols."""

    outputParticles = SetOfParticlesFlex
    outputStructure = AtomStruct


class _CryoViT(ParticlesInputMixin, CflexProtocol):
    """What training and inference share: particles with poses in, particles with latents and structures out."""

    _devStatus = BETA
    _possibleOutputs = CflexCryoViTOutputs
    MANY_PROCESSES = True

    def convertInputStep(self, *_identifiers):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        return [self._inputPath(PARTICLES_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        output = self._newFlexSet(particles, PROGRAM_CRYOVIT)
        star, conformations = self._resultPath(PARTICLES_FILE), self._resultPath(CONFORMATIONS_FILE)
        update = particle_updates(star, particles.getSamplingRate())
        latents = read_latents(conformations)
        if len(latents) != particles.getSize():
            raise ConversionError(
                f"{conformations}: found the latents of {len(latents)} particles, expected {particles.getSize()}"
            )
        for latent, item in zip(latents.tolist(), particles.iterItems(), strict=True):
            flexible = ParticleFlex(progName=PROGRAM_CRYOVIT)
            flexible.copy(item)
            update(flexible)
            flexible.getFlexInfo().setProgName(PROGRAM_CRYOVIT)
            flexible.setZFlex(latent)
            flexible.setZRed(padded(latent[:3]))
            output.append(flexible)
        output.setAlignmentProj()
        output.getFlexInfo().setAttr(CONFORMATIONS_ATTRIBUTE, conformations)
        output.getFlexInfo().setAttr(MODEL_ATTRIBUTE, self._modelFolder())
        structure = AtomStruct(self._resultPath(REFERENCE_FILE))
        self._defineOutputs(
            **{
                CflexCryoViTOutputs.outputParticles.name: output,
                CflexCryoViTOutputs.outputStructure.name: structure,
            }
        )
        self._defineTransformRelation(self.inputParticles, output)
        self._defineSourceRelation(self.inputParticles, structure)

    def _modelFolder(self) -> str:
        raise NotImplementedError

    def _poseErrors(self) -> list[str]:
        particles = self.inputParticles.get()
        if particles is not None and particles.getSize() and not particles.hasAlignmentProj():
            return ["The particles have no 3D poses; refine them first, or align them with HEMNMA"]
        return []

    def _summary(self):
        figures = self._figures()
        if not figures:
            return ["The structures are not found yet."]
        physics = figures["structures"]
        lines = [
            f"*{figures['particles']}* structures, {figures['rmsd_from_mean_angst']} Å (RMSD) from their mean; "
            f"median score {figures['median_score']}."
        ]
        if "backbone" in physics:
            lines.append(
                f"Neighbouring nodes within 0.4 Å of 3.8 Å: {100 * physics['backbone']:.1f} % (reference "
                f"{100 * physics['reference_backbone']:.1f} %); clashes per structure: {physics['clashes']}."
            )
        for name, values in figures["latent_correlation"].items():
            lines.append(f"Correlation of the latent with the {name}: {max(values):.2f} (0 is good).")
        return lines

    def _citations(self):
        return ["Hamitouche2022"]


class CflexProtCryoViTTrain(_CryoViT):
    """Learns from particle images with poses how a structure moves (Cryo-ViT), one structure per image.

    A reference structure is deformed and projected until it explains every image; poses are refined on the way. What is
    learned needs no normal modes and no labels. With known structures of the particles it learns these as well.
    """

    _label = "cryovit - train"
    COMMAND = "cryovit train"
    INPUTS = ("particles", "reference", "supervised", "pixel_size")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form, help="Particle images with 3D poses, with their CTF where it is known.")
        form.addParam(
            "inputStructure",
            params.PointerParam,
            pointerClass="AtomStruct",
            important=True,
            label="Reference structure",
            help="Structure that is deformed; with all atoms where they are known. The mean of its atoms is the centre "
            "of the particle.",
        )
        form.addParam(
            "inputKnown",
            params.PointerParam,
            pointerClass="SetOfParticlesFlex",
            allowsNull=True,
            expertLevel=params.LEVEL_ADVANCED,
            label="Known structures (optional)",
            help="The same particles with structures of their own, of the same reference, to be learned as well.",
        )
        self._addOptions(form, "preset", "decoder", "encoder", "latent_size", "ctf", "max_resolution")
        form.addSection(label="Training")
        self._addOptions(
            form, "refine_poses", "angle_std", "shift_std", "epochs", "max_minutes", "batch_size", "learning_rate",
            angle_std={"condition": "refinePoses"}, shift_std={"condition": "refinePoses"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=1)

    def _insertAllSteps(self):
        objects = (self.inputParticles, self.inputStructure, self.inputKnown)
        identifiers = [pointer.get().getObjId() if pointer.get() is not None else 0 for pointer in objects]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def runStep(self, values):
        inputs = {
            "particles": self._inputPath(PARTICLES_FILE),
            "reference": self.inputStructure.get().getFileName(),
        }
        if self.inputKnown.get() is not None:
            inputs["supervised"] = _attribute(self.inputKnown.get(), CONFORMATIONS_ATTRIBUTE)
        self._runCommand(inputs, values)
        return [self._resultPath(PARTICLES_FILE), self._resultPath(CONFORMATIONS_FILE)]

    def _modelFolder(self):
        return self._resultPath()

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._particleErrors() + self._poseErrors()
        known, particles = self.inputKnown.get(), self.inputParticles.get()
        if known is not None and _attribute(known, CONFORMATIONS_ATTRIBUTE) is None:
            errors.append("The known structures have no coordinates; take the output of Cryo-ViT")
        if known is not None and particles is not None and known.getSize() != particles.getSize():
            errors.append(
                f"There are {known.getSize()} known structures and {particles.getSize()} particles; give the same ones"
            )
        return errors

    def _methods(self):
        if not hasattr(self, CflexCryoViTOutputs.outputParticles.name):
            return []
        return [
            f"Structures and refined poses of {self.outputParticles.getSize()} particles were learned from the images "
            f"by Cryo-ViT (preset {self.getEnumText('preset')})."
        ]


class CflexProtCryoViTInfer(_CryoViT):
    """Finds structures and refined poses of particles with a Cryo-ViT that was trained on others."""

    _label = "cryovit - infer"
    COMMAND = "cryovit infer"
    INPUTS = ("model", "particles", "pixel_size")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form, help="Particle images with 3D poses, of the box and pixel size of the training.")
        form.addParam(
            "inputTrained",
            params.PointerParam,
            pointerClass="SetOfParticlesFlex",
            important=True,
            label="Trained on",
            help="Particles that a Cryo-ViT was trained on (output of 'cryovit - train').",
        )
        self._addOptions(form, "refine", "ctf")
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=1)

    def _insertAllSteps(self):
        identifiers = [pointer.get().getObjId() for pointer in (self.inputParticles, self.inputTrained)]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def runStep(self, values):
        self._runCommand({"particles": self._inputPath(PARTICLES_FILE), "model": self._modelFolder()}, values)
        return [self._resultPath(PARTICLES_FILE), self._resultPath(CONFORMATIONS_FILE)]

    def _modelFolder(self):
        return _attribute(self.inputTrained.get(), MODEL_ATTRIBUTE)

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._particleErrors() + self._poseErrors()
        trained = self.inputTrained.get()
        if trained is not None and _attribute(trained, MODEL_ATTRIBUTE) is None:
            errors.append("No Cryo-ViT was trained on these particles; take the output of 'cryovit - train'")
        return errors

    def _methods(self):
        if not hasattr(self, CflexCryoViTOutputs.outputParticles.name):
            return []
        return [f"Structures and refined poses of {self.outputParticles.getSize()} particles were found by Cryo-ViT."]


def _attribute(particles, name: str) -> str | None:
    """A path that the method which made a set has left with it; None where there is none."""
    info = particles.getFlexInfo() if isinstance(particles, SetOfParticlesFlex) else None
    stored = getattr(info, name, None)
    path = None if stored is None else stored.get()
    return path if path and os.path.exists(path) else None
