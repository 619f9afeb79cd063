"""Names that protocols, viewers and wizards share. Imports nothing."""

PACKAGE = "continuousflex_dl"

# progName of pwem's FlexInfo: who made a SetOfParticlesFlex (other plugins branch on it)
PROGRAM_HEMNMA = "CflexHEMNMA"
PROGRAM_SIMULATE = "CflexSimulate"
PROGRAM_SPACE = "CflexSpace"

# files that the commands write
MODES_FILE = "modes.npz"
REFERENCE_FILE = "reference.cif"
PARTICLES_FILE = "particles.star"
TRUTH_FILE = "truth.star"
SPACE_FILE = "space.npz"
REPORT_FILE = "report.html"
TRAJECTORY_FILE = "axis_1.cif"
RECORD_FILE = "run.json"

FIRST_NON_RIGID_MODE = 7  # modes are numbered from 1 and the first six are rigid-body motions
