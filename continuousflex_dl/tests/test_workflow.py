"""The workflow of the plugin inside a Scipion project, on a small synthetic structure."""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
from pwem.objects import SetOfNormalModes, SetOfParticles, SetOfParticlesFlex
from pwem.protocols import EMProtocol
from pyworkflow.object import Set
from pyworkflow.protocol.constants import MODE_RESUME
from pyworkflow.tests import setupTestProject

from ..convert import amplitudes_of, matrix_from_pose, mode_numbers_of, pose_from_matrix, read_modes
from ..protocols import (
    CflexProtAnimate,
    CflexProtGroup,
    CflexProtHEMNMA,
    CflexProtReconstruct,
    CflexProtSimulate,
    CflexProtSpace,
)
from ..viewers import CflexHEMNMAViewer
from . import workflow_steps as steps
from .web_client import WebClient

N_PARTICLES = 8
PIXEL = 2.0
FAST = {"angularStep": 20.0, "hypotheses": 48, "batchSize": 2, "numberOfThreads": 2}


def tilt_axis_error(first, second) -> float:
    """Angle between the rotations of two Scipion matrices, degrees."""
    trace = np.trace(first[:3, :3] @ second[:3, :3].T)
    return float(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


class TestWorkflow(steps.WorkflowTest):
    """Import, normal modes, simulation, HEMNMA, space; every test starts from what `setUpClass` made."""

    @classmethod
    def setUpClass(cls):
        setupTestProject(cls)
        cls.nma = cls.normalModes(cls.importStructure())
        cls.simulate = cls.simulation(
            cls.nma.outputModes, numberOfParticles=N_PARTICLES, box=48, pixelSize=PIXEL, modeList="7,8", amplitude=30.0,
            noiseless=True, numberOfThreads=2,
        )  # fmt: skip

    def hemnma(self, **settings):
        """Alignment of the simulated particles, not yet launched."""
        values = {**FAST, "modeList": "7-8", **settings}
        return self.newProtocol(
            CflexProtHEMNMA, inputParticles=self.simulate.outputParticles, inputModes=self.nma.outputModes, **values
        )

    @staticmethod
    def finishedBlocks(folder: str) -> int:
        """Bytes of finished blocks."""
        names = [name for name in (os.listdir(folder) if os.path.isdir(folder) else []) if name.endswith(".blocks")]
        return sum(os.path.getsize(os.path.join(folder, name)) for name in names)

    def test_modes(self):
        modes = self.nma.outputModes
        self.assertSetSize(modes, 6)
        listed = read_modes(modes)
        assert [mode.number for mode in listed] == [7, 8, 9, 10, 11, 12]
        assert all(mode.eigenvalue > 0 and mode.collectivity > 0 for mode in listed)
        assert os.path.exists(modes.getPdb().getFileName())
        vector = np.loadtxt(listed[0].file)
        assert vector.shape == (192, 3)
        np.testing.assert_allclose((vector**2).sum(), 1.0, atol=1e-5)
        assert self.nma.validate() == []
        assert "Modes 7 to 12 of 192" in self.nma.summary()[0]

    def test_simulation(self):
        particles, truth = self.simulate.outputParticles, self.simulate.outputTruth
        self.assertSetSize(particles, N_PARTICLES)
        self.assertSetSize(truth, N_PARTICLES)
        assert particles.hasCTF()
        assert not particles.hasAlignment()
        assert truth.hasAlignmentProj()
        np.testing.assert_allclose(particles.getSamplingRate(), PIXEL)
        assert particles.getDim()[:2] == (48, 48)
        first = particles.getFirstItem()
        assert first.getCTF().getDefocusU() == 5000.0
        assert first.getAcquisition().getVoltage() == 200.0
        for item in truth.iterItems():
            assert mode_numbers_of(item) == [7, 8]
            assert all(abs(q) <= 30.0 for q in amplitudes_of(item))

    def test_hemnma_and_space(self):
        hemnma = self.hemnma()
        self.launchProtocol(hemnma)
        output = hemnma.outputParticles
        assert isinstance(output, SetOfParticlesFlex)
        self.assertSetSize(output, N_PARTICLES)
        assert output.hasAlignmentProj()
        assert output.hasCTF()
        truth = {item.getObjId(): item.clone() for item in self.simulate.outputTruth.iterItems()}
        good = 0
        for item in output.iterItems():
            assert item.getFlexInfo().getProgName() == "CflexHEMNMA"
            assert len(item.getZRed()) == 3
            np.testing.assert_allclose(item.getZFlex(), amplitudes_of(item))
            assert 0 <= item._cflexScore.get() <= 1
            true = truth[item.getObjId()]
            assert item.getLocation() == true.getLocation()
            angle = tilt_axis_error(item.getTransform().getMatrix(), true.getTransform().getMatrix())
            error = np.abs(np.array(amplitudes_of(item)) - amplitudes_of(true)).max()
            shift = np.subtract(
                pose_from_matrix(item.getTransform().getMatrix(), PIXEL)[3:],
                pose_from_matrix(true.getTransform().getMatrix(), PIXEL)[3:],
            )
            good += angle < 5 and error < 3 and np.abs(shift).max() < 1.0
        assert good >= N_PARTICLES - 2, "poses and amplitudes are far from the truth"

        space = self.newProtocol(
            CflexProtSpace,
            inputParticles=output,
            inputModes=self.nma.outputModes,
            inputTruth=self.simulate.outputTruth,
            numberOfThreads=2,
        )
        self.launchProtocol(space)
        self.assertSetSize(space.outputParticles, N_PARTICLES)
        found = np.array([item.getZRed() for item in space.outputParticles.iterItems()])
        assert found.shape == (N_PARTICLES, 3)
        np.testing.assert_array_equal(found[:, 2], 0.0)
        assert found[:, 0].std() > found[:, 1].std()
        assert space.outputParticles.getFlexInfo().getProgName() == "CflexHEMNMA"
        assert os.path.exists(space.outputTrajectory.getFileName())
        assert "report.html" in " ".join(space.summary())
        self.fromTheViewer(hemnma)

    def fromTheViewer(self, hemnma):
        """Viewer of a HEMNMA run -> selection -> subset, structure and map, registered in the project."""
        viewer = CflexHEMNMAViewer(project=self.proj, protocol=hemnma)
        (view,) = viewer._getVisualizeDict()["displayBrowser"]()
        with WebClient(view.command()) as client:
            told = client.json("GET", "datasets")
            assert told["scipion"] == [True]
            assert told["datasets"][0]["count"] == N_PARTICLES
            amplitudes = {item.getObjId(): amplitudes_of(item)[0] for item in hemnma.outputParticles.iterItems()}
            middle = float(np.median(list(amplitudes.values())))
            recipe = {"steps": [{"how": "new", "where": f"cflexModeAmplitude7 > {middle}"}]}
            client.json("PUT", "0/selections/upper", {"recipe": recipe})
            wanted = {"selections": ["upper"], "reconstruct": True, "unconverged": True, "label": "from the viewer"}
            started = client.json("POST", "0/command/scipion", {**wanted, "run": True})
            assert f"in_project {os.path.abspath('.')} {hemnma.getObjId()}" in started["command"]
            client.finish(started["job"])
        runs = self.proj.getRuns(refresh=True)
        group = next(run for run in runs if run.getObjLabel() == "from the viewer")
        assert isinstance(group, CflexProtGroup)
        assert group.isFinished()
        expected = {number for number, amplitude in amplitudes.items() if amplitude > middle}
        assert {item.getObjId() for item in group.outputGroup01.iterItems()} == expected
        assert group.outputGroup01.hasAlignmentProj()
        self.assertSetSize(group.outputVolumes, 1)
        self.assertSetSize(group.outputStructures, 1)
        space = group.inputParticles.get(), group.inputParticles.getObjValue()
        assert space[0].getSize() == N_PARTICLES
        assert isinstance(space[1], CflexProtSpace)
        assert space[1].inputParticles.getObjValue().getObjId() == hemnma.getObjId()
        assert os.listdir("Uploads") == ["upper.json"]

    def test_groups_maps_and_trajectory(self):
        """From particles with known poses: space, groups with their maps, a map of a subset, a trajectory."""
        space = self.newProtocol(
            CflexProtSpace, inputParticles=self.simulate.outputTruth, inputModes=self.nma.outputModes, nComponents=1
        )
        self.launchProtocol(space)
        particles = space.outputParticles
        group = self.newProtocol(CflexProtGroup, inputParticles=particles, nGroups=2, reconstruct=True, halfMaps=True)
        self.launchProtocol(group)
        self.assertSetSize(group.outputGroup01, N_PARTICLES // 2)
        self.assertSetSize(group.outputClasses, 2)
        self.assertSetSize(group.outputStructures, 2)
        self.assertSetSize(group.outputVolumes, 2)
        first = group.outputGroup01
        assert first.hasAlignmentProj()
        assert first.hasCTF()
        largest = max(item.getZRed()[0] for item in first.iterItems())
        assert all(item.getZRed()[0] > largest for item in group.outputGroup02.iterItems())
        for volume in group.outputVolumes.iterItems():
            assert volume.getDim() == (48, 48, 48)
            assert os.path.exists(volume.getFileName())
            assert len(volume.getHalfMaps(asList=True)) == 2
        members = [{item.getObjId() for item in found.iterItems()} for found in group.outputClasses.iterItems()]
        assert members == [{item.getObjId() for item in found.iterItems()} for found in (first, group.outputGroup02)]
        # a subset knows its space, also after it was read again from the project
        stored = self.proj.getProtocol(group.getObjId()).outputGroup01
        trajectory = self.newProtocol(CflexProtAnimate, inputParticles=stored, nFrames=3, maps=True)
        self.launchProtocol(trajectory)
        assert os.path.exists(trajectory.outputTrajectory.getFileName())
        self.assertSetSize(trajectory.outputVolumes, 3)
        nowhere = self.newProtocol(CflexProtAnimate, inputParticles=stored, follow=4)
        assert "Write the place" in " ".join(nowhere.validate())
        one = self.launched(CflexProtAnimate, inputParticles=stored, follow=4, at="-3.5", maps=True)
        self.assertSetSize(one.outputVolumes, 1)
        assert "The structure at -3.5" in one.summary()[0]

        reconstruct = self.newProtocol(
            CflexProtReconstruct, inputParticles=first, inputModel=self.nma.outputStructure, numberOfThreads=2
        )
        self.launchProtocol(reconstruct)
        volume = reconstruct.outputVolume
        np.testing.assert_allclose(volume.getSamplingRate(), PIXEL)
        assert all(map(os.path.exists, volume.getHalfMaps(asList=True)))
        names = [curve.getObjLabel() for curve in reconstruct.outputFSCs.iterItems()]
        assert names == ["halves", "model"]
        assert "4* particles" in reconstruct.summary()[0]

        lost = self.newProtocol(CflexProtGroup, inputParticles=self.simulate.outputTruth)
        assert "no conformational space" in " ".join(lost.validate())
        poseless = self.newProtocol(CflexProtReconstruct, inputParticles=self.simulate.outputParticles)
        assert "no poses" in " ".join(poseless.validate())

    def test_modes_of_another_plugin(self):
        """A set with rigid modes, other file names and no modes.npz gives the same amplitudes."""
        other = self.newProtocol(EMProtocol)
        self.saveProtocol(other)
        other.makePathsAndClean()
        own = read_modes(self.nma.outputModes)
        modes = SetOfNormalModes.create(other.getPath(), prefix="modes")
        rng = np.random.default_rng(0)
        from pwem.objects import NormalMode

        for number in range(1, 9):
            vector = np.tile(rng.normal(size=3), (192, 1)) if number < 7 else np.loadtxt(own[number - 7].file)
            file = other._getExtraPath(f"mode{number}.txt")
            np.savetxt(file, vector)
            item = NormalMode(modeFile=file, collectivity=0.5, score=0.5)
            item.setEnabled(number > 6)
            modes.append(item)
        modes.setPdb(self.nma.outputStructure)
        other._defineOutputs(outputModes=modes)
        self.saveProtocol(other)
        hemnma = self.hemnma(initialPoses=True, numberOfThreads=1)
        hemnma.inputParticles.set(self.simulate.outputTruth)
        hemnma.inputModes.set(other.outputModes)
        self.launchProtocol(hemnma)
        truth = {item.getObjId(): amplitudes_of(item) for item in self.simulate.outputTruth.iterItems()}
        errors = [
            np.abs(np.array(amplitudes_of(item)) - truth[item.getObjId()]).max()
            for item in hemnma.outputParticles.iterItems()
        ]
        assert float(np.median(errors)) < 5.0

    def test_kill_and_continue(self):
        """A run that is killed and continued ends with the bytes of an uninterrupted one."""
        import psutil

        whole = self.hemnma(numberOfThreads=1, batchSize=1)
        self.launchProtocol(whole)
        killed = self.hemnma(numberOfThreads=1, batchSize=1)
        self.proj.launchProtocol(killed, wait=False)
        blocks = killed._getExtraPath("hemnma", "blocks")
        deadline = time.time() + 120
        while time.time() < deadline and not os.path.isdir(blocks):
            time.sleep(0.05)
        # all that takes time is done before the first block is there: the others follow within tenths of a second
        self.proj._updateProtocol(killed)
        process = psutil.Process(killed.getPid())
        children = process.children(recursive=True)
        while time.time() < deadline and not self.finishedBlocks(blocks):
            time.sleep(0.002)
        for victim in (*children, process):  # SIGKILL: nobody gets to clean up
            victim.kill()
        psutil.wait_procs([process, *children], timeout=10)
        result = killed._resultPath("particles.star")
        assert not os.path.exists(result), "the run ended before it could be killed"
        self.proj._updateProtocol(killed, checkPid=True)
        assert killed.isFailed()
        assert self.finishedBlocks(blocks)
        killed.runMode.set(MODE_RESUME)
        self.launchProtocol(killed)
        with open(killed.getStdoutLog()) as log:
            assert "--resume" in log.read()
        self.assertSetSize(killed.outputParticles, N_PARTICLES)
        with open(result, "rb") as first, open(whole._resultPath("particles.star"), "rb") as second:
            assert first.read() == second.read()

    def test_two_processes(self):
        """Processes that the host's parallel command starts give the bytes of one; here that command is torchrun."""
        whole = self.hemnma(numberOfThreads=1)
        self.launchProtocol(whole)
        variable = "PARALLEL_COMMAND_CONTINUOUSFLEX_DL"
        os.environ[variable] = (
            f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node=%(JOB_NODES)d --no-python "
            "%(COMMAND)s"
        )
        try:
            shared = self.hemnma(numberOfThreads=1, numberOfMpi=2)
            self.launchProtocol(shared)
        finally:
            del os.environ[variable]
        with open(shared._resultPath("run.json")) as record:
            assert len(json.load(record)["processes"]) == 2
        self.assertSetSize(shared.outputParticles, N_PARTICLES)
        with open(shared._resultPath("particles.star"), "rb") as first:
            several = first.read()
        with open(whole._resultPath("particles.star"), "rb") as second:
            assert several == second.read()

    def test_streaming(self):
        """A set that is still growing is aligned in portions, and the output is closed when the input is."""
        producer = self.newProtocol(EMProtocol)
        self.saveProtocol(producer)
        producer.makePathsAndClean()
        source = [item.clone() for item in self.simulate.outputParticles.iterItems()]
        growing = SetOfParticles(filename=producer._getPath("particles.sqlite"))
        growing.copyInfo(self.simulate.outputParticles)

        def arrive(items, state):
            growing.enableAppend()
            for item in items:
                growing.append(item)
            growing.setStreamState(state)
            growing.write()
            growing.close()

        arrive(source[:3], Set.STREAM_OPEN)
        producer._defineOutputs(outputParticles=growing)
        self.saveProtocol(producer)
        hemnma = self.hemnma(numberOfThreads=1, portionSize=3)
        hemnma.inputParticles.set(producer)
        hemnma.inputParticles.setExtended("outputParticles")
        os.environ["SCIPION_STEPS_CHECK_SEC"] = "1"
        try:
            self.proj.launchProtocol(hemnma, wait=False)
        finally:
            del os.environ["SCIPION_STEPS_CHECK_SEC"]

        def wait(condition):
            deadline = time.time() + 120
            while time.time() < deadline and hemnma.isActive():
                if condition():
                    return True
                time.sleep(0.5)
                self.proj._updateProtocol(hemnma)
            return condition()

        assert wait(lambda: hasattr(hemnma, "outputParticles") and hemnma.outputParticles.getSize() == 3)
        assert hemnma.isActive(), hemnma.getErrorMessage()
        assert hemnma.outputParticles.isStreamOpen()
        arrive(source[3:4], Set.STREAM_OPEN)  # too few for a portion
        arrive(source[4:], Set.STREAM_CLOSED)
        assert wait(hemnma.isFinished), hemnma.getErrorMessage()
        assert hemnma.outputParticles.isStreamClosed()
        output = SetOfParticlesFlex(filename=hemnma.outputParticles.getFileName())
        output.loadAllProperties()
        assert output.isStreamClosed()
        assert output.hasAlignmentProj()
        assert output.hasCTF()
        items = {item.getObjId(): item.clone() for item in output.iterItems()}
        assert sorted(items) == [item.getObjId() for item in source]
        for item in source:
            assert items[item.getObjId()].getLocation() == item.getLocation()
            assert len(amplitudes_of(items[item.getObjId()])) == 2
        assert "*8* particles" in hemnma.summary()[0]
        measured = [hemnma._portionPath(number, "hemnma", "calibration.json") for number in (1, 2)]
        with open(measured[0]) as first, open(measured[1]) as second:
            assert first.read() == second.read()
        assert not os.path.exists(hemnma._portionPath(3))

    def test_validation(self):
        hemnma = self.hemnma(modeList="7,55")
        assert "no mode 55" in " ".join(hemnma.validate())
        hemnma = self.hemnma(initialPoses=True)
        assert "no 3D poses" in " ".join(hemnma.validate())
        hemnma = self.hemnma(modeList="3")
        assert "rigid-body" in " ".join(hemnma.validate())
        space = self.newProtocol(CflexProtSpace, inputParticles=self.simulate.outputParticles)
        assert "no amplitudes" in " ".join(space.validate())
        simulate = self.newProtocol(
            CflexProtSimulate,
            inputModes=self.nma.outputModes,
            numberOfParticles=5,
            modeList="7",
            law=steps.choice("simulate", "law", "helix"),
        )
        assert "exactly three modes" in " ".join(simulate.validate())

    def test_matrix_helpers_agree(self):
        pose = (10.0, 20.0, 30.0, 1.0, -2.0)
        np.testing.assert_allclose(pose_from_matrix(matrix_from_pose(*pose, PIXEL), PIXEL), pose, atol=1e-9)
