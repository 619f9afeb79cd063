"""Map from particles whose poses are known."""

from __future__ import annotations

import csv
import enum
import os

import pyworkflow.protocol.params as params
from pwem.objects import FSC, AtomStruct, SetOfFSCs, Volume, VolumeMask
from pyworkflow import BETA

from ..constants import PARTICLES_FILE
from ..convert import ConversionError, new_volume, prepare_volume, volume_path, write_particles
from .base import CflexProtocol
from .particles_input import ParticlesInputMixin

MAP_FILE, RECORD, CURVES = "map.mrc", "map.json", "map_fsc.csv"


class CflexReconstructOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputVolume = Volume
    outputMask = VolumeMask
    outputFSCs = SetOfFSCs


class CflexProtReconstruct(ParticlesInputMixin, CflexProtocol):
    """Reconstructs a map from particles with poses, by CTF-weighted back-projection in Fourier space.

    The half maps, their correlation and, with a model, the correlation with it come out too. Groups of a conformational
    space are reconstructed with it.
    """

    _label = "reconstruct"
    _devStatus = BETA
    _possibleOutputs = CflexReconstructOutputs
    COMMAND = "reconstruct"
    INPUTS = ("particles", "mask", "model", "half_maps", "pixel_size")

    def _defineParams(self, form):
        self._addGpuParams(form)
        form.addSection(label="Input")
        self._addParticlesParam(form, help="Particles with poses (projection alignment), such as a group of a space.")
        self._addOptions(form, "ctf", "symmetry", "max_resolution", "regularise", "low_pass", "b_factor", "seed")
        form.addSection(label="Resolution")
        form.addParam(
            "inputMask",
            params.PointerParam,
            pointerClass="VolumeMask",
            allowsNull=True,
            label="Mask (optional)",
            help="Soft mask for the correlations, of the size of the images.",
        )
        self._addOptions(form, "auto_mask", auto_mask={"condition": "inputMask is None"})
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="Volume,AtomStruct",
            allowsNull=True,
            label="Model (optional)",
            help="Map or structure to compare the map with. A structure is put with the mean of its atoms in the "
            "centre of the box.",
        )
        self._addOptions(form, "sigma", sigma={"condition": "inputModel is not None"})
        self._addOtherOptions(form)
        form.addParallelSection(threads=4, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        objects = (self.inputParticles, self.inputMask, self.inputModel)
        identifiers = [pointer.get().getObjId() if pointer.get() is not None else 0 for pointer in objects]
        self._insertFunctionStep(self.convertInputStep, *identifiers, needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=self._onGpu())
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, *_identifiers):
        write_particles(self.inputParticles.get(), self._inputPath(PARTICLES_FILE))
        return [self._inputPath(PARTICLES_FILE)]

    def runStep(self, values):
        inputs = {"particles": self._inputPath(PARTICLES_FILE), "half_maps": True}
        if self.inputMask.get() is not None:
            inputs["mask"] = prepare_volume(self.inputMask.get(), self._inputPath("mask.mrc"))
        model = self.inputModel.get()
        if isinstance(model, AtomStruct):
            inputs["model"] = model.getFileName()
        elif model is not None:
            inputs["model"] = prepare_volume(model, self._inputPath("model.mrc"))
        self._runCommand(inputs, values, self._resultPath(MAP_FILE))
        return [self._resultPath(MAP_FILE), self._resultPath(CURVES)]

    def createOutputStep(self):
        figures = self._figures()
        pixel_size = float(figures["pixel_size"])
        origin = [-(figures["box"] // 2) * pixel_size] * 3
        volume = new_volume(self._resultPath(MAP_FILE), pixel_size, origin)
        volume.setHalfMaps([self._resultPath("map_half1.mrc"), self._resultPath("map_half2.mrc")])
        curves = new_fscs(self.getPath(), self._resultPath(CURVES))
        outputs = {
            CflexReconstructOutputs.outputVolume.name: volume,
            CflexReconstructOutputs.outputFSCs.name: curves,
        }
        if os.path.exists(self._resultPath("map_mask.mrc")):
            mask = VolumeMask(location=self._resultPath("map_mask.mrc"))
            mask.setSamplingRate(pixel_size)
            outputs[CflexReconstructOutputs.outputMask.name] = mask
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)

    # ---------------------------------------------------------------- information

    def _runRecord(self, output: str | None = None):
        return self._readRecord(self._resultPath(RECORD))

    def _validate(self):
        errors = self._optionErrors() + self._gpuErrors() + self._particleErrors()
        particles = self.inputParticles.get()
        if particles is not None and particles.getSize():
            if not particles.hasAlignmentProj():
                errors.append("The particles have no poses; align them first, for example with HEMNMA")
            if self.getEnumText("ctf") in ("model", "flipped") and not particles.hasCTF():
                errors.append("The particles have no CTF; take CTF 'auto' or 'none'")
            errors += self._sizeErrors(particles)
        return errors

    def _sizeErrors(self, particles) -> list[str]:
        """Volumes that do not fit the images."""
        errors, box = [], particles.getDim()[0]
        for name, pointer in (("mask", self.inputMask), ("model", self.inputModel)):
            volume = pointer.get()
            if not isinstance(volume, Volume):
                continue
            try:
                volume_path(volume)
            except ConversionError as error:
                errors.append(str(error))
                continue
            if tuple(volume.getDim()) != (box, box, box):
                errors.append(f"The {name} has {volume.getDim()[0]} voxels along x, the images {box} px; resample it")
        return errors

    def _summary(self):
        if not hasattr(self, CflexReconstructOutputs.outputVolume.name):
            return ["The map is not reconstructed yet."]
        figures = self._figures()
        halves, model = figures.get("resolution_halves_0.143_angst"), figures.get("resolution_model_0.5_angst")
        lines = [f"*{figures['particles']}* particles, {figures['box']} px, symmetry {figures['symmetry']}."]
        if halves:
            lines.append(f"Half maps correlate at 0.143 at *{halves:.2f} Å*.")
        if model:
            lines.append(f"Map and model correlate at 0.5 at *{model:.2f} Å*.")
        return lines

    def _methods(self):
        if not hasattr(self, CflexReconstructOutputs.outputVolume.name):
            return []
        return [
            f"A map was reconstructed from {self._figures()['particles']} particles by CTF-weighted Fourier "
            "back-projection; its resolution is that at which the half maps correlate at 0.143."
        ]


def new_fscs(folder: str, table: str) -> SetOfFSCs:
    """Curves of a table that ``cflex`` wrote, as a set of Scipion."""
    curves = SetOfFSCs.create(folder, prefix="fscs")
    with open(table, encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    names = [name for name in rows[0] if name not in ("shell", "frequency_per_angst", "resolution_angst")]
    frequency = [float(row["frequency_per_angst"]) for row in rows]
    for name in names:
        curve = FSC(objLabel=name.replace("_", " "))
        curve.setData(frequency, [float(row[name]) for row in rows])
        curves.append(curve)
    return curves
