"""One result as the viewer holds it: a conformational space with its particles, or normal modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.dynamics.modes import NormalModes
from ..core.errors import InputError
from ..core.space.decode import Decoder
from ..core.space.landscape import Landscape
from ..core.space.places import structure_with
from ..core.space.recipe import Recipe
from ..core.space.result import Space
from ..core.structure.atoms import Structure
from .columns import ParticleColumns

Floats = NDArray[np.float64]
Kind = Literal["space", "modes"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a column of the page shows.

    Attributes
    ----------
    name
        Shown to the user.
    path
        Directory that commands are given: that of `cflex space`, or of `cflex nma`.
    source
        Directory that was opened: another one where the space had to be made first.
    workspace
        Where selections, and what is made from them, are kept.
    space, decoder, landscape
        Of a space; None for modes alone, or where there is none.
    particles
        Particle file.
    datadir
        Folder below which images that are not found elsewhere are looked up.
    modes, structure
        Of modes alone; None for a space.
    structure_file
        File of the structure where the user named one, which commands are then given too.
    """

    name: str
    path: Path
    source: Path
    workspace: Path
    space: Space | None = None
    decoder: Decoder | None = None
    landscape: Landscape | None = None
    particles: Path | None = None
    datadir: str | None = None
    modes: NormalModes | None = None
    structure: Structure | None = None
    structure_file: str | None = None
    _last: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """``space`` or ``modes``."""
        return "modes" if self.space is None else "space"

    @property
    def need_space(self) -> Space:
        """The space.

        Raises
        ------
        InputError
            If these are modes alone.
        """
        if self.space is None:
            raise InputError(f"{self.path}: has normal modes and no particles; open the result of a method")
        return self.space

    @property
    def need_decoder(self) -> Decoder:
        """What makes structures of places.

        Raises
        ------
        InputError
            If there is nothing to make them from.
        """
        if self.decoder is None:
            raise InputError(
                f"{self.path}: has neither modes nor coordinates with their structure; make the space again with "
                "--modes or --structure"
            )
        return self.decoder

    @property
    def atoms(self) -> Structure | None:
        """Atoms of the structures."""
        return self.structure if self.decoder is None else self.decoder.structure

    @property
    def normal_modes(self) -> NormalModes | None:
        """Modes whose amplitudes bend the structure."""
        return self.modes if self.decoder is None else self.decoder.modes

    @cached_property
    def columns(self) -> ParticleColumns:
        """Columns of the particles."""
        return ParticleColumns(self.need_space, self.particles)

    @property
    def count(self) -> int:
        """Number of particles."""
        return 0 if self.space is None else len(self.space.coordinates)

    def selected(self, recipe: Recipe, *, unconverged: bool = False) -> NDArray[np.bool_]:
        """Which particles (n,) a recipe selects; as in ``cflex group``, those that had a say in the space only."""
        key = (recipe, unconverged)
        before, mask = self._last.get("selected", (None, None))
        if before != key:  # one lasso asks for its particles several times
            mask = recipe.mask(self.columns, self.count)
            mask = mask if unconverged else mask & self.need_space.converged
            self._last["selected"] = (key, mask)
        return mask

    def structure_at(self, values: Mapping[str, float]) -> Floats:
        """Structure (N, 3) in Å at a place; in columns other than the axes, the mean of the nearest particles."""
        return structure_with(self.need_decoder, self.columns, values)

    def structure_of(self, amplitudes: Mapping[int, float]) -> Floats:
        """Structure (N, 3) in Å of amplitudes in Å by mode number; 0 for the modes that are not given.

        Raises
        ------
        InputError
            If there is no such mode, or there are no modes.
        """
        modes = self.normal_modes
        if modes is None:
            raise InputError(f"{self.path}: has no normal modes; its structures follow the axes of the space")
        chosen = modes.select(sorted(amplitudes))
        return chosen.displace(np.array([[amplitudes[number] for number in sorted(amplitudes)]]))[0]
