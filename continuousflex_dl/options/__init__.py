"""The options of every command, declared once. Command-line flags, Scipion forms, validation and run records all read them."""

from .base import CommonOptions, OptionError, Options, option
from .registry import COMMANDS, Command, command

__all__ = ["COMMANDS", "Command", "CommonOptions", "OptionError", "Options", "command", "option"]
