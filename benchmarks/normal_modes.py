"""Speed of ``cflex nma`` and ``cflex pseudoatoms``, start of Python included, and agreement with ProDy's dense answer.

Every command runs in a process of its own with one thread; CPU seconds, wall seconds and peak memory are those of that
process. The median of some runs is reported. Writes ``benchmarks/normal_modes.json``. Needs the real data beside the
checkout (``--data``, by default ``../shared/data``).
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import ROOT, arguments, cflex, measured, write

RESULTS = ROOT / "benchmarks" / "normal_modes.json"
FREE = ("--block-size", "0")


@dataclass(frozen=True)
class Case:
    """One command, and the figures that it is to reach."""

    name: str
    what: str
    command: str
    input: str
    options: tuple[str, ...] = ()
    most_seconds: float | None = None
    most_gigabytes: float | None = None


CASES = (
    Case("ak", "adenylate kinase, 1,656 atoms, rigid blocks", "nma", "particles/hemnma_reference/4akeA.pdb", most_seconds=1.0),
    Case("ak_free", "adenylate kinase, 1,656 atoms, no blocks", "nma", "particles/hemnma_reference/4akeA.pdb", FREE),
    Case("nucleosome", "nucleosome, 13,607 atoms, rigid blocks", "nma", "structures/nucleosome/1kx5.pdb", most_seconds=3.0),
    Case("ribosome", "ribosomal subunit, 48,800 atoms, rigid blocks", "nma", "structures/ribosome30S/ribosome.pdb", most_seconds=15.0, most_gigabytes=2.0),
    Case("ribosome_ca_p", "the same, 3,763 CA and P, cutoff 15 Å, no blocks", "nma", "structures/ribosome30S/ribosome.pdb", ("--representation", "ca-p", "--cutoff", "15", *FREE)),
    Case("thinned", "every 48,800 / 17,000th of its atoms, cutoff 20 Å, no blocks", "nma", "thinned.cif", ("--cutoff", "20", *FREE), most_seconds=30.0),
    Case("ribosome_map", "70S ribosome, 65 px, 5 % target", "pseudoatoms", "maps/clean70SRibosome_vol_65p.mrc", ("--pixel-size", "5"), most_seconds=60.0),
    Case("emd_5168", "EMD-5168, 100 px, 5 % target", "pseudoatoms", "maps/emd_5168.map", most_seconds=60.0),
)  # fmt: skip


def measure(case: Case, source: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Median figures of some runs of a command, and what its record says."""
    runs = []
    for repeat in range(repeats):
        output = folder / f"{case.name}-{repeat}"
        runs.append(cflex(case.command, source, "-o", output, *case.options))
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    found = {
        "what": case.what,
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 2),
        "wall_s": round(statistics.median(run.wall_s for run in runs), 2),
        "peak_gigabytes": round(max(run.memory_gb for run in runs), 2),
        "stages_cpu_s": {stage["stage"]: stage["cpu_s"] for stage in record["stages"]},
    }
    names = (
        ("n_pseudoatoms", "error_percent", "fsc_05_angst") if case.command == "pseudoatoms" else ("n_atoms", "n_blocks")
    )
    found.update({name: record["results"][name] for name in names})
    if case.most_seconds is not None:
        found["most_s"] = case.most_seconds
        found["reached"] = found["cpu_s"] <= case.most_seconds
        if case.most_gigabytes is not None:
            found["reached"] = found["reached"] and found["peak_gigabytes"] <= case.most_gigabytes
    return found


def thinned(data: Path, folder: Path) -> Path:
    """17,000 atoms of the ribosomal subunit, evenly spread."""
    from continuousflex_dl.core.structure.reader import read_structure
    from continuousflex_dl.core.structure.writer import write_structure

    structure, _ = read_structure(data / "structures/ribosome30S/ribosome.pdb")
    write_structure(folder / "thinned.cif", structure.take([round(k * len(structure) / 17_000) for k in range(17_000)]))
    return folder / "thinned.cif"


def against_prody(data: Path) -> dict[str, float]:
    """Largest relative difference of eigenvalues, and sine of the largest angle between the spaces of modes 7-20."""
    import numpy as np
    import prody

    from continuousflex_dl.core.dynamics.blocks import residue_blocks
    from continuousflex_dl.core.dynamics.modes import normal_modes
    from continuousflex_dl.core.structure.reader import read_structure

    prody.LOGGER.verbosity = "none"
    structure, _ = read_structure(data / "particles/hemnma_reference/4akeA.pdb")
    found = {}
    for name, blocks in (("blocks", residue_blocks(structure, 10)), ("free", None)):
        reference = prody.ANM() if blocks is None else prody.RTB()
        arguments = (structure.coordinates,) if blocks is None else (structure.coordinates, blocks)
        reference.buildHessian(*arguments, cutoff=8.0)
        reference.calcModes(14)
        modes = normal_modes(structure, blocks, 8.0, 20)
        vectors, own = reference.getEigvecs(), modes.vectors.reshape(14, -1).T
        found[f"{name}_eigenvalues"] = float(np.abs(modes.eigenvalues / reference.getEigvals() - 1).max())
        found[f"{name}_subspace"] = float(np.linalg.norm(vectors - own @ (own.T @ vectors), ord=2))
    return {name: float(f"{value:.2e}") for name, value in found.items()}


def main() -> int:
    """Measure, print and write."""
    options = arguments(__doc__, "repeats", 3, "Runs per case.")

    def one(case: Case, folder: Path) -> dict[str, Any]:
        source = thinned(options.data, folder) if case.name == "thinned" else options.data / case.input
        return measure(case, source, folder, options.repeats)

    rows = measured(CASES, options.only, one)
    if options.only:
        return 0
    agreement = against_prody(options.data)
    print(f"against ProDy: {agreement}")
    return write(RESULTS, rows, keep=False, repeats=options.repeats, against_prody=agreement)


if __name__ == "__main__":
    sys.exit(main())
