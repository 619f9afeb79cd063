"""continuousflex_dl: continuous conformational heterogeneity from single-particle cryo-EM images.

The package imports neither Scipion nor torch here: the science (``core``), the command line (``cli``) and the
declared options (``options``) work without Scipion, and Scipion finds its ``Plugin`` lazily.
"""

from __future__ import annotations

from typing import Any

from ._version import __version__

__all__ = ["Plugin", "__version__"]

_logo = "logo.png"  # read by pyworkflow; a file beside this one
_references: list[str] = []  # package-level citations; every protocol names its own


def __getattr__(name: str) -> Any:
    """Load the Scipion ``Plugin`` on first use only, so that everything else imports without Scipion."""
    if name == "Plugin":
        from ._plugin import Plugin

        globals()["Plugin"] = Plugin
        return Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
