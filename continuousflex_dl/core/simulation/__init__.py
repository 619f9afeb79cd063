"""Particle images with known conformations, poses, CTF and noise.

The images are made in real space, with atoms integrated over detector pixels: a different calculation from the Fourier
projection that the analysis fits with, so that an analysis of simulated images is a test and not an identity.
"""
