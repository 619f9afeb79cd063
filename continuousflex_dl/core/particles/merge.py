"""Several particle tables as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.image_files import ImageLocations
from ..io.particle_table import ParticleTable
from ..io.star import Text, TextTable, shortest

SET = "cflexSet"  # which of the merged tables a particle is from, 1-based
_GROUP, _GROUP_NAME = "rlnOpticsGroup", "rlnOpticsGroupName"


def merge_tables(tables: Sequence[ParticleTable], source: Path) -> tuple[ParticleTable, list[str]]:
    """Put the particles of several tables one after another.

    Optics groups are numbered anew; `_cflexSet` says where a particle comes from.

    Parameters
    ----------
    tables
        At least one.
    source
        Name of the new table, for messages.

    Returns
    -------
    The table, and the columns that not all tables have and that are left out.

    Raises
    ------
    InputError
        If the optics of one table lack what those of another state.
    """
    kept = [label for label in tables[0].particles.labels if all(label in table.particles for table in tables)]
    dropped = sorted({label for table in tables for label in table.particles.labels} - set(kept) - {SET})
    optics_labels = tables[0].optics.labels
    for table in tables[1:]:
        odd = sorted(set(table.optics.labels) ^ set(optics_labels))
        if odd:
            raise InputError(
                f"{table.source}: data_optics differs from that of {tables[0].source} in _{', _'.join(odd)}; give the "
                "sets the same optics columns"
            )
    particles: dict[str, list[Text]] = {label: [] for label in kept}
    optics: dict[str, list[Text]] = {label: [] for label in optics_labels}
    stacks: dict[str, int] = {}
    numbers, indices, numbered, member = [], [], [], []
    first_group = 1
    for which, table in enumerate(tables, start=1):
        groups = len(table.optics)
        new = np.arange(first_group, first_group + groups)
        for label in optics_labels:
            column = table.optics.columns[label]
            if label == _GROUP:
                column = shortest(new)
            elif label == _GROUP_NAME:
                column = np.array([b"opticsGroup%d" % number for number in new.tolist()])
            optics[label].append(column)
        for label in kept:
            particles[label].append(
                shortest(new[table.optics_group]) if label == _GROUP else table.particles.columns[label]
            )
        own = np.array([stacks.setdefault(path, len(stacks)) for path in table.locations.stacks], dtype=np.int64)
        numbers.append(own[table.locations.stack_number])
        indices.append(table.locations.stack_index)
        numbered.append(table.locations.numbered)
        member.append(np.full(len(table), which))
        first_group += groups
    columns = {label: np.concatenate(parts) for label, parts in particles.items()}
    columns[SET] = shortest(np.concatenate(member))
    merged = ParticleTable(
        source,
        TextTable(source, "particles", columns),
        TextTable(source, "optics", {label: np.concatenate(parts) for label, parts in optics.items()}),
        ImageLocations(tuple(stacks), np.concatenate(numbers), np.concatenate(indices), np.concatenate(numbered)),
    )
    return merged, dropped
