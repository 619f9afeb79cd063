"""The only door to xmippLib, the Xmipp bindings that a Scipion installation may have. Nothing requires them."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError, MissingDependencyError


def available() -> bool:
    """Whether xmippLib can be used."""
    try:
        return hasattr(_xmipp_lib("this test"), "MetaData")
    except MissingDependencyError:
        return False


def read_image(location: str) -> NDArray[np.float32]:
    """Read one image in any format of Xmipp.

    Parameters
    ----------
    location
        ``N@path`` with N from 1, or a path.

    Returns
    -------
    (ny, nx) or (nz, ny, nx) float32.
    """
    library = _xmipp_lib(location)
    try:
        return np.asarray(library.Image(location).getData(), dtype=np.float32)
    except Exception as error:  # noqa: BLE001  the bindings raise their own error type, or a bare Exception
        raise InputError(f"{location}: Xmipp cannot read it ({_one_line(error)}); convert it to MRC") from None


def write_image(location: str, image: ArrayLike) -> None:
    """Write one image (ny, nx) as float32, in the format that the suffix says; ``N@path`` writes into a stack."""
    library = _xmipp_lib(location)
    picture = library.Image()
    picture.setDataType(library.DT_FLOAT)
    picture.setData(np.asarray(image, dtype=np.float32))
    picture.write(location)


def read_metadata(path: str | os.PathLike[str]) -> object:
    """Read an .xmd or .star file as xmippLib.MetaData; ``block@path`` chooses a block."""
    return _xmipp_lib(str(path)).MetaData(str(path))


def write_metadata(path: str | os.PathLike[str], metadata: object) -> None:
    """Write xmippLib.MetaData."""
    metadata.write(str(path))  # type: ignore[attr-defined]


def _xmipp_lib(purpose: str) -> ModuleType:
    try:
        import xmippLib
    except ImportError:
        raise MissingDependencyError(
            f"{purpose}: needs the Xmipp bindings (xmippLib), which are not installed; convert the images to "
            "MRC, or install pyxmipp3 (pip install pyxmipp3)"
        ) from None
    return xmippLib


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
