"""Normal modes of a structure."""

from __future__ import annotations

import enum
import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, NormalMode, SetOfNormalModes
from pyworkflow import BETA
from pyworkflow.object import Float

from ..constants import MODES_FILE, REFERENCE_FILE
from ..convert import read_modes_file, write_modes_folder
from .base import CflexProtocol


class CflexNMAOutputs(enum.Enum):
    """Outputs of the protocol."""

    outputModes = SetOfNormalModes
    outputStructure = AtomStruct


class CflexProtNMA(CflexProtocol):
    """Computes the normal modes of an atomic or pseudoatomic structure.

    An elastic network joins the atoms that are closer than the cutoff; rigid blocks of residues (RTB) make large
    structures affordable. The collective modes of lowest frequency describe how the structure is prone to move.
    """

    _label = "normal modes"
    _devStatus = BETA
    _possibleOutputs = CflexNMAOutputs
    COMMAND = "nma"
    INPUTS = ("structure", "target", "pixel_size", "seed")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputStructure",
            params.PointerParam,
            pointerClass="AtomStruct",
            important=True,
            label="Input structure",
            help="Atomic structure, or pseudoatoms made from a map.",
        )
        form.addParam(
            "targetStructure",
            params.PointerParam,
            pointerClass="AtomStruct",
            allowsNull=True,
            label="Target structure",
            help="Another conformation of the same molecule, if there is one: a table says how well each mode, and the "
            "modes together, describe the way there.\n\nCommand line: --target",
        )
        self._addOptions(form, "n_modes", "representation", "cutoff", "cutoff_percentile", "model", "sigma")
        self._addOptions(form, "block_size", "collectivity_threshold")
        self._addOtherOptions(form)
        form.addParallelSection(threads=2, mpi=0)

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        structure, target = self.inputStructure.get(), self.targetStructure.get()
        targetFile = None if target is None else target.getFileName()
        self._insertFunctionStep(
            self.runStep, structure.getObjId(), structure.getFileName(), targetFile, self._formValues(), needsGPU=False
        )
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def runStep(self, _structureId, structureFile, targetFile, values):
        inputs = {"structure": structureFile}
        if targetFile is not None:
            inputs["target"] = targetFile
        self._runCommand(inputs, values)
        return [self._resultPath(MODES_FILE), self._resultPath(REFERENCE_FILE)]

    def createOutputStep(self):
        listed = write_modes_folder(
            self._resultPath(MODES_FILE), self._resultPath("modes"), self.collectivityThreshold.get()
        )
        structure = AtomStruct(self._resultPath(REFERENCE_FILE), pseudoatoms=self.inputStructure.get().getPseudoAtoms())
        self._defineOutputs(**{CflexNMAOutputs.outputStructure.name: structure})
        self._defineSourceRelation(self.inputStructure, structure)
        modes = SetOfNormalModes.create(self.getPath(), prefix="modes")
        for mode in listed:
            item = NormalMode(modeFile=mode.file, collectivity=mode.collectivity, score=mode.score)
            item._cflexEigenvalue = Float(mode.eigenvalue)
            item.setObjId(mode.number)
            item.setEnabled(mode.enabled)
            modes.append(item)
        modes.setPdb(structure)  # its atoms are the rows of the mode files, whatever the input file held besides
        self._defineOutputs(**{CflexNMAOutputs.outputModes.name: modes})
        self._defineSourceRelation(self.inputStructure, modes)

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors()
        for name, pointer in (("input", self.inputStructure), ("target", self.targetStructure)):
            structure = pointer.get()
            if structure is not None and not os.path.exists(structure.getFileName() or ""):
                errors.append(f"The file of the {name} structure is not there: {structure.getFileName()}")
        return errors

    def _warnings(self):
        structure = self.inputStructure.get()
        if structure is not None and structure.getPseudoAtoms() and not self.cutoffPercentile.hasValue():
            return [
                "The structure is made of pseudoatoms: a cutoff percentile (95 for example) suits them better than a "
                "fixed cutoff."
            ]
        return []

    def _summary(self):
        if not hasattr(self, CflexNMAOutputs.outputModes.name):
            return ["The modes are not computed yet."]
        stored = read_modes_file(self._resultPath(MODES_FILE))
        enabled = int((stored.collectivity >= self.collectivityThreshold.get()).sum())
        figures = self._figures()
        comparisons = []
        if figures.get("b_factor_correlation") is not None:
            comparisons.append(
                f"Correlation of the predicted fluctuations with the B factors: {figures['b_factor_correlation']:.2f}."
            )
        if figures.get("cumulative_overlap"):
            comparisons.append(
                f"The target is {figures['target_rmsd_angst']:.2f} Å away (RMSD); all modes together leave "
                f"{figures['rmsd_left_angst'][-1]:.2f} Å, the best one has an overlap of {max(figures['overlap']):.2f}."
            )
        return [
            f"Modes {stored.indices[0]} to {stored.indices[-1]} of {stored.vectors.shape[1]} (pseudo)atoms.",
            f"*{enabled}* of {len(stored.indices)} modes reach the collectivity threshold "
            f"{self.collectivityThreshold.get():g}; the others are disabled.",
            *comparisons,
        ]

    def _methods(self):
        blocks = (
            f"with rigid blocks of {self.blockSize.get()} residues" if self.blockSize.get() else "without rigid blocks"
        )
        return [
            f"Normal modes of an elastic network with a cutoff of {self.cutoff.get():g} Å were computed {blocks}."
            if not self.cutoffPercentile.hasValue()
            else f"Normal modes of an elastic network (cutoff from percentile {self.cutoffPercentile.get():g}) were "
            f"computed {blocks}."
        ]

    def _citations(self):
        return ["Tama2001", "Durand1994", "Tama2000", "Suhre2004", "Bakan2011"]
