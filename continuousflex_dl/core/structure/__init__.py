"""Atomic and pseudoatomic structures: reading, writing, superposition, ensembles."""
