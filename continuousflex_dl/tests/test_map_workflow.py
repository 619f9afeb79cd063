"""The workflow of the plugin in a Scipion project where a map is all there is."""

from __future__ import annotations

import os

import mrcfile
import numpy as np
from pwem.objects import SetOfParticlesFlex
from pwem.protocols import ProtImportVolumes
from pyworkflow.tests import setupTestProject

from ..convert import amplitudes_of, read_modes
from ..protocols import (
    CflexProtFit,
    CflexProtHEMNMA,
    CflexProtNMA,
    CflexProtPseudoAtoms,
    CflexProtRank,
    CflexProtSpace,
)
from . import workflow_steps as steps
from .synthetic import write_structure

PIXEL = 3.0
SHAPE = (24, 26, 28)
N_PARTICLES = 30


def write_map(path: str) -> None:
    """Density of the synthetic structure, in a box that is no cube."""
    write_structure("model.pdb")
    with open("model.pdb", encoding="utf-8") as stream:
        atoms = [line for line in stream if line.startswith("ATOM")]
    places = np.array([[float(line[start : start + 8]) for start in (46, 38, 30)] for line in atoms])  # z, y, x
    places = (places - places.mean(axis=0)) / PIXEL + np.array(SHAPE) // 2
    factors = [
        np.exp(-((np.arange(size) - places[:, axis, None]) ** 2) / (2 * 1.2**2)) for axis, size in enumerate(SHAPE)
    ]
    values = np.einsum("nz,ny,nx->zyx", *factors)
    values += np.random.default_rng(0).normal(scale=0.02, size=SHAPE)
    with mrcfile.new(path) as opened:
        opened.set_data(values.astype(np.float32))
        opened.voxel_size = PIXEL


class TestMapWorkflow(steps.WorkflowTest):
    """Import of a map, pseudoatoms, normal modes, simulation, HEMNMA, space."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        write_map("map.mrc")
        cls.importMap = cls.newProtocol(
            ProtImportVolumes, filesPath=os.path.abspath("map.mrc"), samplingRate=PIXEL, setHalfMaps=False
        )
        cls.launchProtocol(cls.importMap)

    def pseudoatoms(self, **settings):
        protocol = self.newProtocol(CflexProtPseudoAtoms, inputVolume=self.importMap.outputVolume, **settings)
        self.launchProtocol(protocol)
        return protocol

    def test_from_map_to_space(self):
        made = self.pseudoatoms(targetError=10.0)
        assert made.outputStructure.getPseudoAtoms()
        assert made.outputVolume.getSamplingRate() == PIXEL
        assert "pseudoatoms of width 3 Å" in made.summary()[0]
        shifts = self.importMap.outputVolume.getShiftsFromOrigin()
        np.testing.assert_allclose(made.outputVolume.getShiftsFromOrigin(), shifts, atol=1e-3)
        nma = self.newProtocol(
            CflexProtNMA, inputStructure=made.outputStructure, cutoffPercentile=95.0, numberOfModes=10
        )
        self.launchProtocol(nma)
        assert nma.outputStructure.getPseudoAtoms()
        assert [mode.number for mode in read_modes(nma.outputModes)] == [7, 8, 9, 10]
        self.fit(nma.outputModes)
        simulate = self.simulation(
            nma.outputModes, numberOfParticles=N_PARTICLES, box=32, pixelSize=PIXEL, modeList="7", amplitude=10.0,
            noiseless=True, noCtf=True,
        )  # fmt: skip
        rank = self.newProtocol(
            CflexProtRank, inputParticles=simulate.outputParticles, inputModes=nma.outputModes, modeList="7,8",
            inputTarget=self.importMap.outputVolume, angularStep=20.0,
        )  # fmt: skip
        self.launchProtocol(rank)
        ranked = {mode.number: mode for mode in read_modes(rank.outputModes)}
        assert ranked[7].gain > ranked[8].gain
        assert ranked[9].gain is None
        assert not ranked[9].enabled
        assert 0 <= ranked[7].overlap <= 1
        hemnma = self.newProtocol(
            CflexProtHEMNMA, inputParticles=simulate.outputParticles, inputModes=nma.outputModes, modeList="7",
            angularStep=20.0, hypotheses=24,
        )  # fmt: skip
        self.launchProtocol(hemnma)
        assert isinstance(hemnma.outputParticles, SetOfParticlesFlex)
        scores = [item._cflexScore.get() for item in hemnma.outputParticles.iterItems()]
        assert float(np.median(scores)) > 0.95
        space = self.newProtocol(CflexProtSpace, inputParticles=hemnma.outputParticles, inputModes=nma.outputModes)
        self.launchProtocol(space)
        self.assertSetSize(space.outputParticles, N_PARTICLES)

    def fit(self, modes):
        fit = self.newProtocol(
            CflexProtFit, inputVolumes=self.importMap.outputVolume, inputModes=modes, modeList="7-9", placed=True
        )
        self.launchProtocol(fit)
        assert fit.outputStructure.getPseudoAtoms()
        assert fit.outputStructure._cflexCorrelation.get() > 0.8
        assert len(amplitudes_of(fit.outputStructure)) == 3
        shifts = self.importMap.outputVolume.getShiftsFromOrigin()
        np.testing.assert_allclose(fit.outputVolume.getShiftsFromOrigin(), shifts, atol=1e-3)
        assert "Correlation with map 1" in fit.summary()[0]

    def test_validation(self):
        protocol = self.newProtocol(CflexProtPseudoAtoms, inputVolume=self.importMap.outputVolume, radiusVoxels=0.1)
        assert "Pseudoatom radius" in " ".join(protocol.validate())
