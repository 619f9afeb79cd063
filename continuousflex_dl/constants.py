"""Names that protocols, viewers and wizards share; those that commands share too come from `options`."""

from .options.files import PARTICLES_FILE as PARTICLES_FILE
from .options.files import PREDICTIONS_FILE as PREDICTIONS_FILE

PACKAGE = "continuousflex_dl"

# progName of pwem's FlexInfo: who made a SetOfParticlesFlex (other plugins branch on it)
PROGRAM_HEMNMA = "CflexHEMNMA"
PROGRAM_CRYOVIT = "CflexCryoViT"
PROGRAM_DEEPHEMNMA = "CflexDeepHEMNMA"
PROGRAM_SIMULATE = "CflexSimulate"
PROGRAM_SPACE = "CflexSpace"

# files that the commands write
MODES_FILE = "modes.npz"
REFERENCE_FILE = "reference.cif"
CALIBRATION_FILE = "calibration.json"
TRUTH_FILE = "truth.star"
SPACE_FILE = "space.npz"
REPORT_FILE = "report.html"
TRAJECTORY_FILE = "axis_1.cif"
CONFORMATIONS_FILE = "conformations.h5"
LANDSCAPE_FILE = "landscape.npz"
GROUPS_FILE = "groups.csv"
RECORD_FILE = "run.json"
PSEUDOATOMS_FILE = "pseudoatoms.cif"
MODEL_MAP_FILE = "model.mrc"
MODEL_FILE = "model.json"

# attributes of pwem's FlexInfo: where the space of a set, and its conformations, are kept
SPACE_ATTRIBUTE = "cflexSpace"
CONFORMATIONS_ATTRIBUTE = "cflexConformations"
MODEL_ATTRIBUTE = "cflexModel"  # directory of the trained network that made a set

FIRST_NON_RIGID_MODE = 7  # modes are numbered from 1 and the first six are rigid-body motions
