"""Movies of moving structures, drawn and encoded without any other program."""

from .encode import write_gif, write_mp4
from .scene import Scene, SpaceView

__all__ = ["Scene", "SpaceView", "write_gif", "write_mp4"]
