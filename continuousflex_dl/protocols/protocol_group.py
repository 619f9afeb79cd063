"""Groups of the particles of a conformational space."""

from __future__ import annotations

import csv
import os

import pyworkflow.protocol.params as params
from pwem.objects import (
    AtomStruct,
    ClassFlex,
    SetOfAtomStructs,
    SetOfClassesFlex,
    SetOfParticlesFlex,
    SetOfVolumes,
    VolumeFlex,
)
from pyworkflow import BETA
from pyworkflow.object import String

from ..constants import GROUPS_FILE, PARTICLES_FILE, PROGRAM_SPACE
from ..convert import new_volume, read_groups
from .base import CflexProtocol
from .particles_input import ParticlesInputMixin
from .space_input import SpaceInputMixin

OUTPUT_CLASSES, OUTPUT_STRUCTURES, OUTPUT_VOLUMES, OUTPUT_GROUP = (
    "outputClasses", "outputStructures", "outputVolumes", "outputGroup",
)  # fmt: skip
_WAYS = ("axis", "path", "minimum_path", "clusters", "where", "outline", "column", "selection")
_WAY_LABELS = (
    "slices along an axis", "slices along a path", "slices along the path of least free energy", "clusters",
    "conditions", "outlines", "numbers in a column", "selections of the viewer",
)  # fmt: skip


