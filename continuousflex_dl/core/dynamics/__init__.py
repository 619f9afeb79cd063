"""Elastic networks, normal modes and what is measured on them."""
