"""``cflex pseudoatoms``: a map as a set of Gaussians of one width."""

from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.io.atomic import atomic_text
from ..core.pseudoatoms.fit import Pseudoatoms, fit_pseudoatoms
from ..core.pseudoatoms.quality import map_model_correlation
from ..core.pseudoatoms.region import NOISE_SIGMAS, Region, find_region
from ..core.pseudoatoms.structure import as_structure, other_hand, reversed_x
from ..core.reconstruction.fsc import MODEL, ShellCorrelation
from ..core.reconstruction.map_files import Map, read_map, write_map
from ..core.structure.atoms import Structure
from ..core.structure.writer import write_structure
from ..options.pseudoatoms import PseudoatomsOptions
from .run import Run

STRUCTURE_NAME, PDB_NAME, MODEL_NAME, FSC_NAME = "pseudoatoms.cif", "pseudoatoms.pdb", "model.mrc", "fsc.csv"
_CONFLICT = 0.01  # relative difference of pixel sizes that is worth a word
_INSIDE = 0.5  # of a mask


def run(options: PseudoatomsOptions, run: Run) -> None:
    """Read the map, fit, write pseudoatoms, their map and the correlation with the input."""
    with run.stage("read"):
        source, mask = _read(options, run)
        region = find_region(source.values, options.threshold, mask)
        run.say(_describe(region, options))
    with run.stage("fit"), run.progress("pseudoatoms", "%") as progress:
        found = fit_pseudoatoms(source.values, region, options.radius_voxels, options.target_error, progress)
        if not len(found):
            raise InputError(
                f"{options.map}: the density has no peak that a Gaussian of {options.radius_voxels:g} voxels fits; "
                "give a smaller --radius-voxels"
            )
    with run.stage("compare"):
        curve = map_model_correlation(source.values, found.model, region.inside, source.pixel_size)
    with run.stage("write"):
        structure = as_structure(found, source)
        write_structure(run.path(STRUCTURE_NAME), structure)
        _write_pdb(structure, run)
        write_map(run.path(MODEL_NAME), found.model, source.pixel_size, source.origin)
        _write_curve(curve, run)
    _report(found, structure, region, curve, source, options, run)


def _read(options: PseudoatomsOptions, run: Run) -> tuple[Map, np.ndarray | None]:
    source = read_map(options.map, options.pixel_size)
    run.add_input(options.map)
    if not source.pixel_size > 0:
        raise InputError(f"{options.map}: its header has no pixel size; give --pixel-size")
    if options.pixel_size is not None:
        stated = read_map(options.map).pixel_size if _is_cubic(options.map) else 0.0
        if stated > 0 and abs(stated / options.pixel_size - 1) > _CONFLICT:
            run.say(f"{options.map}: its header says {stated:.4g} Å; --pixel-size {options.pixel_size:.4g} Å is used")
    mask = None
    if options.mask is not None:
        values = read_map(options.mask, source.pixel_size).values
        run.add_input(options.mask)
        if values.shape != source.values.shape:
            raise InputError(
                f"{options.mask}: has {_size(values)} voxels, {options.map} has {_size(source.values)}; give a mask of "
                "the same box"
            )
        mask = values > _INSIDE
        if not mask.any():
            raise InputError(f"{options.mask}: no voxel is above {_INSIDE:g}; give a mask that is 1 inside, 0 outside")
    if options.flip_hand:
        source = other_hand(source)
        mask = None if mask is None else reversed_x(mask)
    return source, mask


def _is_cubic(path: str) -> bool:
    """Whether the voxels that the header states are cubes (then they can be compared with what the user gives)."""
    try:
        read_map(path)
    except InputError:
        return False
    return True


def _size(values: np.ndarray) -> str:
    return " x ".join(str(size) for size in values.shape[::-1])


def _describe(region: Region, options: PseudoatomsOptions) -> str:
    if options.mask is not None:
        return f"{region.n_voxels} voxels in the mask with a density above {region.threshold:.4g}"
    source = "" if region.noise is None else f" ({NOISE_SIGMAS:g} sigma of the noise, {region.noise:.4g})"
    return (
        f"threshold {region.threshold:.4g}{source}: {region.n_above} voxels above it, the largest connected part of "
        f"{region.n_voxels} is kept"
    )


def _write_pdb(structure: Structure, run: Run) -> None:
    """Write the same as PDB, which other programs for pseudoatoms read, where it fits."""
    try:
        write_structure(run.path(PDB_NAME), structure)
    except InputError as error:
        run.say(f"no {PDB_NAME}: {str(error).partition(': ')[2]}")


def _write_curve(curve: ShellCorrelation, run: Run) -> None:
    rows = zip(curve.frequency, curve.correlation, strict=True)
    lines = ["frequency_per_angst,correlation", *(f"{frequency:.6g},{value:.6f}" for frequency, value in rows)]
    atomic_text(run.path(FSC_NAME), "\n".join(lines) + "\n")


def _report(
    found: Pseudoatoms,
    structure: Structure,
    region: Region,
    curve: ShellCorrelation,
    source: Map,
    options: PseudoatomsOptions,
    run: Run,
) -> None:
    resolution = curve.resolution(MODEL)
    bound = " (Nyquist)" if not (curve.correlation < MODEL).any() else ""
    print(
        f"{len(found)} pseudoatoms of width {structure.sigma:.4g} Å ({found.sigma:g} voxels), "
        f"error {found.error:.2f} %, map-model FSC 0.5 at {resolution:.2f} Å{bound}"
    )
    if found.error > options.target_error:
        run.say(
            f"the target of {options.target_error:g} % is not reached: more pseudoatoms of this width do not help; "
            "give a smaller --radius-voxels or a higher --threshold"
        )
    run.result(
        n_pseudoatoms=len(found),
        sigma_angst=round(float(structure.sigma or 0.0), 6),
        error_percent=round(found.error, 4),
        target_reached=found.error <= options.target_error,
        threshold=float(f"{region.threshold:.6g}"),
        noise=None if region.noise is None else float(f"{region.noise:.6g}"),
        voxels_above=region.n_above,
        voxels=region.n_voxels,
        pixel_size_angst=round(source.pixel_size, 6),
        origin_angst=[round(float(value), 6) for value in source.origin],
        fsc_05_angst=round(resolution, 4),
        density_of_weight_1=float(f"{found.heights.max():.6g}"),
        history=[[count, round(error, 4)] for count, error in found.history],
    )