class CflexProtGroup(SpaceInputMixin, ParticlesInputMixin, CflexProtocol):
    """Groups the particles of a space: by clusters, slices along an axis or a path, conditions, outlines.

    Every group comes out as a subset of the particles, with the structure of its mean conformation and, where wanted,
    its own reconstruction.
    """

    _label = "group"
    _devStatus = BETA
    _possibleOutputs = {
        OUTPUT_CLASSES: SetOfClassesFlex,
        OUTPUT_STRUCTURES: SetOfAtomStructs,
        OUTPUT_VOLUMES: SetOfVolumes,
    }
    COMMAND = "group"
    INPUTS = ("input", "structure", "pixel_size", "minimum_path")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addSpaceParam(form)
        form.addParam(
            "groupBy",
            params.EnumParam,
            choices=list(_WAY_LABELS),
            default=0,
            label="Group by",
            help="How the particles are grouped.",
        )
        self._addOptions(
            form, "axis", "path", "clusters", "where", "outline", "axes", "column", "selection", "n_groups",
            "equal_lengths", "reach", "keep_unconverged",
            axis={"condition": "groupBy == 0"},
            path={"condition": "groupBy == 1"},
            clusters={"condition": "groupBy == 3"},
            where={"condition": "groupBy == 4"},
            outline={"condition": "groupBy == 5"},
            axes={"condition": "groupBy == 5"},
            column={"condition": "groupBy == 6"},
            selection={"condition": "groupBy == 7"},
            n_groups={"condition": "groupBy < 4"},
            equal_lengths={"condition": "groupBy < 3"},
            reach={"condition": "groupBy < 3"},
        )  # fmt: skip
        form.addSection(label="Maps")
        self._addOptions(
            form, "reconstruct", "half_maps", "ctf", "symmetry", "max_resolution", "low_pass", "seed",
            half_maps={"condition": "reconstruct"},
            ctf={"condition": "reconstruct"},
            symmetry={"condition": "reconstruct"},
            max_resolution={"condition": "reconstruct"},
            low_pass={"condition": "reconstruct"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=0)

    def _formValues(self):
        values = super()._formValues()
        values["minimum_path"] = _WAYS[self.groupBy.get()] == "minimum_path"
        return values

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        self._insertFunctionStep(self.convertInputStep, self.inputParticles.get().getObjId(), needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _particlesId):
        return [self._writeSpace()]

    def runStep(self, values):
        self._runCommand({"input": self._inputPath("space")}, values)
        return [self._resultPath(GROUPS_FILE)]

    def createOutputStep(self):
        particles = self.inputParticles.get()
        with open(self._resultPath(GROUPS_FILE), encoding="utf-8") as handle:
            groups = list(csv.DictReader(handle))
        member = read_groups(self._resultPath(PARTICLES_FILE))
        outputs = {}
        for number, group in enumerate(groups, start=1):
            outputs[f"{OUTPUT_GROUP}{number:02d}"] = self._subset(particles, member, number, group)
        if os.path.exists(self._resultPath(f"{groups[0]['group']}.cif")):
            outputs[OUTPUT_STRUCTURES] = self._structures(groups)
        volumes = self._volumes(groups)
        if volumes is not None:
            outputs[OUTPUT_VOLUMES] = volumes
        outputs[OUTPUT_CLASSES] = self._classes(particles, member, groups)
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)
        listed = "\n".join(f"{group['group']}: {group['particles']} particles, {group['what']}" for group in groups)
        self.summaryVar.set(listed)

    def _subset(self, particles, member, number: int, group: dict) -> SetOfParticlesFlex:
        output = self._newFlexSet(particles, PROGRAM_SPACE, suffix=f"_{number:02d}")
        output.getFlexInfo().setProgName(particles.getFlexInfo().getProgName())
        for label, item in zip(member, particles.iterItems(), strict=True):
            if label == number:
                output.append(item.clone())
        output.setObjComment(group["what"])
        return output

    def _structures(self, groups) -> SetOfAtomStructs:
        structures = SetOfAtomStructs.create(self.getPath(), prefix="structures")
        for group in groups:
            structure = AtomStruct(self._resultPath(f"{group['group']}.cif"))
            structure.setObjLabel(group["group"])
            structures.append(structure)
        return structures

    def _volumes(self, groups) -> SetOfVolumes | None:
        made = None
        for group in groups:
            path = self._resultPath(f"{group['group']}.mrc")
            if not os.path.exists(path):
                continue
            volume = self._volume(path)
            if made is None:
                made = SetOfVolumes.create(self.getPath(), prefix="volumes")
                made.setSamplingRate(volume.getSamplingRate())
            volume.setObjLabel(group["group"])
            made.append(volume)
        return made

    def _volume(self, path: str):
        import mrcfile

        with mrcfile.open(path, header_only=True) as opened:
            origin = [float(getattr(opened.header.origin, axis)) for axis in "xyz"]
            volume = new_volume(path, float(opened.voxel_size.x), origin)
        halves = [path.removesuffix(".mrc") + f"_half{number}.mrc" for number in (1, 2)]
        if all(map(os.path.exists, halves)):
            volume.setHalfMaps(halves)
        return volume

    def _classes(self, particles, member, groups) -> SetOfClassesFlex:
        """One class per group; its representative is the map of the group, where there is one."""
        classes = SetOfClassesFlex.create(self.getPath(), prefix="classes")
        classes.setImages(particles)
        made = {}
        for number, group in enumerate(groups, start=1):
            item = ClassFlex()
            item.copyInfo(particles)
            item.setObjId(number)
            item.setObjLabel(group["group"])
            path = self._resultPath(f"{group['group']}.mrc")
            representative = VolumeFlex(progName=particles.getFlexInfo().getProgName())
            if os.path.exists(path):
                representative.copy(self._volume(path), ignoreAttrs=[])
            representative.setSamplingRate(particles.getSamplingRate())
            item.setRepresentative(representative)
            structure = self._resultPath(f"{group['group']}.cif")
            if os.path.exists(structure):
                item._cflexStructure = String(structure)
            classes.append(item)
            item.enableAppend()
            made[number] = item
        for label, particle in zip(member, particles.iterItems(), strict=True):
            if label:
                made[int(label)].append(particle.clone())
        for item in made.values():
            item.write()
            classes.update(item)
        return classes

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._spaceErrors()
        particles = self.inputParticles.get()
        if self.reconstruct.get() and particles is not None and not particles.hasAlignmentProj():
            errors.append("The particles have no poses, so they cannot be reconstructed; set 'Reconstruct' to No")
        return errors

    def _summary(self):
        return self.summaryVar.get("The particles are not grouped yet.").splitlines()

    def _methods(self):
        if not hasattr(self, OUTPUT_CLASSES):
            return []
        count = self.outputClasses.getSize()
        return [f"The particles were divided into {count} groups ({self.getEnumText('groupBy')})."]

    def _citations(self):
        return ["Harastani2022"]
