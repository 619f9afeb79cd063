"""The input that protocols on a conformational space share: particles that know their space."""

from __future__ import annotations

import pyworkflow.protocol.params as params

from ..constants import SPACE_ATTRIBUTE
from ..convert import space_folder_of, write_space_folder


class SpaceInputMixin:
    """Form, validation and conversion of a pointer ``inputParticles`` to particles in a space."""

    def _addSpaceParam(self, form):
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticlesFlex",
            important=True,
            label="Particles in their space",
            help="The output of 'conformational space', or a subset of it.",
        )

    def _spaceErrors(self) -> list[str]:
        particles = self.inputParticles.get()
        if particles is None:
            return []
        if not particles.getSize():
            return ["The set of particles is empty"]
        if space_folder_of(particles, SPACE_ATTRIBUTE) is None:
            return ["The particles are in no conformational space; take the output of 'conformational space'"]
        return []

    def _writeSpace(self) -> str:
        """Write the part of the space that the particles make up; gives its directory."""
        particles = self.inputParticles.get()
        write_space_folder(particles, space_folder_of(particles, SPACE_ATTRIBUTE), self._inputPath("space"))
        return self._inputPath("space")
