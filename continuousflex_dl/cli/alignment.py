"""HEMNMA of a particle set as the options of a command ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.dynamics.modes import NormalModes
from ..core.io.particle_table import ParticleTable
from ..core.particles.stack import ImageStack
from ..options.hemnma import HemnmaOptions
from ..options.rank import RankOptions

if TYPE_CHECKING:
    import torch

    from ..core.hemnma.pipeline import Hemnma

# option -> field of `core.hemnma.align.Settings`; a command that lacks the option takes what is set there
_SETTINGS = {
    "angular_step": "angular_step",
    "hypotheses": "hypotheses",
    "max_resolution": "max_resolution",
    "symmetry": "symmetry",
    "local_range": "local_range_deg",
    "local_shift": "local_shift_px",
}


def largest_shift_px(asked: float | None, stack: ImageStack) -> float:
    """Largest shift along each axis: what ``--max-shift-px`` says, or an eighth of the box."""
    return stack.box / 8 if asked is None else asked


def hemnma_of(
    options: HemnmaOptions | RankOptions,
    table: ParticleTable,
    stack: ImageStack,
    modes: NormalModes,
    all_modes: NormalModes,
    device: torch.device,
    threads: int,
) -> Hemnma:
    """Set up an alignment, not calibrated yet.

    Parameters
    ----------
    options
        Of the command.
    table, stack
        Particles and their images.
    modes, all_modes
        The modes to use, and all of their file: of the others the stiffest show how large the model error is.
    device
        Where to compute.
    threads
        That compute the templates side by side.
    """
    from ..core.hemnma.align import Settings
    from ..core.hemnma.pipeline import PROBES, Hemnma
    from ..core.precision import product_dtype

    memory_mb = getattr(options, "memory_mb", None)
    settings = Settings(
        **{field: getattr(options, name) for name, field in _SETTINGS.items() if hasattr(options, name)},
        max_shift_px=largest_shift_px(options.max_shift_px, stack),
        dtype=product_dtype(device, getattr(options, "precision", "auto")),
        memory_bytes=None if memory_mb is None else memory_mb << 20,
        threads=threads,
    )
    others = [int(number) for number in all_modes.indices if number not in modes.indices]
    return Hemnma(
        table,
        stack,
        modes,
        settings,
        probes=all_modes.select(others[-PROBES:]) if others else None,
        search_rmsd=options.search_rmsd,
        ctf_choice=options.ctf,
        initial_poses=options.initial_poses,
        invert_contrast=options.invert_contrast,
        device=device,
    )
