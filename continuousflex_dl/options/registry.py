"""The table of commands: name, option class and one-line summary. Torch-free and cheap to import."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from .base import Options


@dataclass(frozen=True)
class Command:
    """One ``cflex`` command.

    Attributes
    ----------
    name
        As typed: ``hemnma`` or, for nested ones, ``deephemnma train``.
    module
        Module name below both ``options`` and ``cli`` that declares and runs it.
    options_class
        Name of the option class in ``options.<module>``.
    summary
        One line for the list of commands.
    """

    name: str
    module: str
    options_class: str
    summary: str

    @property
    def options(self) -> type[Options]:
        """The option class (imported on demand)."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.options_class)


COMMANDS: tuple[Command, ...] = (
    Command("nma", "nma", "NmaOptions", "Normal modes of a structure (elastic network, rotation-translation blocks)."),
    Command("pseudoatoms", "pseudoatoms", "PseudoatomsOptions", "Pseudoatoms (Gaussians of one width) that stand for a map."),
    Command("simulate", "simulate", "SimulateOptions", "Particle images of known conformations, poses, CTF and noise."),
    Command("rank", "rank", "RankOptions", "Ranking of normal modes by what the particle images say of them."),
    Command("hemnma", "hemnma", "HemnmaOptions", "Elastic 3D-to-2D alignment of a reference to every particle image."),
    Command("deephemnma train", "deephemnma", "DeephemnmaTrainOptions", "Train a network that reads amplitudes and poses off particle images."),
    Command("deephemnma infer", "deephemnma", "DeephemnmaInferOptions", "Amplitudes and poses of particles by a trained network."),
    Command("cryovit train", "cryovit", "CryovitTrainOptions", "Learn from particle images how a structure moves, one structure per image."),
    Command("cryovit infer", "cryovit", "CryovitInferOptions", "Structures and refined poses of particles by a trained Cryo-ViT."),
    Command("space", "space", "SpaceOptions", "Conformational space of a particle set, with an HTML report."),
    Command("group", "group", "GroupOptions", "Groups of particles: subsets, centroid structures and maps."),
    Command("reconstruct", "reconstruct", "ReconstructOptions", "Map from particle images whose poses are known."),
    Command("export", "export", "ExportOptions", "Particles for RELION, Xmipp or cryoSPARC."),
    Command("fsc", "fsc", "FscOptions", "Fourier shell correlation of two maps, or of a map and a structure."),
    Command("fit", "fit", "FitOptions", "Rigid-body and elastic fit of a reference with normal modes to maps."),
    Command("plot", "plot", "PlotOptions", "Figure of the particles of a conformational space (SVG, PDF, PNG)."),
    Command("view", "view", "ViewOptions", "The web viewer of spaces, structures, maps and normal modes."),
    Command("evaluate", "evaluate", "EvaluateOptions", "Compare estimated poses and amplitudes with the truth."),
    Command("animate", "animate", "AnimateOptions", "Structures along a normal mode or along an axis of a conformational space."),
)


def command(name: str) -> Command:
    """Look a command up by its name.

    Raises
    ------
    KeyError
        If there is no such command.
    """
    for entry in COMMANDS:
        if entry.name == name:
            return entry
    raise KeyError(name)
