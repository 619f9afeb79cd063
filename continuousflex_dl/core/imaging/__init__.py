"""Image formation: rotations, CTF, projection of atoms and of volumes, noise, simulation."""
