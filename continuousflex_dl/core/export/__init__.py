"""Particles as other programs take them: RELION's STAR, Xmipp's metadata, cryoSPARC's .cs."""
