"""Xmipp metadata (.xmd), also ContinuousFlex results, as the columns of a RELION table; needs no xmippLib.

Xmipp's angles are RELION's. Its shifts are pixels with the sign of rlnOrigin (Scipion converts both alike).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from continuousflex_dl.core.conventions import FIRST_FLEXIBLE_MODE
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.particle_table import MODE_AMPLITUDE
from continuousflex_dl.core.io.star import decimals, read_star
from continuousflex_dl.core.io.text_table import Text, TextTable

logger = logging.getLogger(__name__)

_LABELS = {
    "image": "rlnImageName",
    "angleRot": "rlnAngleRot",
    "angleTilt": "rlnAngleTilt",
    "anglePsi": "rlnAnglePsi",
    "shiftX": "rlnOriginX",
    "shiftY": "rlnOriginY",
    "samplingRate": "rlnImagePixelSize",
    "ctfVoltage": "rlnVoltage",
    "ctfSphericalAberration": "rlnSphericalAberration",
    "ctfQ0": "rlnAmplitudeContrast",
    "ctfDefocusU": "rlnDefocusU",
    "ctfDefocusV": "rlnDefocusV",
    "ctfDefocusAngle": "rlnDefocusAngle",
    "micrograph": "rlnMicrographName",
}
_DISPLACEMENTS = "nmaDisplacements"
_PLAIN = {"flip": 0.0, "scale": 1.0, "ctfPhaseShift": 0.0}  # other values are refused


def read_xmd_columns(path: Path, modes: Sequence[int] | None = None) -> tuple[TextTable, None]:
    """Read the particles of an .xmd file.

    Parameters
    ----------
    path
        The file.
    modes
        Mode numbers of the values in nmaDisplacements; by default 7, 8, ...

    Returns
    -------
    Particles with RELION's labels (optics values per particle; columns without a counterpart are carried as
    ``xmipp_<label>``), and None in the place of an optics table.

    Raises
    ------
    InputError
        For a file without images, or with mirrored or scaled ones.
    """
    blocks = read_star(path)
    table = next((block for block in blocks.values() if "image" in block), None)
    if table is None:
        raise InputError(
            f"{path}: found no column _image, expected Xmipp metadata of particles; give the images' .xmd file"
        )
    for label, plain in _PLAIN.items():
        if label in table and (bad := table.numbers(label) != plain).any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{table.where(row, label)}: found {table.text(label)[row]}, only {plain:g} is supported; "
                "apply it to the images first"
            )
    if "enabled" in table and (disabled := int((table.numbers("enabled") <= 0).sum())):
        logger.warning(
            "%s: %d of %d particles are disabled (_enabled -1) and are read like the others", path, disabled, len(table)
        )
    if "ctfModel" in table and "ctfDefocusU" not in table:
        table = _with_ctf_models(table)
    columns: dict[str, Text] = {}
    for label in table.labels:
        if label == _DISPLACEMENTS:
            columns |= _amplitudes(table, modes)
        elif label != "ctfPhaseShift":
            columns[_LABELS.get(label, f"xmipp_{label}")] = table.columns[label]
    columns = {"rlnImageName": columns.pop("rlnImageName"), **columns}
    return TextTable(path, "particles", columns), None


def _amplitudes(table: TextTable, modes: Sequence[int] | None) -> dict[str, Text]:
    """One column per mode from lists such as ``'  12.5  -3.0 '``."""
    rows = [text.strip("[] ").replace(",", " ").split() for text in table.text(_DISPLACEMENTS)]
    if not rows:
        return {}
    width = len(rows[0]) if modes is None else len(modes)
    for row, values in enumerate(rows):
        if len(values) != width:
            raise InputError(
                f"{table.where(row, _DISPLACEMENTS)}: found {len(values)} values, expected {width}"
                + (
                    "; give as many mode numbers as the file has amplitudes"
                    if modes is not None
                    else " as in the first row; the file may be damaged"
                )
            )
    numbers = range(FIRST_FLEXIBLE_MODE, FIRST_FLEXIBLE_MODE + width) if modes is None else modes
    return {
        f"{MODE_AMPLITUDE}{mode}": np.array([values[i].encode() for values in rows]) for i, mode in enumerate(numbers)
    }


def _with_ctf_models(table: TextTable) -> TextTable:
    """Fill in the CTF from the .ctfparam files that the column ctfModel names."""
    names, inverse = np.unique(table.columns["ctfModel"], return_inverse=True)
    labels = ("ctfVoltage", "ctfSphericalAberration", "ctfQ0", "ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle")
    values = np.zeros((len(names), len(labels)))
    for i, name in enumerate(names.tolist()):
        text = name.decode("utf-8", "surrogateescape")
        folders = (table.source.parent, Path.cwd(), *table.source.resolve().parents)
        found = next((folder / text for folder in folders if (folder / text).is_file()), None)
        if found is None:
            row = int(np.argmax(inverse.reshape(-1) == i))
            raise InputError(
                f"{table.where(row, 'ctfModel')}: no file '{text}'; copy it there, or remove the column to "
                "go without CTF"
            )
        model = next(iter(read_star(found).values()))
        values[i] = [model.numbers(label)[0] for label in labels]
    return table.with_columns({label: decimals(values[inverse.reshape(-1), j]) for j, label in enumerate(labels)})
