"""Helpers beside the parameters of a form."""

from .mode_selection import CflexModesWizard

__all__ = ["CflexModesWizard"]
