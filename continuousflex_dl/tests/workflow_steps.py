"""First steps that the workflow suites share: import of the synthetic structure, normal modes, simulation."""

from __future__ import annotations

import os

from pwem.objects import AtomStruct
from pwem.protocols import ProtImportPdb
from pyworkflow.tests import BaseTest

from ..options import command
from ..protocols import CflexProtNMA, CflexProtSimulate
from ..protocols.forms import enum_choices
from .synthetic import write_structure

STRUCTURE = "model.pdb"


class WorkflowTest(BaseTest):
    """A suite whose project begins with the synthetic structure; has no tests of its own."""

    @classmethod
    def launched(cls, protocol_class, **settings):
        """A protocol of the project that has run."""
        protocol = cls.newProtocol(protocol_class, **settings)
        cls.launchProtocol(protocol)
        return protocol

    @classmethod
    def importStructure(cls) -> AtomStruct:
        """The synthetic structure, imported."""
        write_structure(STRUCTURE)
        imported = cls.launched(
            ProtImportPdb, inputPdbData=ProtImportPdb.IMPORT_FROM_FILES, pdbFile=os.path.abspath(STRUCTURE)
        )
        return imported.outputPdb

    @classmethod
    def normalModes(cls, structure: AtomStruct, **settings) -> CflexProtNMA:
        """Its normal modes: 7 to 12, rigid blocks of four residues where nothing else is said."""
        values = {"numberOfModes": 12, "blockSize": 4, "numberOfThreads": 2, **settings}
        return cls.launched(CflexProtNMA, inputStructure=structure, **values)

    @classmethod
    def simulation(cls, modes, **settings) -> CflexProtSimulate:
        """Particles along a line of amplitudes, shifted by up to a pixel where nothing else is said."""
        values = {"law": choice("simulate", "law", "line"), "shiftPx": 1.0, **settings}
        return cls.launched(CflexProtSimulate, inputModes=modes, **values)


def choice(name: str, option: str, value: str) -> int:
    """Position of a value among the choices that the form of a command shows."""
    return enum_choices(command(name).options, option).index(value)
