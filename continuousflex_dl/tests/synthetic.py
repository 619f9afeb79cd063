"""A small structure for tests: two helical arms joined by a hinge, so that the softest modes bend the hinge."""

from __future__ import annotations

import math
import os

_ATOMS = (
    ("N", "N", 1.55, 0.0, -0.95),
    ("CA", "C", 2.28, 28.0, 0.0),
    ("C", "C", 1.68, 55.0, 1.1),
    ("O", "O", 1.95, 62.0, 2.3),
)


def write_structure(path: str | os.PathLike[str], residues: int = 48) -> int:
    """Write a PDB file of backbone atoms and return their number."""
    lines = []
    serial = 0
    half = residues // 2
    for residue in range(residues):
        first_arm = residue < half
        turn = residue if first_arm else residue - half
        for name, element, radius, phase, rise in _ATOMS:
            angle = math.radians(100.0 * turn + phase)
            x, y, z = radius * math.cos(angle), radius * math.sin(angle), 1.5 * turn + rise
            if first_arm:
                position = (x, y, 4.0 + z)
            else:  # the second arm leaves the same hinge at an angle, and out of the plane
                position = (5.0 + 0.80 * z + 0.6 * x, 3.0 + y + 0.25 * z, 0.55 * z - 0.8 * x)
            serial += 1
            lines.append(
                f"ATOM  {serial:5d} {name:>3s}  ALA A{residue + 1:4d}    "
                f"{position[0]:8.3f}{position[1]:8.3f}{position[2]:8.3f}  1.00 20.00          {element:>2s}"
            )
    with open(path, "w", encoding="ascii") as handle:
        handle.write("\n".join([*lines, "TER", "END", ""]))
    return serial
