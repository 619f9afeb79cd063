"""The same particles in two results: a selection in one is found again in the other."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..io.image_files import ImageLocations

Mask = NDArray[np.bool_]
_SECTIONS = 1 << 32  # more than any stack has


@dataclass(frozen=True, eq=False)
class Link:
    """Which particles of two results are the same image.

    Attributes
    ----------
    first, second
        (n,) and (m,) number of the image of each particle; the same image has the same number.
    count
        Different images.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    count: int

    @classmethod
    def between(cls, first: ImageLocations, second: ImageLocations) -> Link:
        """Match particles by stack and section.

        Stacks are the same where they are the same file. Where the two results have no file in common (one of them was
        copied from another computer), the same file name will do, if no other stack of its result has it.
        """
        names = [[os.path.realpath(stack) for stack in images.stacks] for images in (first, second)]
        if not set(names[0]) & set(names[1]):
            names = [_bare(stacks) for stacks in names]
        numbers = {name: number for number, name in enumerate(dict.fromkeys([*names[0], *names[1]]))}
        keys = [
            np.array([numbers[name] for name in stacks], dtype=np.int64)[images.stack_number] * _SECTIONS
            + images.stack_index
            for images, stacks in zip((first, second), names, strict=True)
        ]
        images, codes = np.unique(np.concatenate(keys), return_inverse=True)
        codes = codes.reshape(-1)
        return cls(codes[: len(keys[0])], codes[len(keys[0]) :], len(images))

    @property
    def turned(self) -> Link:
        """The same from the second result to the first."""
        return Link(self.second, self.first, self.count)

    def carried(self, mask: Mask) -> Mask:
        """Particles (m,) of the second result whose image is one of those selected (n,) in the first."""
        there = np.zeros(self.count, dtype=bool)
        there[self.first[mask]] = True
        return there[self.second]

    @cached_property
    def shared(self) -> int:
        """Particles of the second result that the first has too."""
        return int(np.count_nonzero(self.carried(np.ones(len(self.first), dtype=bool))))


def _bare(stacks: list[str]) -> list[str]:
    """File names of stacks; the whole path where several have the same."""
    count = Counter(os.path.basename(stack) for stack in stacks)
    return [os.path.basename(stack) if count[os.path.basename(stack)] == 1 else stack for stack in stacks]
