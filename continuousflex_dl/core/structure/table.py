"""Atom records of a PDB or mmCIF file as flat columns in file order, before anything is interpreted.

gemmi's own hierarchy joins residues of equal chain and number when a file restarts its numbering without a TER record,
so the rows are kept flat here and grouped in file order by the reader.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from ..errors import InputError

_EXPECTED = "expected a PDB or mmCIF structure (plain or .gz)"


@dataclass(frozen=True, eq=False)
class AtomTable:
    """Columns over the atom records (n,), all models one after the other."""

    model: np.ndarray  # number as written in the file
    chain_part: np.ndarray  # grows at every chain change, TER record or mmCIF label_asym_id change
    hetero: np.ndarray
    atom_name: np.ndarray
    padded_name: np.ndarray  # PDB columns 13-16: the alignment tells CA (carbon) from CA (calcium)
    altloc: np.ndarray
    residue_name: np.ndarray
    chain: np.ndarray
    residue_number: np.ndarray
    insertion_code: np.ndarray
    coordinates: np.ndarray  # (n, 3) Å
    occupancy: np.ndarray
    b_factor: np.ndarray
    element: np.ndarray  # "" where the file gives none
    sigma: float | None = None  # Gaussian width in Å of a pseudoatom file
    weight_column: str = "bfactor"

    def __len__(self) -> int:
        return len(self.model)


def read_table(path: Path) -> AtomTable:
    """Read the atom records of a structure file.

    Raises
    ------
    InputError
        If the file is missing, is not a structure, or a number in it cannot be read.
    """
    text = _read_text(path)
    if text.lstrip().startswith(("data_", "#")) or "\n_atom_site." in text:
        return _read_mmcif(path, text)
    return _read_pdb(path, text)


def _read_text(path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path}: no such file; {_EXPECTED}")
    if path.is_dir():
        raise InputError(f"{path}: is a directory; {_EXPECTED}")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: the gzip file is damaged ({error}); copy or download it again") from None
    if not data.strip():
        raise InputError(f"{path}: the file is empty; {_EXPECTED}")
    if b"\0" in data[:100_000]:
        raise InputError(f"{path}: is a binary file; {_EXPECTED}")
    return data.decode("utf-8", errors="replace")


def _read_pdb(path: Path, text: str) -> AtomTable:
    lines: list[str] = []
    line_numbers: list[int] = []
    models: list[int] = []
    parts: list[int] = []
    sigma: float | None = None
    weight_column = "bfactor"
    model, part, previous_chain = 1, 0, None
    n_models = 0
    for number, line in enumerate(text.splitlines(), start=1):
        record = line[:6]
        if record in ("ATOM  ", "HETATM"):
            if line[11:12].isdigit():
                line = line[:6] + line[7:]  # serial of 100,000 and more, written one column too wide
            chain = line[20:22]
            if chain != previous_chain:
                part += 1
                previous_chain = chain
            lines.append(line)
            line_numbers.append(number)
            models.append(model)
            parts.append(part)
        elif record.startswith("TER"):
            previous_chain = None
        elif record.startswith("MODEL "):
            n_models += 1
            words = line[6:].split()
            model = int(words[0]) if words and words[0].isdigit() else n_models
            previous_chain = None
        elif record.startswith("REMARK"):
            words = line.split()
            if len(words) >= 3 and words[1] == "fixedGaussian":
                sigma = _positive(path, number, "fixedGaussian", words[2])
            elif len(words) >= 3 and words[1] == "intensityColumn":
                weight_column = words[2].lower()
    if not lines:
        raise InputError(f"{path}: found no ATOM or HETATM record and no _atom_site table; {_EXPECTED}")
    pseudo = sigma is not None

    def real(start: int, end: int, name: str, blank: float | None) -> np.ndarray:
        return _numbers(path, [line[start:end] for line in lines], line_numbers, "line", name, blank)

    return AtomTable(
        model=np.array(models),
        chain_part=np.array(parts),
        hetero=np.array([line.startswith("HETATM") for line in lines]),
        atom_name=np.array([line[12:16].strip() for line in lines]),
        padded_name=np.array([line[12:16] for line in lines]),
        altloc=np.array(["" if pseudo else line[16:17].strip() for line in lines]),
        residue_name=np.array([line[17:20].strip() for line in lines]),
        chain=np.array(["" if pseudo else line[20:22].strip() for line in lines]),
        residue_number=np.array(
            [_residue_number(path, n, line[22:26]) for line, n in zip(lines, line_numbers, strict=True)]
        ),
        insertion_code=np.array([line[26:27].strip() for line in lines]),
        coordinates=np.stack([real(30, 38, "x", None), real(38, 46, "y", None), real(46, 54, "z", None)], axis=1),
        occupancy=real(54, 60, "occupancy", 1.0),
        b_factor=real(60, 66, "B factor", 0.0),
        element=np.array([line[76:78].strip() for line in lines]),
        sigma=sigma,
        weight_column=weight_column,
    )


def _read_mmcif(path: Path, text: str) -> AtomTable:
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the mmCIF file cannot be read ({error}); {_EXPECTED}") from None
    block = next((block for block in document if len(block.find_mmcif_category("_atom_site."))), None)
    if block is None:
        raise InputError(f"{path}: found no _atom_site table; {_EXPECTED}")
    table = block.find_mmcif_category("_atom_site.")
    columns = {tag.removeprefix("_atom_site."): position for position, tag in enumerate(table.tags)}
    rows = len(table)

    def text_column(*names: str) -> np.ndarray:
        for name in names:
            if name in columns:
                return np.array([_cif_text(value) for value in table.column(columns[name])])
        return np.full(rows, "")

    def real(name: str, blank: float | None) -> np.ndarray:
        if name not in columns:
            if blank is None:
                raise InputError(f"{path}: _atom_site has no column {name}, expected Cartn_x, Cartn_y and Cartn_z")
            return np.full(rows, blank)
        return _numbers(path, list(text_column(name)), range(1, rows + 1), "_atom_site row", name, blank)

    model = text_column("pdbx_PDB_model_num")
    chain = text_column("auth_asym_id", "label_asym_id")
    label = text_column("label_asym_id", "auth_asym_id")
    changed = np.ones(rows, dtype=bool)
    changed[1:] = (chain[1:] != chain[:-1]) | (label[1:] != label[:-1]) | (model[1:] != model[:-1])
    numbers = text_column("auth_seq_id", "label_seq_id")
    names = text_column("auth_atom_id", "label_atom_id")
    sigma_text = block.find_value("_cflex_pseudoatoms.sigma")
    return AtomTable(
        model=np.array([int(value) if value.isdigit() else 1 for value in model]),
        chain_part=np.cumsum(changed),
        hetero=text_column("group_PDB") == "HETATM",
        atom_name=names,
        padded_name=names,
        altloc=text_column("label_alt_id"),
        residue_name=text_column("auth_comp_id", "label_comp_id"),
        chain=chain,
        residue_number=np.array(
            [_integer(path, row, value) for row, value in enumerate(numbers, start=1)], dtype=np.int64
        ),
        insertion_code=text_column("pdbx_PDB_ins_code"),
        coordinates=np.stack([real("Cartn_x", None), real("Cartn_y", None), real("Cartn_z", None)], axis=1),
        occupancy=real("occupancy", 1.0),
        b_factor=real("B_iso_or_equiv", 0.0),
        element=text_column("type_symbol"),
        sigma=_positive(path, 0, "_cflex_pseudoatoms.sigma", sigma_text) if sigma_text else None,
    )


def _cif_text(value: str) -> str:
    return "" if value in ("?", ".") else gemmi.cif.as_string(value)


def _numbers(
    path: Path, texts: list[str], places: range | list[int], place: str, name: str, blank: float | None
) -> np.ndarray:
    """Turn a column of texts (n,) into floats; `blank` stands for an empty field, None refuses it."""
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array(
            [_number(path, text, where, place, name, blank) for text, where in zip(texts, places, strict=True)]
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"{path}: {place} {places[bad[0]]}: {name} is {texts[bad[0]].strip()}, expected a finite number; "
            "repair or remove this atom"
        )
    return values


def _number(path: Path, text: str, where: int, place: str, name: str, blank: float | None) -> float:
    stripped = text.strip()
    if not stripped and blank is not None:
        return blank
    try:
        return float(stripped)
    except ValueError:
        raise InputError(
            f"{path}: {place} {where}: {name} is {stripped!r}, expected a number; repair this line"
        ) from None


def _integer(path: Path, row: int, text: str) -> int:
    try:
        return int(text) if text else 0
    except ValueError:
        raise InputError(
            f"{path}: _atom_site row {row}: residue number is {text!r}, expected an integer; repair this row"
        ) from None


def _residue_number(path: Path, line_number: int, text: str) -> int:
    """Columns 23-26: a number, or hybrid-36 above 9,999; blank counts as 0."""
    stripped = text.strip()
    if not stripped:
        return 0
    try:
        return int(stripped)
    except ValueError:
        pass
    if len(stripped) == 4 and stripped.isalnum() and stripped[0].isalpha():
        value = int(stripped, 36)
        return value - 10 * 36**3 + 10**4 if stripped[0].isupper() else value + 16 * 36**3 + 10**4
    raise InputError(
        f"{path}: line {line_number}: residue number is {stripped!r}, expected an integer in columns "
        "23-26; repair this line"
    )


def _positive(path: Path, line_number: int, name: str, text: str) -> float:
    where = f"line {line_number}: " if line_number else ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{path}: {where}{name} is {text}, expected a positive width in Å; convert the map again")
    return value
