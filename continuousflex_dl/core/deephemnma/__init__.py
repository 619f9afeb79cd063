"""DeepHEMNMA: a network that reads pose, shift and normal-mode amplitudes off a particle image."""
