"""The particle input that protocols share, and the output set that follows from it."""

from __future__ import annotations

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticlesFlex


class ParticlesInputMixin:
    """Form and validation of a pointer ``inputParticles``, and a SetOfParticlesFlex made from it."""

    def _addParticlesParam(self, form, **settings):
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles,SetOfParticlesFlex",
            important=True,
            **{
                "label": "Input particles",
                "help": "Particle images, with their CTF where it is known.",
                **settings,
            },
        )

    def _particleErrors(self) -> list[str]:
        """Errors of the set itself: size, shape, pixel size, acquisition."""
        particles = self.inputParticles.get()
        if particles is None:
            return []
        if particles.getSize() == 0:
            return [] if particles.isStreamOpen() else ["The set of particles is empty"]
        errors = []
        dimensions = particles.getDim()
        if dimensions and dimensions[0] != dimensions[1]:
            errors.append(f"The images have {dimensions[0]} x {dimensions[1]} pixels, expected square ones; crop them")
        if not particles.getSamplingRate():
            errors.append("The particles have no pixel size; import them again with one")
        acquisition = particles.getAcquisition()
        if particles.hasCTF() and (acquisition is None or acquisition.getVoltage() is None):
            first = particles.getFirstItem()
            acquisition = first.getAcquisition() if first is not None else None
            if acquisition is None or acquisition.getVoltage() is None:
                errors.append("The particles have a CTF but no voltage; import them again with their acquisition")
        return errors

    def _newFlexSet(self, particles, program: str, suffix: str = "") -> SetOfParticlesFlex:
        """Empty output set that describes the same images; pwem's own copyInfo forgets whether there is a CTF."""
        output = SetOfParticlesFlex.create(self.getPath(), prefix="particles", suffix=suffix, progName=program)
        output.copyInfo(particles)
        output.setHasCTF(particles.hasCTF())
        output.getFlexInfo().setProgName(program)
        return output

    def _openFlexSet(self, program: str) -> SetOfParticlesFlex:
        """The output set of `_newFlexSet`, to add more items to."""
        output = SetOfParticlesFlex(filename=self._getPath("particles.sqlite"), progName=program)
        output.loadAllProperties()
        output.enableAppend()
        return output
