"""RMSD that ``cflex fit`` leaves between pairs of conformations, beside the smallest that the modes allow.

The second conformation of a pair is turned and moved at random and made into a map of some resolution (Gaussian atoms,
white noise); the first is fitted to that map with its modes, without being told where it lies. RMSD is that of the
atoms that both share, in the frame of the map, not superposed. The best that the modes allow is found with the true atoms:
amplitudes and superposition in turn. Writes ``benchmarks/fitting.json``. Needs the real data beside the checkout
(``--data``, by default ``../shared/data``).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cases import ROOT, arguments, cflex, measured, write
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.dynamics.modes import NormalModes
from continuousflex_dl.core.fitting.width import WIDTH_PER_RESOLUTION
from continuousflex_dl.core.io.modes import read_modes, read_reference
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.reconstruction.map_files import write_map
from continuousflex_dl.core.structure.reader import read_structure
from continuousflex_dl.core.structure.superpose import match_atoms, superpose

RESULTS = ROOT / "benchmarks" / "fitting.json"
OVER_BEST = 1.2  # of the smallest RMSD
VOXEL_ANGST, MARGIN_ANGST = 2.0, 16.0
BEST_ROUNDS = 200
OPEN, CLOSED = "structures/adk/adk_open.pdb", "structures/adk/adk_closed.pdb"
FREE, BOUND = "structures/glnbp/1GGG_A.pdb", "structures/glnbp/1WDN_A.pdb"
NUCLEOSOME = "structures/nucleosome/1kx5.pdb"


@dataclass(frozen=True)
class Case:
    """A reference, and the conformation that is in the map (none: the reference, deformed)."""

    name: str
    reference: str
    target: str | None
    resolution: float = 8.0
    noise: float = 0.05  # standard deviation, of the largest density
    use: str = "7-16"


CASES = (
    Case("ak_open_to_closed", OPEN, CLOSED),
    Case("ak_closed_to_open", CLOSED, OPEN),
    Case("glnbp_open_to_closed", FREE, BOUND),
    Case("glnbp_closed_to_open", BOUND, FREE),
    Case("nucleosome", NUCLEOSOME, None, resolution=10.0),
    Case("ak_open_to_closed_15A", OPEN, CLOSED, resolution=15.0),
    Case("ak_closed_to_open_15A", CLOSED, OPEN, resolution=15.0),
    Case("ak_open_to_closed_noisy", OPEN, CLOSED, noise=0.3),
)


def best_rmsd(modes: NormalModes, rows: np.ndarray, target: np.ndarray) -> float:
    """Smallest RMSD in Å to a target (n, 3) that amplitudes of these modes allow, over atoms `rows` (n,)."""
    start, vectors = modes.coordinates[rows], modes.vectors[:, rows].reshape(len(modes), -1).T
    moved, rmsd = start, np.inf
    for _ in range(BEST_ROUNDS):
        rotation, shift, rmsd = superpose(target, moved)
        amplitudes = np.linalg.lstsq(vectors, (target @ rotation.T + shift - start).ravel(), rcond=None)[0]
        moved = start + (vectors @ amplitudes).reshape(-1, 3)
    return rmsd


def deformed(modes: NormalModes, seed: int) -> np.ndarray:
    """Coordinates (N, 3) displaced along all modes, the more the softer: an RMSD of about 3 Å."""
    spread = np.random.default_rng(seed).standard_normal(len(modes)) / np.sqrt(modes.eigenvalues)
    amplitudes = 3.0 * spread / np.linalg.norm(spread) / modes.rmsd_per_amplitude
    return np.asarray(modes.displace(amplitudes))


def measure(case: Case, data: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Fit one case."""
    modes_file = folder / f"{Path(case.reference).stem}-modes"
    if not modes_file.exists():
        cflex("nma", data / case.reference, "-o", modes_file)
    every = read_modes(modes_file / "modes.npz")
    modes = every.select(range(*_bounds(case.use)))
    reference = read_reference(modes_file / "modes.npz", every)
    generator = np.random.default_rng(seed)
    if case.target is None:
        atoms, first = deformed(every, seed), np.arange(every.n_atoms)
        second, weights = first, every.weights
    else:
        target, _ = read_structure(data / case.target)
        match = match_atoms(reference, target)
        atoms, first, second, weights = target.coordinates, match.first, match.second, target.weights
    rotation = Rotation.random(random_state=seed).as_matrix()
    atoms = (atoms - atoms.mean(axis=0)) @ rotation.T + generator.uniform(-20, 20, 3)
    origin = atoms.min(axis=0) - MARGIN_ANGST
    shape = tuple(np.ceil((atoms.max(axis=0) + MARGIN_ANGST - origin)[::-1] / VOXEL_ANGST).astype(int))
    width = WIDTH_PER_RESOLUTION * case.resolution
    density = render((atoms - origin)[:, ::-1] / VOXEL_ANGST, weights, width / VOXEL_ANGST, shape)
    density += case.noise * density.max() * generator.standard_normal(shape)
    map_file, output = folder / f"{case.name}.mrc", folder / case.name
    x, y, z = origin
    write_map(map_file, density, VOXEL_ANGST, (x, y, z))
    used = cflex("fit", map_file, "--modes", modes_file / "modes.npz", "--use", case.use, "-o", output)
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))["results"]
    fitted, _ = read_structure(output / "fitted.cif", keep_all=True)
    left = float(np.sqrt(((fitted.coordinates[first] - atoms[second]) ** 2).sum(axis=1).mean()))
    best = best_rmsd(modes, first, atoms[second])
    return {
        "atoms": every.n_atoms,
        "modes": case.use,
        "resolution_angst": case.resolution,
        "noise": case.noise,
        "rmsd_before_angst": round(superpose(modes.coordinates[first], atoms[second])[2], 3),
        "rmsd_best_angst": round(best, 3),
        "rmsd_fitted_angst": round(left, 3),
        "over_best": round(left / best, 3),
        "correlation": record["correlation"][0],
        "correlation_at_rest": record["correlation_at_rest"][0],
        "cpu_s": round(used.cpu_s, 1),
        "reached": left <= OVER_BEST * best,
    }


def _bounds(use: str) -> tuple[int, int]:
    first, _, last = use.partition("-")
    return int(first), int(last) + 1


def main() -> int:
    """Measure, print and write."""
    options = arguments(__doc__, "seed", 1, "Of the orientations and the noise.")
    rows = measured(CASES, options.only, lambda case, folder: measure(case, options.data, folder, options.seed))
    return write(RESULTS, rows, keep=bool(options.only), seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())
