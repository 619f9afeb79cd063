"""Networks in a Scipion project: import, split, HEMNMA on the small part, train, infer on the rest, joint space."""

from __future__ import annotations

import os

import numpy as np
from pwem.objects import SetOfParticlesFlex
from pwem.protocols import ProtImportParticles, ProtSubSet
from pyworkflow.tests import setupTestProject

from ..convert import amplitudes_of
from ..protocols import (
    CflexProtDeepHEMNMAInfer,
    CflexProtDeepHEMNMATrain,
    CflexProtHEMNMA,
    CflexProtSpace,
)
from . import workflow_steps as steps

N_PARTICLES, N_LABELLED = 30, 10
PIXEL = 2.0


class TestDeepWorkflow(steps.WorkflowTest):
    """A small set goes all the way; the accuracy of networks is tested elsewhere."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        cls.nma = cls.normalModes(cls.importStructure())
        simulate = cls.simulation(
            cls.nma.outputModes, numberOfParticles=N_PARTICLES, box=48, pixelSize=PIXEL, modeList="7,8", amplitude=30.0,
            snr=2.0, noCtf=True, numberOfThreads=2,
        )  # fmt: skip
        stack = simulate.outputParticles.getFirstItem().getFileName()
        imported = cls.newProtocol(
            ProtImportParticles, importFrom=ProtImportParticles.IMPORT_FROM_FILES, filesPath=os.path.abspath(stack),
            samplingRate=PIXEL, magnification=50000,
        )  # fmt: skip
        cls.launchProtocol(imported)
        cls.particles = imported.outputParticles
        subset = cls.newProtocol(ProtSubSet, inputFullSet=cls.particles, chooseAtRandom=True, nElements=N_LABELLED)
        cls.launchProtocol(subset)
        cls.small = subset.outputParticles
        rest = cls.newProtocol(
            ProtSubSet, inputFullSet=cls.particles, inputSubSet=cls.small, setOperation=ProtSubSet.SET_DIFFERENCE
        )
        cls.launchProtocol(rest)
        cls.large = rest.outputParticles

    def test_hemnma_train_infer_space(self):
        self.assertSetSize(self.small, N_LABELLED)
        self.assertSetSize(self.large, N_PARTICLES - N_LABELLED)
        hemnma = self.newProtocol(
            CflexProtHEMNMA, inputParticles=self.small, inputModes=self.nma.outputModes, modeList="7-8",
            angularStep=20.0, hypotheses=16, numberOfThreads=2,
        )  # fmt: skip
        self.launchProtocol(hemnma)
        train = self.newProtocol(
            CflexProtDeepHEMNMATrain, inputParticles=hemnma.outputParticles, inputModes=self.nma.outputModes,
            epochs=4, batchSize=4, validation=0.2, test=0.0, networkBox=32, numberOfThreads=1,
        )  # fmt: skip
        self.launchProtocol(train)
        trained = train.outputParticles
        assert isinstance(trained, SetOfParticlesFlex)
        self.assertSetSize(trained, N_LABELLED)
        for name in ("model.safetensors", "model.json", "loss.csv", "held_out.csv"):
            assert os.path.exists(train._resultPath(name)), name
        assert "Mean errors on particles held out" in train.summary()[1]

        infer = self.newProtocol(
            CflexProtDeepHEMNMAInfer, inputParticles=self.large, inputModel=trained, refine=True, numberOfThreads=1
        )
        assert infer.validate() == []
        self.launchProtocol(infer)
        output = infer.outputParticles
        self.assertSetSize(output, N_PARTICLES - N_LABELLED)
        assert output.hasAlignmentProj()
        for item in output.iterItems():
            assert item.getFlexInfo().getProgName() == "CflexDeepHEMNMA"
            np.testing.assert_allclose(item.getZFlex(), amplitudes_of(item))
            assert len(amplitudes_of(item)) == 2
            assert item._cflexAngleStd.get() > 0
        assert {item.getObjId() for item in output.iterItems()} == {item.getObjId() for item in self.large.iterItems()}

        space = self.newProtocol(
            CflexProtSpace, inputParticles=trained, otherParticles=[output], keepUnconverged=True, numberOfThreads=2
        )
        self.launchProtocol(space)
        self.assertSetSize(space.outputParticles, N_LABELLED)
        self.assertSetSize(space.outputParticles2, N_PARTICLES - N_LABELLED)
        sets = space.outputParticles, space.outputParticles2
        rows = [item._cflexSpaceRow.get() for particles in sets for item in particles.iterItems()]
        assert sorted(rows) == list(range(1, N_PARTICLES + 1))

    def test_sets_that_do_not_fit_are_refused_before_anything_runs(self):
        train = self.newProtocol(CflexProtDeepHEMNMATrain, inputParticles=self.small, inputModes=self.nma.outputModes)
        assert any("carry no amplitudes" in error for error in train.validate())
        infer = self.newProtocol(CflexProtDeepHEMNMAInfer, inputParticles=self.large, inputModel=self.large)
        assert any("carries no network" in error for error in infer.validate())
