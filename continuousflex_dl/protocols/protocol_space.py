"""Conformational space of one or several particle sets."""

from __future__ import annotations

import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, ParticleFlex, SetOfParticlesFlex
from pyworkflow import BETA
from pyworkflow.object import Float, Integer

from ..constants import (
    CONFORMATIONS_ATTRIBUTE,
    CONFORMATIONS_FILE,
    PARTICLES_FILE,
    PROGRAM_SPACE,
    REPORT_FILE,
    SPACE_ATTRIBUTE,
    SPACE_FILE,
    TRAJECTORY_FILE,
)
from ..convert import amplitudes_of, latent_of, padded, prepare_modes, read_space, write_latents, write_particles
from .base import CflexProtocol
from .particles_input import ParticlesInputMixin

OUTPUT_PARTICLES, OUTPUT_TRAJECTORY = "outputParticles", "outputTrajectory"


class CflexProtSpace(ParticlesInputMixin, CflexProtocol):
    """Reduces the conformations of the particles to few dimensions and writes a report.

    The particles come out with their coordinates in the space, ready for groups, trajectories, plots and filters; with
    the normal modes a trajectory of structures along the first axis is made as well.
    """

    _label = "conformational space"
    _devStatus = BETA
    _possibleOutputs = {OUTPUT_PARTICLES: SetOfParticlesFlex, OUTPUT_TRAJECTORY: AtomStruct}
    COMMAND = "space"
    INPUTS = ("input", "also", "conformations", "modes", "structure", "truth", "pixel_size")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._addParticlesParam(
            form,
            help="Particles with amplitudes of normal modes (a result of HEMNMA, of this plugin or another), or "
            "flexible particles with a latent of any method.",
        )
        form.addParam(
            "otherParticles",
            params.MultiPointerParam,
            pointerClass="SetOfParticles,SetOfParticlesFlex",
            allowsNull=True,
            label="Other particles (optional)",
            help="More sets that share the space. Every set comes out by itself.",
        )
        self._addOptions(
            form, "on", "method", "n_components", "outlier_distance", "keep_unconverged", "neighbours", "seed",
            neighbours={"condition": "method != 0"},
        )  # fmt: skip
        self._addOptions(form, "clusters", "n_clusters", n_clusters={"condition": "clusters in (1, 2)"})
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

    def _sets(self) -> list[SetOfParticlesFlex]:
        """All particle sets, the main one first."""
        others = [pointer.get() for pointer in self.otherParticles] if self.otherParticles is not None else []
        return [self.inputParticles.get(), *(other for other in others if other is not None)]

    def _starOf(self, number: int) -> str:
        """STAR file of a set, 0 for the main one."""
        return self._inputPath(PARTICLES_FILE) if number == 0 else self._inputPath(f"set_{number + 1}", PARTICLES_FILE)

    def _insertAllSteps(self):
        objects = [*self._sets(), self.inputModes.get(), self.inputTruth.get()]
        identifiers = [item.getObjId() if item is not None else 0 for item in objects]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, *_identifiers):
        for number, particles in enumerate(self._sets()):
            star = self._starOf(number)
            write_particles(particles, star)
            beside = os.path.join(os.path.dirname(star), CONFORMATIONS_FILE)
            if self.getEnumText("on") == "latent":
                write_latents(particles, beside)
            elif self.getEnumText("on") == "coordinates" and not os.path.lexists(beside):
                os.symlink(os.path.abspath(_conformations(particles)), beside)
        if self.inputTruth.get() is not None:
            write_particles(self.inputTruth.get(), self._inputPath("truth.star"))
        self._otherFiles()
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        self._runCommand({"input": self._starOf(0), **self._otherFiles()}, values)
        return [self._resultPath(SPACE_FILE), self._resultPath(REPORT_FILE)]

    def createOutputStep(self):
        space = read_space(self._resultPath(SPACE_FILE))
        sets = self._sets()
        if len(space.coordinates) != sum(particles.getSize() for particles in sets):
            raise ValueError(
                f"{self._resultPath(SPACE_FILE)}: found {len(space.coordinates)} particles, "
                f"expected {sum(particles.getSize() for particles in sets)}"
            )
        outputs, first = {}, 0
        for number, particles in enumerate(sets):
            name = OUTPUT_PARTICLES + (str(number + 1) if number else "")
            last = first + particles.getSize()
            outputs[name] = self._outputSet(particles, space, first, last, number)
            first = last
        for output in outputs.values():
            output.getFlexInfo().setAttr(SPACE_ATTRIBUTE, self._resultPath())
        if os.path.exists(self._resultPath(TRAJECTORY_FILE)):
            outputs[OUTPUT_TRAJECTORY] = AtomStruct(self._resultPath(TRAJECTORY_FILE))
        self._defineOutputs(**outputs)
        for number, particles in enumerate(sets):
            self._defineTransformRelation(particles, outputs[OUTPUT_PARTICLES + (str(number + 1) if number else "")])
        self.summaryVar.set(
            f"*{len(space.coordinates)}* particles in {space.coordinates.shape[1]} dimension(s).\n"
            f"Report: {self._resultPath(REPORT_FILE)}"
        )

    def _outputSet(self, particles, space, first: int, last: int, number: int) -> SetOfParticlesFlex:
        """The particles of a set with their coordinates, group and distance."""
        output = self._newFlexSet(particles, PROGRAM_SPACE, suffix=str(number + 1) if number else "")
        flexible = isinstance(particles, SetOfParticlesFlex)
        program = particles.getFlexInfo().getProgName() if flexible else PROGRAM_SPACE
        output.getFlexInfo().setProgName(program)
        for row, item in zip(range(first, last), particles.iterItems(), strict=True):
            particle = ParticleFlex(progName=program)
            particle.copy(item)
            particle.setZFlex(amplitudes_of(item) or latent_of(item))
            particle.setZRed(padded(space.coordinates[row].tolist()))
            particle._cflexSpaceRow = Integer(row + 1)
            if len(space.groups):
                particle._cflexGroup = Integer(int(space.groups[row]))
            if len(space.distance):
                particle._cflexMahalanobis = Float(float(space.distance[row]))
            output.append(particle)
        return output

    def _otherFiles(self) -> dict[str, object]:
        """Optional options that are files: more sets, modes and truth."""
        files: dict[str, object] = {}
        others = [self._starOf(number) for number in range(1, len(self._sets()))]
        if others:
            files["also"] = tuple(others)
        if self.inputModes.get() is not None:
            prepared = prepare_modes(self.inputModes.get(), self._inputPath("modes"))
            files["modes"] = prepared.path
            if prepared.structure:
                files["structure"] = prepared.structure
        if self.inputTruth.get() is not None:
            files["truth"] = self._inputPath("truth.star")
        return files

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._particleErrors()
        on = self.getEnumText("on")
        for particles in self._sets():
            if particles is None or not particles.getSize():
                continue
            first = particles.getFirstItem()
            if on == "amplitudes" and not amplitudes_of(first):
                errors.append("The particles carry no amplitudes of normal modes; take the output of HEMNMA")
            elif on == "latent" and not latent_of(first):
                errors.append("The particles carry no latent; take flexible particles of a method that makes one")
            elif on == "coordinates" and _conformations(particles) is None:
                errors.append("The particles have no coordinates of their own; reduce their amplitudes or latents")
        particles, truth = self.inputParticles.get(), self.inputTruth.get()
        if particles is not None and truth is not None and truth.getSize() < particles.getSize():
            errors.append(
                f"The truth has {truth.getSize()} particles, fewer than the {particles.getSize()} of the input"
            )
        if truth is not None and len(self._sets()) > 1:
            errors.append("The truth is for one particle set; leave the other particles out")
        return errors

    def _summary(self):
        return self.summaryVar.get("The space is not computed yet.").splitlines()

    def _methods(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return []
        return [
            f"The {self.getEnumText('on')} of {self.outputParticles.getSize()} particles were reduced to "
            f"{self.nComponents.get()} dimensions ({self.getEnumText('method')})."
        ]

    def _citations(self):
        return ["Harastani2022"]


def _conformations(particles) -> str | None:
    """File with the coordinates of a set, where the method that made it left one."""
    info = particles.getFlexInfo() if isinstance(particles, SetOfParticlesFlex) else None
    stored = getattr(info, CONFORMATIONS_ATTRIBUTE, None)
    path = None if stored is None else stored.get()
    return path if path and os.path.exists(path) else None
