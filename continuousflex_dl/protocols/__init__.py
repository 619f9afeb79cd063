"""Scipion protocols: form, validation, steps and outputs around ``cflex`` commands."""

from .protocol_hemnma import CflexProtHEMNMA
from .protocol_nma import CflexProtNMA
from .protocol_pseudoatoms import CflexProtPseudoAtoms
from .protocol_simulate import CflexProtSimulate
from .protocol_space import CflexProtSpace

__all__ = ["CflexProtHEMNMA", "CflexProtNMA", "CflexProtPseudoAtoms", "CflexProtSimulate", "CflexProtSpace"]
