"""Fit of a reference to maps, rigid and along its normal modes."""

from __future__ import annotations

import csv
import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, SetOfAtomStructs, SetOfVolumes, Volume
from pyworkflow import BETA
from pyworkflow.object import Float

from ..convert import ConversionError, new_volume, prepare_volume, set_amplitudes, volume_path
from .base import CflexProtocol
from .modes_input import ModesInputMixin

OUTPUT_STRUCTURE, OUTPUT_VOLUME = "outputStructure", "outputVolume"
OUTPUT_STRUCTURES, OUTPUT_VOLUMES = "outputStructures", "outputVolumes"
FITS_FILE = "fits.csv"
LIST_FILE = "volumes.txt"


class CflexProtFit(ModesInputMixin, CflexProtocol):
    """Fits a structure to a map, or to each of a set of maps, by moving it rigidly and along its normal modes.

    The structure need not lie in the map. The amplitudes come with errors, and the modes are ranked by what the
    correlation loses without them. The fitted structures lie over the maps.
    """

    _label = "flexible fitting"
    _devStatus = BETA
    _possibleOutputs = {
        OUTPUT_STRUCTURE: AtomStruct,
        OUTPUT_VOLUME: Volume,
        OUTPUT_STRUCTURES: SetOfAtomStructs,
        OUTPUT_VOLUMES: SetOfVolumes,
    }
    COMMAND = "fit"
    INPUTS = ("volume", "modes", "structure", "pixel_size", "seed")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputVolumes",
            params.PointerParam,
            pointerClass="Volume,SetOfVolumes",
            important=True,
            label="Input volumes",
            help="The map that the structure is fitted to, or a set of maps: the structure is fitted to each.",
        )
        self._addModesParam(form)
        self._addOptions(form, "use", "placed", "resolution", "flip_hand")
        self._addOtherOptions(form)
        form.addParallelSection(threads=1, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        self._insertFunctionStep(
            self.runStep,
            self.inputVolumes.get().getObjId(),
            self.inputModes.get().getObjId(),
            self._formValues(),
            needsGPU=False,
        )
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def runStep(self, _volumesId, _modesId, values):
        paths = [
            os.path.abspath(prepare_volume(volume, self._inputPath(f"volume_{number:04d}.mrc")))
            for number, volume in enumerate(self._volumes(), start=1)
        ]
        listed = self._inputPath(LIST_FILE)
        os.makedirs(os.path.dirname(listed), exist_ok=True)
        with open(listed, "w", encoding="utf-8") as stream:
            stream.write("\n".join(paths) + "\n")
        inputs = {"volume": listed, "pixel_size": float(self.inputVolumes.get().getSamplingRate())}
        self._runCommand({**inputs, **self._modesFiles()}, values)
        return [self._resultPath(FITS_FILE)]

    def createOutputStep(self):
        volumes = self._volumes()
        many = len(volumes) > 1
        made = [self._made(number, many) for number in range(1, len(volumes) + 1)]
        if many or isinstance(self.inputVolumes.get(), SetOfVolumes):
            structures = SetOfAtomStructs.create(self.getPath(), prefix="structures")
            models = SetOfVolumes.create(self.getPath(), prefix="volumes")
            models.setSamplingRate(self.inputVolumes.get().getSamplingRate())
            for structure, model in made:
                structures.append(structure)
                models.append(model)
            outputs = {OUTPUT_STRUCTURES: structures, OUTPUT_VOLUMES: models}
        else:
            structure, model = made[0]
            outputs = {OUTPUT_STRUCTURE: structure, OUTPUT_VOLUME: model}
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputVolumes, output)
            self._defineSourceRelation(self.inputModes, output)

    def _made(self, number: int, many: bool) -> tuple[AtomStruct, Volume]:
        """Fitted structure and its density, with the figures of the fit."""
        import mrcfile

        ending = f"_{number:04d}" if many else ""
        model_file = self._resultPath(f"model{ending}.mrc")
        with mrcfile.open(model_file, header_only=True) as opened:
            origin = [float(getattr(opened.header.origin, axis)) for axis in "xyz"]
            model = new_volume(model_file, float(opened.voxel_size.x), origin)
        reference = self.inputModes.get().getPdb()
        pseudoatoms = bool(reference is not None and reference.getPseudoAtoms())
        structure = AtomStruct(self._resultPath(f"fitted{ending}.cif"), pseudoatoms=pseudoatoms)
        structure.setVolume(model)
        figures = self._figures()
        structure._cflexCorrelation = Float(figures["correlation"][number - 1])
        amplitudes, errors = (figures[name][number - 1] for name in ("amplitudes_angst", "amplitudes_std_angst"))
        set_amplitudes(structure, figures["modes"], amplitudes, errors)
        return structure, model

    def _volumes(self) -> list[Volume]:
        volumes = self.inputVolumes.get()
        return [volume.clone() for volume in volumes] if isinstance(volumes, SetOfVolumes) else [volumes]

    # ---------------------------------------------------------------- information

    def fitNumbers(self) -> list[str]:
        """Endings of the file names of the fits: none for a single one."""
        count = len(self._figures().get("maps", ()))
        return [""] if count == 1 else [f"_{number:04d}" for number in range(1, count + 1)]

    def _validate(self):
        errors = self._optionErrors() + self._modeErrors()
        if self.inputVolumes.get() is not None:
            try:
                for volume in self._volumes():
                    volume_path(volume)
            except ConversionError as error:
                errors.append(str(error))
        return errors

    def _summary(self):
        figures = self._figures()
        if not figures or not os.path.exists(self._resultPath(FITS_FILE)):
            return ["The structure is not fitted yet."]
        lines = []
        for number, (after, before) in enumerate(
            zip(figures["correlation"], figures["correlation_at_rest"], strict=True)
        ):
            lines.append(
                f"Correlation with map {number + 1}: *{after:.3f}* (at rest {before:.3f}); model and map agree to "
                f"{figures['fsc_05_angst'][number]:.1f} Å (FSC 0.5); deformed by {figures['rmsd_angst'][number]:.2f} Å "
                "(RMSD)."
            )
        with open(self._resultPath("modes.csv"), newline="", encoding="utf-8") as stream:
            order = [row["mode"] for row in csv.DictReader(stream)]
        return [*lines[:10], "Modes by contribution: " + ", ".join(order) + "."]

    def _methods(self):
        if not self._figures():
            return []
        maps = len(self._figures()["maps"])
        return [
            f"The structure was fitted to {maps} map(s) by rigid-body motion and by displacement along normal modes "
            f"{self.modeList.get()}, held back by its elastic energy."
        ]

    def _citations(self):
        return ["Jonic2016", "NogalesCadenas2013"]
