"""The Scipion plugin class, loaded by ``continuousflex_dl.__getattr__`` on first use: the rest needs no Scipion."""

from __future__ import annotations

import os

import pwem
import pyworkflow
import pyworkflow.utils as pwutils


class Plugin(pwem.Plugin):
    """What Scipion asks of a plugin. Nothing is to be installed beside the package: no binaries, no variables."""

    # pyworkflow reads name, path and templates of the plugin from sys.modules[Plugin.__module__].__path__
    __module__ = __package__

    _homeVar = ""
    _pathVars: list[str] = []
    _supportedVersions: list[str] = []
    _url = ""
    _processingField = [pyworkflow.FLEXIBILITY]

    @classmethod
    def _defineVariables(cls):
        """No variables: ``cflex`` runs in the Python of Scipion itself."""

    @classmethod
    def getEnviron(cls):
        """Environment of every ``runJob``: that of Scipion."""
        return pwutils.Environ(os.environ)

    @classmethod
    def validateInstallation(cls):
        """Check that the command line can be imported; the list of errors is empty when the plugin is usable."""
        try:
            from .options import COMMANDS
        except ImportError as error:
            return [f"continuousflex_dl is not completely installed: {error}; reinstall it with pip"]
        return [] if COMMANDS else ["continuousflex_dl declares no command; reinstall it with pip"]

    @classmethod
    def defineBinaries(cls, env):
        """No binaries."""
