"""Errors that a user can act on."""

from __future__ import annotations


class InputError(Exception):
    """Bad input or usage.

    The message is one line that names the file, the row or field, what was found, what was expected and the fix.
    The command line prints it without a traceback and exits with 2; a Scipion protocol shows it as the run's error.
    """


class MissingDependencyError(InputError):
    """An optional library is needed and absent; the message says how to install it."""


class DisconnectedNetworkError(InputError):
    """An elastic network has more than six zero modes; the message says at which cutoff it connects."""


class NonFiniteError(InputError):
    """NaN or infinity where a number must be; the message says in which file, image or row."""
