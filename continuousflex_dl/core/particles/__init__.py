"""Particle images: the lazy stack and what is done to images before they are compared with a model."""
