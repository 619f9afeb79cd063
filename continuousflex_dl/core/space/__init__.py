"""Conformational spaces: what the per-particle conformations of a set have in common, in a few dimensions."""
