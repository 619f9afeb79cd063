"""Names of particle files that commands write and that others, protocols and viewers look for."""

from __future__ import annotations

PARTICLES_FILE = "particles.star"
PREDICTIONS_FILE = "predictions.star"  # of a network
RESULT_FILES = (PARTICLES_FILE, PREDICTIONS_FILE)  # a result directory has one of them
