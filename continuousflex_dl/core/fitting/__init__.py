"""Flexible fitting of a reference with normal modes into maps."""
