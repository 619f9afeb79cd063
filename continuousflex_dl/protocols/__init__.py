"""Scipion protocols: form, validation, steps and outputs around ``cflex`` commands."""

from .protocol_animate import CflexProtAnimate
from .protocol_cryovit import CflexProtCryoViTInfer, CflexProtCryoViTTrain
from .protocol_deephemnma_infer import CflexProtDeepHEMNMAInfer
from .protocol_deephemnma_train import CflexProtDeepHEMNMATrain
from .protocol_fit import CflexProtFit
from .protocol_group import CflexProtGroup
from .protocol_hemnma import CflexProtHEMNMA
from .protocol_nma import CflexProtNMA
from .protocol_pseudoatoms import CflexProtPseudoAtoms
from .protocol_rank import CflexProtRank
from .protocol_reconstruct import CflexProtReconstruct
from .protocol_simulate import CflexProtSimulate
from .protocol_space import CflexProtSpace

__all__ = [
    "CflexProtAnimate",
    "CflexProtCryoViTInfer",
    "CflexProtCryoViTTrain",
    "CflexProtDeepHEMNMAInfer",
    "CflexProtDeepHEMNMATrain",
    "CflexProtFit",
    "CflexProtGroup",
    "CflexProtHEMNMA",
    "CflexProtNMA",
    "CflexProtPseudoAtoms",
    "CflexProtRank",
    "CflexProtReconstruct",
    "CflexProtSimulate",
    "CflexProtSpace",
]
