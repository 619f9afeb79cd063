"""Cryo-ViT in a Scipion project: training, inference with what was learned, and the space of both."""

from __future__ import annotations

import numpy as np
from pwem.objects import SetOfParticlesFlex
from pyworkflow.tests import setupTestProject

from ..convert import latent_of
from ..protocols import (
    CflexProtCryoViTInfer,
    CflexProtCryoViTTrain,
    CflexProtSpace,
)
from . import workflow_steps as steps

N_PARTICLES = 40


class TestCryoViTWorkflow(steps.WorkflowTest):
    """Import of a structure, normal modes, simulation, Cryo-ViT, space."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        cls.structure = cls.importStructure()
        modes = cls.normalModes(cls.structure, cutoff=12.0, blockSize=0, numberOfModes=8).outputModes
        cls.simulated = cls.simulation(
            modes, numberOfParticles=N_PARTICLES, box=32, pixelSize=3.0, modeList="7", amplitude=40.0, snr=1.0
        )

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
            space = self.newProtocol(
                CflexProtSpace, inputParticles=infer.outputParticles, on=steps.choice("space", "on", on)
            )
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
