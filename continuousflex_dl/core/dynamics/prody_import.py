"""Importing ProDy, also under ``python -O``.

Biopython 1.81, which ProDy imports, parses its substitution matrices inside an ``assert``; without asserts the import
raises ValueError. Scipion's windows run under ``-O``, so that one module is compiled with its asserts kept.
"""

from __future__ import annotations

import importlib.machinery
import logging
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

from ..errors import MissingDependencyError

_NEEDS_ASSERTS = "Bio.Align.substitution_matrices"


class _AssertLoader(importlib.machinery.SourceFileLoader):
    """Compiles from source with asserts, past the cached optimised byte code."""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_data(self.path), self.path, "exec", optimize=0, dont_inherit=True)


class _AssertFinder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NEEDS_ASSERTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _AssertLoader(spec.loader.name, spec.loader.path)
        return spec


def import_prody() -> Any:
    """Import ProDy, quiet.

    Raises
    ------
    MissingDependencyError
        If ProDy is not installed.
    """
    if sys.flags.optimize and _NEEDS_ASSERTS not in sys.modules and _AssertFinder not in sys.meta_path:
        sys.meta_path.insert(0, _AssertFinder)  # type: ignore[arg-type]
    try:
        import prody
    except ImportError as error:
        raise MissingDependencyError(f"ProDy cannot be imported ({error}); install it: pip install ProDy") from error
    prody.LOGGER.verbosity = "none"  # not confProDy, which would rewrite the user's own settings file
    logging.getLogger(".prody").propagate = False  # its messages would come out again through the root logger
    return prody
