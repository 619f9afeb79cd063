"""Pseudoatoms that stand for a map."""

from __future__ import annotations

import enum

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, Volume
from pyworkflow import BETA

from ..constants import MODEL_MAP_FILE, PSEUDOATOMS_FILE
from ..convert import ConversionError, new_volume, prepare_volume, volume_path
from .base import CflexProtocol


class CflexPseudoAtomsOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputStructure = AtomStruct
    outputVolume = Volume


class CflexProtPseudoAtoms(CflexProtocol):
    """Approximates a map by Gaussians of one width (pseudoatoms).

    Where there is no atomic model, the pseudoatoms take its place: normal modes can be computed of them, and images
    aligned with them. They are placed where the density calls for them until the target error is reached.
    """

    _label = "pseudoatoms from a map"
    _devStatus = BETA
    _possibleOutputs = CflexPseudoAtomsOutputs
    COMMAND = "pseudoatoms"
    INPUTS = ("map", "mask", "pixel_size", "seed")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputVolume",
            params.PointerParam,
            pointerClass="Volume",
            important=True,
            label="Input volume",
            help="Map of the molecule.",
        )
        form.addParam(
            "inputMask",
            params.PointerParam,
            pointerClass="VolumeMask",
            allowsNull=True,
            label="Mask",
            help="Voxels above 0.5 are molecule. Without a mask it is the largest connected part above the threshold."
            "\n\nCommand line: --mask",
        )
        self._addOptions(form, "radius_voxels", "target_error", "threshold", "flip_hand")
        self._addOtherOptions(form)
        form.addParallelSection(threads=2, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        mask = self.inputMask.get()
        self._insertFunctionStep(
            self.runStep,
            self.inputVolume.get().getObjId(),
            None if mask is None else mask.getObjId(),
            self._formValues(),
            needsGPU=False,
        )
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def runStep(self, _volumeId, _maskId, values):
        volume, mask = self.inputVolume.get(), self.inputMask.get()
        inputs = {
            "map": prepare_volume(volume, self._inputPath("volume.mrc")),
            "pixel_size": float(volume.getSamplingRate()),
        }
        if mask is not None:
            inputs["mask"] = prepare_volume(mask, self._inputPath("mask.mrc"))
        self._runCommand(inputs, values)
        return [self._resultPath(PSEUDOATOMS_FILE), self._resultPath(MODEL_MAP_FILE)]

    def createOutputStep(self):
        figures = self._figures()
        model = new_volume(self._resultPath(MODEL_MAP_FILE), figures["pixel_size_angst"], figures["origin_angst"])
        structure = AtomStruct(self._resultPath(PSEUDOATOMS_FILE), pseudoatoms=True)
        structure.setVolume(model)
        self._defineOutputs(
            **{
                CflexPseudoAtomsOutputs.outputStructure.name: structure,
                CflexPseudoAtomsOutputs.outputVolume.name: model,
            }
        )
        self._defineSourceRelation(self.inputVolume, structure)
        self._defineSourceRelation(self.inputVolume, model)

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors()
        for pointer in (self.inputVolume, self.inputMask):
            if pointer.get() is None:
                continue
            try:
                volume_path(pointer.get())
            except ConversionError as error:
                errors.append(str(error))
        volume, mask = self.inputVolume.get(), self.inputMask.get()
        if not errors and volume is not None and mask is not None and volume.getDim() != mask.getDim():
            errors.append(f"The mask has {_size(mask)} voxels and the volume {_size(volume)}; they must be the same")
        return errors

    def _summary(self):
        if not hasattr(self, CflexPseudoAtomsOutputs.outputStructure.name):
            return ["The pseudoatoms are not made yet."]
        figures = self._figures()
        lines = [
            f"*{figures['n_pseudoatoms']}* pseudoatoms of width {figures['sigma_angst']:.3g} Å, error "
            f"{figures['error_percent']:.2f} %.",
            f"Correlation of map and model in Fourier space: 0.5 at {figures['fsc_05_angst']:.2f} Å.",
            f"Threshold {figures['threshold']:.4g}, {figures['voxels']} voxels.",
        ]
        if not figures["target_reached"]:
            lines.append("The target error is not reached: a smaller radius is needed.")
        return lines

    def _methods(self):
        if not hasattr(self, CflexPseudoAtomsOutputs.outputStructure.name):
            return []
        figures = self._figures()
        return [
            f"The map was approximated by {figures['n_pseudoatoms']} Gaussians of standard deviation "
            f"{figures['sigma_angst']:.3g} Å, with a mean error of {figures['error_percent']:.2f} % of its densities."
        ]

    def _citations(self):
        return ["Jonic2016", "NogalesCadenas2013"]


def _size(volume) -> str:
    return " x ".join(str(size) for size in volume.getDim())
