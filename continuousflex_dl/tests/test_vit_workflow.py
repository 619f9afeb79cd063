"""Cryo-ViT in a Scipion project: training, inference with what was learned, and the space of both."""

from __future__ import annotations

import os

import numpy as np
from pwem.objects import SetOfParticlesFlex
from pwem.protocols import ProtImportPdb
from pyworkflow.tests import BaseTest, setupTestProject

from ..convert import latent_of
from ..options import command
from ..protocols import (
    CflexProtCryoViTInfer,
    CflexProtCryoViTTrain,
    CflexProtNMA,
    CflexProtSimulate,
    CflexProtSpace,
)
from ..protocols.forms import enum_choices
from .synthetic import write_structure

N_PARTICLES = 40
ON = enum_choices(command("space").options, "on")
LAWS = enum_choices(command("simulate").options, "law")


class TestCryoViTWorkflow(BaseTest):
    """Import of a structure, normal modes, simulation, Cryo-ViT, space."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        write_structure("model.pdb")
        imported = cls.newProtocol(ProtImportPdb, inputPdbData=1, pdbFile=os.path.abspath("model.pdb"))
        cls.launchProtocol(imported)
        cls.structure = imported.outputPdb
        nma = cls.newProtocol(CflexProtNMA, inputStructure=cls.structure, cutoff=12.0, blockSize=0, numberOfModes=8)
        cls.launchProtocol(nma)
        cls.simulated = cls.newProtocol(
            CflexProtSimulate, inputModes=nma.outputModes, numberOfParticles=N_PARTICLES, box=32, pixelSize=3.0,
            modeList="7", law=LAWS.index("line"), amplitude=40.0, snr=1.0, shiftPx=1.0,
        )  # fmt: skip
        cls.launchProtocol(cls.simulated)

    def test_train_infer_and_space(self):
        truth = self.simulated.outputTruth
        train = self.newProtocol(
            CflexProtCryoViTTrain, inputParticles=truth, inputStructure=self.structure, latentSize=2, epochs=6,
            maxResolution=8.0,
        )  # fmt: skip
        self.launchProtocol(train)
        trained = train.outputParticles
        assert isinstance(trained, SetOfParticlesFlex)
        self.assertSetSize(trained, N_PARTICLES)
        assert trained.getFlexInfo().getProgName() == "CflexCryoViT"
        assert "structures" in train.summary()[0]
        infer = self.newProtocol(CflexProtCryoViTInfer, inputParticles=truth, inputTrained=trained)
        self.launchProtocol(infer)
        first, second = (
            np.array([latent_of(item) for item in found.iterItems()]) for found in (trained, infer.outputParticles)
        )
        assert first.shape == second.shape == (N_PARTICLES, 2)
        assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] > 0.9
        for on in ("latent", "coordinates"):
            space = self.newProtocol(CflexProtSpace, inputParticles=infer.outputParticles, on=ON.index(on))
            self.launchProtocol(space)
            self.assertSetSize(space.outputParticles, N_PARTICLES)

    def test_validation(self):
        protocol = self.newProtocol(
            CflexProtCryoViTTrain, inputParticles=self.simulated.outputParticles, inputStructure=self.structure
        )
        assert "no 3D poses" in " ".join(protocol.validate())
        infer = self.newProtocol(
            CflexProtCryoViTInfer, inputParticles=self.simulated.outputTruth, inputTrained=self.simulated.outputTruth
        )
        assert "No Cryo-ViT was trained" in " ".join(infer.validate())
