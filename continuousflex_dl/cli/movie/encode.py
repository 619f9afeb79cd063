"""Movie files out of pictures: GIF through Pillow, MP4 through the libraries that come with the package ``av``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...core.errors import MissingDependencyError
from ...core.io.atomic import atomic_path

Pictures = Iterable[NDArray[np.uint8]]


def write_gif(path: str | os.PathLike[str], pictures: Pictures, fps: float) -> int:
    """Write an animated GIF that repeats for ever, complete or not at all; gives the number of pictures.

    Parameters
    ----------
    path
        .gif file.
    pictures
        (height, width, 3) each.
    fps
        Pictures per second; GIF counts in hundredths of a second.
    """
    from PIL import Image

    frames = [Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE) for picture in pictures]
    with atomic_path(path) as temporary:
        pause = max(20, round(1000 / fps))
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=pause, loop=0)
    return len(frames)


def write_mp4(path: str | os.PathLike[str], pictures: Pictures, fps: float) -> int:
    """Write an MP4 (H.264), complete or not at all; gives the number of pictures.

    Raises
    ------
    MissingDependencyError
        If the package ``av`` is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"--movie mp4 needs the Python package av, which cannot be imported ({error}); install it with: "
            "pip install av, or take --movie gif"
        ) from None
    count = 0
    # no dates and no library versions in the file, so that the same movie gives the same bytes
    exact = {"fflags": "+bitexact", "movflags": "+faststart"}
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), mode="w", format="mp4", options=exact) as container,
    ):
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"  # what browsers and presentation programs play
        stream.options = {"crf": "18", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for picture in pictures:
            if not count:
                stream.height, stream.width = picture.shape[0], picture.shape[1]
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
            count += 1
        for packet in stream.encode():
            container.mux(packet)
    return count
