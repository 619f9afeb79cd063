"""Trajectories through a conformational space."""

from __future__ import annotations

import os

import pyworkflow.protocol.params as params
from pwem.objects import AtomStruct, SetOfVolumes
from pyworkflow import BETA

from ..convert import new_volume
from .base import CflexProtocol
from .space_input import SpaceInputMixin

OUTPUT_TRAJECTORY, OUTPUT_VOLUMES = "outputTrajectory", "outputVolumes"
_WAY_LABELS = ("axis", "straight between two places", "drawn path", "path of least free energy", "nothing: one place")


class CflexProtAnimate(SpaceInputMixin, CflexProtocol):
    """Makes a trajectory of structures through a conformational space, with maps and a movie where wanted.

    It follows an axis, the straight line between two places, a path from a file, or the path of least free energy; or
    it is the one structure of a place.
    """

    _label = "trajectory"
    _devStatus = BETA
    _possibleOutputs = {OUTPUT_TRAJECTORY: AtomStruct, OUTPUT_VOLUMES: SetOfVolumes}
    COMMAND = "animate"
    INPUTS = ("input", "mode", "amplitude", "amplitudes", "structure", "pixel_size", "minimum_path", "format")
    USES_GPU = False

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._addSpaceParam(form)
        form.addParam(
            "follow",
            params.EnumParam,
            choices=list(_WAY_LABELS),
            default=0,
            label="Follow",
            help="What the trajectory follows. The path of least free energy goes between the two places where these "
            "are given, else between the two deepest basins.",
        )
        self._addOptions(
            form, "axis", "start", "end", "path", "at", "n_frames",
            axis={"condition": "follow == 0"},
            start={"condition": "follow in (1, 3)"},
            end={"condition": "follow in (1, 3)"},
            path={"condition": "follow == 2"},
            at={"condition": "follow == 4"},
            n_frames={"condition": "follow != 4"},
        )  # fmt: skip
        form.addSection(label="Maps and movie")
        self._addOptions(
            form, "maps", "map_box", "movie", "movie_size", "fps",
            map_box={"condition": "maps"},
            movie={"condition": "follow != 4"},
            movie_size={"condition": "movie != 0"},
            fps={"condition": "movie != 0"},
        )  # fmt: skip
        self._addOtherOptions(form)
        form.addParallelSection(threads=1, mpi=0)

    def _formValues(self):
        return {**super()._formValues(), "minimum_path": self.follow.get() == 3}

    # ---------------------------------------------------------------- steps

    def _insertAllSteps(self):
        self._insertFunctionStep(self.convertInputStep, self.inputParticles.get().getObjId(), needsGPU=False)
        self._insertFunctionStep(self.runStep, self._formValues(), needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def convertInputStep(self, _particlesId):
        return [self._writeSpace()]

    def runStep(self, values):
        self._runCommand({"input": self._inputPath("space")}, values)

    def createOutputStep(self):
        figures = self._figures()
        outputs = {OUTPUT_TRAJECTORY: AtomStruct(self._resultPath(figures["file"]))}
        folder, single = self._resultPath("maps"), self._resultPath("place.mrc")
        if os.path.isdir(folder):
            names = sorted(os.listdir(folder))
            outputs[OUTPUT_VOLUMES] = self._volumes([os.path.join(folder, name) for name in names])
        elif os.path.exists(single):
            outputs[OUTPUT_VOLUMES] = self._volumes([single])
        self._defineOutputs(**outputs)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)

    def _volumes(self, paths: list[str]) -> SetOfVolumes:
        import mrcfile

        volumes = SetOfVolumes.create(self.getPath(), prefix="volumes")
        for path in paths:
            with mrcfile.open(path, header_only=True) as opened:
                origin = [float(getattr(opened.header.origin, axis)) for axis in "xyz"]
                volume = new_volume(path, float(opened.voxel_size.x), origin)
            volumes.setSamplingRate(volume.getSamplingRate())
            volumes.append(volume)
        return volumes

    # ---------------------------------------------------------------- information

    def _validate(self):
        errors = self._optionErrors() + self._spaceErrors()
        given = [bool((text.get() or "").strip()) for text in (self.start, self.end)]
        if self.follow.get() == 1 and not all(given):
            errors.append("Write the place to begin at and the place to end at, for example 120,-40")
        if self.follow.get() == 4 and not (self.at.get() or "").strip():
            errors.append("Write the place, for example 120,-40")
        if self.follow.get() == 2 and not os.path.isfile((self.path.get() or "").strip()):
            errors.append(f"Path: no such file: {self.path.get() or ''}")
        return errors

    def _summary(self):
        if not hasattr(self, OUTPUT_TRAJECTORY):
            return ["The trajectory is not made yet."]
        figures = self._figures()
        if "rmsd_reference_angst" in figures:
            return [
                f"The structure at {self.at.get()}; RMSD {figures['rmsd_reference_angst']:.2f} Å from the reference."
            ]
        lines = [
            f"*{figures['n_frames']}* structures, {self.getEnumText('follow')}; RMSD "
            f"{figures['rmsd_ends_angst']:.2f} Å from the first to the last."
        ]
        lines += [f"Movie: {self._resultPath(name)}" for name in figures["movies"]]
        return lines

    def _citations(self):
        return ["Harastani2022"]
