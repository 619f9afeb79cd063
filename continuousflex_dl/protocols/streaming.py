"""Input sets that are still growing: their particles are taken in portions, each a run of the command of its own."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass

import numpy as np
import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import STATUS_FAILED, STATUS_NEW

from ..convert.particles import items_of


@dataclass(frozen=True)
class Portion:
    """Particles that one run of the command takes.

    Parameters
    ----------
    number
        From 1.
    ids
        (n,) identifiers of the items, ascending.
    """

    number: int
    ids: np.ndarray


class StreamingMixin:
    """Portions of a pointer ``inputParticles`` whose set is still open, and the output set that grows with it.

    The protocol inserts the steps of a portion (`_insertPortion`) whenever enough particles have arrived, and closes
    its output when the input is closed and all is done. Portions are noted in ``extra/portions``, so that a run that is
    continued takes the same ones again. An input that is closed when the run starts is no matter of this class.
    """

    def _addStreamingParams(self, form):
        form.addSection(label="Streaming")
        form.addParam(
            "portionSize",
            params.IntParam,
            default=1000,
            label="Particles per portion",
            validators=[params.GT(0, "Give at least one particle per portion")],
            help="Only where the input set is still growing: a portion is aligned as soon as so many new particles "
            "have arrived (or when the set is closed). Noise, width of the atoms and the distribution of the "
            "amplitudes are measured once, on particles spread over the first portion, and hold for all later ones: "
            "a first portion of less than 500 particles makes them less certain.",
        )

    # ---------------------------------------------------------------- steps

    def _startsOpen(self) -> bool:
        """Whether this run takes its input in portions."""
        return bool(self._portions()) or self.inputParticles.get().isStreamOpen()

    def _insertPortionSteps(self):
        """Steps of the portions that an earlier try has begun, and the one that waits for the end of the input."""
        self._closing = self._insertFunctionStep(self.closeOutputStep, prerequisites=[], wait=True, needsGPU=False)
        for portion in self._portions():
            self._insertPortion(portion)

    def _insertPortion(self, portion: Portion):
        raise NotImplementedError

    def _stepsCheck(self):
        closing = getattr(self, "_closing", None)
        if closing is None or any(step.getStatus() == STATUS_FAILED for step in self._steps):
            return
        last = self._steps[closing - 1]
        if not last.isWaiting() or any(step.isNew() or step.isRunning() for step in self._steps):
            return  # one portion after the other
        portion, closed = self._arrived()
        if portion is not None:
            self._note(portion)
            self._insertPortion(portion)
        elif closed:
            last.setStatus(STATUS_NEW)
        else:
            return
        self.updateSteps()

    def closeOutputStep(self):
        """Close the output set, so that whoever takes it ends as well."""
        self._closeOutputSet()

    # ---------------------------------------------------------------- input

    def _openInput(self):
        """The input set as it is now, opened anew."""
        known = self.inputParticles.get()
        particles = type(known)(filename=known.getFileName(), prefix=known.getPrefix() or "")
        particles.loadAllProperties()
        return particles

    def _arrived(self) -> tuple[Portion | None, bool]:
        """Particles that are enough for a portion, and whether the input is closed; neither while it is written to."""
        try:
            particles = self._openInput()
        except sqlite3.Error:
            return None, False
        try:
            closed = particles.isStreamClosed()  # read before the items: what comes after it is not missed
            portions = self._portions()
            new = particles.getSize() - sum(len(portion.ids) for portion in portions)
            if new <= 0 or (new < self.portionSize.get() and not closed):
                return None, closed
            ids = np.array(particles.getUniqueValues("id"), dtype=np.int64)
            ids = np.setdiff1d(ids, np.concatenate([portion.ids for portion in portions] or [ids[:0]]))
            return (Portion(len(portions) + 1, ids) if len(ids) else None), closed
        except sqlite3.Error:
            return None, False
        finally:
            particles.close()

    # ---------------------------------------------------------------- portions

    def _portionPath(self, number: int, *names: str) -> str:
        return self._getExtraPath("portions", f"{number:05d}", *names)

    def _portions(self) -> list[Portion]:
        """Portions so far."""
        portions = self._portionsRead = getattr(self, "_portionsRead", [])
        while os.path.exists(self._portionPath(len(portions) + 1, "ids.json")):
            with open(self._portionPath(len(portions) + 1, "ids.json"), encoding="ascii") as stream:
                portions.append(Portion(len(portions) + 1, np.array(json.load(stream), dtype=np.int64)))
        return portions

    def _note(self, portion: Portion):
        path = self._portionPath(portion.number, "ids.json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".part", "w", encoding="ascii") as stream:
            json.dump(portion.ids.tolist(), stream)
        os.replace(path + ".part", path)

    def _portionItems(self, portion: Portion):
        """Items of a portion in the input set."""
        particles = self._openInput()
        try:
            yield from items_of(particles, frozenset(portion.ids.tolist()))
        finally:
            particles.close()
