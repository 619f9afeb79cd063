"""HEMNMA: elastic 3D-to-2D alignment of a reference and its normal modes to every particle image.

Stages, from coarse to fine: `templates` (which orientations, conformations and shifts are possible), `refine` (joint
Levenberg-Marquardt refinement of the survivors), `align` (both, for a block of images), `run_blocks` (all particles).
"""
