"""Trained networks between protocols: a set of particles knows the network that was trained on it or made it."""

from __future__ import annotations

import os

import pyworkflow.protocol.params as params

from ..constants import MODEL_ATTRIBUTE, MODEL_FILE


class ModelInputMixin:
    """Form and validation of a pointer ``inputModel`` to a set that carries a network."""

    MODEL_METHOD = ""  # what the network has to be of, in words

    def _addModelParam(self, form, **settings):
        form.addParam(
            "inputModel",
            params.PointerParam,
            pointerClass="SetOfParticlesFlex",
            label="Trained network",
            **{
                "important": True,
                "help": "The output of a training: the particles that the network was trained on carry it.",
                **settings,
            },
        )

    def _modelFolder(self) -> str | None:
        """Directory of the network; None where the set carries none."""
        return model_folder(self.inputModel.get())

    def _modelErrors(self) -> list[str]:
        if self.inputModel.get() is None:
            return []
        folder = self._modelFolder()
        if folder is None:
            return [f"'Trained network': the set carries no network; take the output of a training{self.MODEL_METHOD}"]
        if not os.path.exists(os.path.join(folder, MODEL_FILE)):
            return [f"'Trained network': {folder} holds no network any more; train it again"]
        return []


def model_folder(particles) -> str | None:
    """Directory of the network that a set carries."""
    info = particles.getFlexInfo() if hasattr(particles, "getFlexInfo") else None
    stored = getattr(info, MODEL_ATTRIBUTE, None)
    return None if stored is None else stored.get()
