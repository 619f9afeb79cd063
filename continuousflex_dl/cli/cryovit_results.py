"""What ``cflex cryovit train`` and ``cflex cryovit infer`` share: fitting particles and writing what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..core.io.atomic import atomic_text
from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.io.conformations import CONFORMATIONS_NAME, write_conformations
from ..core.io.particle_table import ParticleTable
from ..core.io.particles import write_star_parts
from .run import Run

if TYPE_CHECKING:
    from ..core.cryovit.direct import DirectVit
    from ..core.cryovit.images import ParticleImages
    from ..core.cryovit.model import CryoVit

_HARMLESS = {"output", "threads", "resume", "overwrite", "verbose", "debug", "device"}
_PORTION = 1 << 12
_CENSUS = 2000  # particles whose latents and structures are judged


def without_results(table: ParticleTable) -> ParticleTable:
    """The particles without what has been estimated of their conformations: nothing to learn from by accident."""
    labels = [label for label in table.particles.labels if label.lower().startswith("cflex")]
    return ParticleTable(table.source, table.particles.without(labels), table.optics, table.locations)


def fit_block(
    model: CryoVit | DirectVit, images: ParticleImages, first: int, last: int, schedule: Any, *, encode: bool = True
) -> Arrays:
    """Structures and poses of the particles of a block, as arrays by name."""
    from ..core.cryovit.direct import DirectVit, predict
    from ..core.cryovit.fitting import fit

    rows = np.arange(first, last)
    found = (
        predict(model, images, rows)
        if isinstance(model, DirectVit)
        else fit(model, images, rows, schedule, encode=encode)
    )
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def fingerprint_of(options: Any, files: list[Path]) -> dict[str, Any]:
    """Everything that decides the result: options, and the content of small files."""
    values = {key: value for key, value in options.model_dump(mode="json").items() if key not in _HARMLESS}
    return {**values, **{path.name: path.read_text(encoding="utf-8") for path in files}, "cflex": __version__}


def write_results(
    run: Run, store: BlockStore, table: ParticleTable, model: CryoVit | DirectVit, centre: NDArray[np.float64]
) -> dict[str, Any]:
    """Write particles and conformations; figures about both."""
    from ..core.cryovit.diagnostics import latent_dependence
    from ..core.cryovit.structure_terms import sanity

    scores, some = [], []
    every = max(1, len(table) // _CENSUS)
    with run.stage("write"):
        write_conformations(
            run.path(CONFORMATIONS_NAME),
            ((found["coordinates"] + centre, found["latent"]) for _, _, found in store.portions(_PORTION)),
            len(table),
            model.projector.node_rows.cpu().numpy(),
        )

        def parts() -> Iterator[ParticleTable]:
            for first, last, found in store.portions(_PORTION):
                scores.append(found["score"])
                keep = np.arange(first, last) % every == 0
                some.append({name: values[keep] for name, values in found.items()})
                posed = table.rows(first, last).with_poses(found["euler_deg"], found["shift_angst"])
                yield posed.with_results(score=found["score"])

        write_star_parts(run.path("particles.star"), parts())
        judged = {name: np.concatenate([part[name] for part in some]) for name in some[0]}
        ctf = table.ctf
        defocus = None if ctf is None else 0.5 * (ctf.defocus_u_angst + ctf.defocus_v_angst)[::every]
        dependence = latent_dependence(judged["latent"], judged["euler_deg"], defocus)
        nodes, chain = model.terms.nodes.cpu().double().numpy(), model.terms.chain.cpu().numpy()
        physics = {
            name: round(value, 4)
            for name, value in asdict(sanity(judged["coordinates"], nodes, chain)).items()
            if np.isfinite(value)
        }
        moved = judged["coordinates"] - judged["coordinates"].mean(0)
        figures = {
            "particles": len(table),
            "median_score": round(float(np.median(np.concatenate(scores))), 4),
            "rmsd_from_mean_angst": round(float(np.sqrt((moved**2).sum(-1).mean())), 3),
            "sigma_angst": round(float(model.projector.sigma.detach()), 3),
            "latent_correlation": dependence,
            "structures": physics,
        }
        text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
        atomic_text(run.path("diagnostics.json"), text)
    run.when_recorded(store.remove)
    return figures


def say_figures(figures: dict[str, Any]) -> None:
    """Print what came out."""
    physics, dependence = figures["structures"], figures["latent_correlation"]
    print(
        f"{figures['particles']} particles, median score {figures['median_score']}, structures "
        f"{figures['rmsd_from_mean_angst']} Å (RMSD) from their mean"
    )
    if "backbone" in physics:
        print(
            f"neighbouring nodes within 0.4 Å of 3.8 Å: {100 * physics['backbone']:.1f} % (reference "
            f"{100 * physics['reference_backbone']:.1f} %); clashes per structure {physics['clashes']:.2f} (reference "
            f"{physics['reference_clashes']:.0f})"
        )
    for name, values in dependence.items():
        print(f"correlation of the latent with {name} (0 is good): {', '.join(f'{value:.2f}' for value in values)}")
