"""What Scipion opens on the results of the protocols."""

from .viewer_amplitudes import CflexAmplitudesViewer, CflexHEMNMAViewer
from .viewer_cryovit import CflexCryoViTViewer
from .viewer_deephemnma import CflexDeepHEMNMAViewer
from .viewer_fit import CflexFitViewer
from .viewer_maps import CflexGroupViewer, CflexReconstructViewer
from .viewer_modes import CflexModesViewer, CflexNMAViewer
from .viewer_pseudoatoms import CflexPseudoAtomsViewer
from .viewer_rank import CflexRankViewer
from .viewer_space import CflexSpaceViewer

__all__ = [
    "CflexAmplitudesViewer",
    "CflexCryoViTViewer",
    "CflexDeepHEMNMAViewer",
    "CflexFitViewer",
    "CflexGroupViewer",
    "CflexHEMNMAViewer",
    "CflexModesViewer",
    "CflexNMAViewer",
    "CflexPseudoAtomsViewer",
    "CflexRankViewer",
    "CflexReconstructViewer",
    "CflexSpaceViewer",
]
