"""What keeps structures sane: lengths of the backbone and no clashes, as costs and as figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

CLASH_ANGST = 4.0  # nodes that are not neighbours along the chain clash when they are nearer (Cα to Cα)
MARGIN_ANGST = 0.2  # above the clash distance, from which on nearness costs
SKIN_ANGST = 2.0  # pairs that are farther apart than a clash by more than this are not looked at
LISTED = 4  # structures of a batch that the list of neighbours is made from
BACKBONE_ANGST = 3.8  # distance of neighbouring Cα
TOLERANCE_ANGST = 0.4
SLACK_ANGST = 0.2  # by which a distance along the chain may differ from that in the reference at no cost
SMOOTH_ANGST = 0.1  # beyond the slack and this, the cost of a short distance grows in proportion, of a long one less
STRETCH = 0.075  # Å times nats, over `bond_scale`: cost of a bond that is too long by 0.13 Å beyond the slack
# The same from a share of the training on. First nothing, so that what the data stretch is found while soft motions
# are; then more than in the end, so that bonds which the decoder has stretched for no reason come back.
STRETCH_STAGES = ((0.0, 0.0), (0.42, 0.3), (0.6, STRETCH))


class StructureTerms(nn.Module):
    """Costs of bonds and clashes.

    Parameters
    ----------
    nodes
        (N, 3) reference, Å.
    chain
        (M, 2) neighbours along chains; their distances in the reference are the ones wanted.
    bond_scale
        By how much more than `SLACK_ANGST` a distance along the chain falls short of its length at a cost of one nat,
        Å; 0 for no restraint. What is too short costs in proportion. What is too long costs as the logarithm: small
        stretches never pay, and what images insist on is not forbidden.
    clash_std
        By how much less than the clash distance (or that of the reference, where it is smaller) a pair may come, Å; 0
        for no such cost.
    soft
        Displacements are soft motions at first (see `STRETCH_STAGES`); otherwise stretches cost from the start.
    """

    nodes: Tensor
    chain: Tensor
    bond_length: Tensor

    def __init__(
        self, nodes: np.ndarray, chain: np.ndarray, bond_scale: float, clash_std: float, *, soft: bool = True
    ) -> None:
        super().__init__()
        self.bond_scale, self.clash_std = bond_scale, clash_std
        self.stages = STRETCH_STAGES if soft else ((0.0, STRETCH_STAGES[1][1]), STRETCH_STAGES[2])
        self.stretch = STRETCH
        values = {
            "nodes": torch.as_tensor(nodes, dtype=torch.float32),
            "chain": torch.as_tensor(chain, dtype=torch.long),
            "bond_length": torch.as_tensor(
                np.linalg.norm(nodes[chain[:, 0]] - nodes[chain[:, 1]], axis=1), dtype=torch.float32
            ),
        }
        for name, value in values.items():
            self.register_buffer(name, value)

    def forward(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Costs (b,) of bonds and of clashes, in nats, for displacements (b, N, 3) of the nodes."""
        places = self.nodes + displacement
        none = places.new_zeros(len(places))
        bonds, clashes = none, none
        if self.bond_scale and len(self.chain):
            off = _distance(places, self.chain) - self.bond_length
            short, long = ((sign * off - SLACK_ANGST).clamp(min=0) for sign in (-1, 1))
            costs = functional.huber_loss(short, torch.zeros_like(short), reduction="none", delta=SMOOTH_ANGST)
            stretch = self.stretch if self.training else STRETCH  # judged alike at all times
            costs = costs / SMOOTH_ANGST + stretch * torch.log1p((long / SMOOTH_ANGST) ** 2)
            bonds = costs.sum(-1) / self.bond_scale
        if self.clash_std and len(pairs := self._neighbours(places.detach())):
            least = _distance(self.nodes[None], pairs).clamp(max=CLASH_ANGST + MARGIN_ANGST)
            short = (least - _distance(places, pairs)).clamp(min=0)
            clashes = 0.5 * ((short / self.clash_std) ** 2).sum(-1)
        return bonds, clashes

    def go_on(self, done: float) -> None:
        """Take the cost of stretches that belongs to this share of a training."""
        self.stretch = [cost for start, cost in self.stages if done >= start][-1]

    def _neighbours(self, places: Tensor) -> Tensor:
        """Pairs (P, 2) of nodes that are close in some of these structures, however far apart in the reference."""
        chain = self.chain.cpu().numpy()
        some = places[:: max(1, len(places) // LISTED)].double().cpu().numpy()
        found = [near_pairs(one, chain, CLASH_ANGST + SKIN_ANGST) for one in some if np.isfinite(one).all()]
        pairs = np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), dtype=np.int64)
        return torch.as_tensor(pairs, device=places.device)


def near_pairs(nodes: np.ndarray, chain: np.ndarray, reach: float) -> np.ndarray:
    """Pairs (P, 2) of nodes within reach of each other (Å) that are not neighbours along a chain."""
    pairs = cKDTree(nodes).query_pairs(reach, output_type="ndarray").reshape(-1, 2)
    count = len(nodes)
    joined = np.isin(pairs[:, 0] * count + pairs[:, 1], chain[:, 0] * count + chain[:, 1])
    kept = pairs[~joined]
    return kept[np.lexsort((kept[:, 1], kept[:, 0]))].astype(np.int64)


@dataclass(frozen=True)
class Sanity:
    """How protein-like structures are.

    Attributes
    ----------
    backbone
        Share of distances along the chain within `TOLERANCE_ANGST` of `BACKBONE_ANGST`; NaN without chains.
    bond_deviation
        Root mean square difference of these distances from those in the reference, Å.
    clashes
        Mean number of clashes per structure.
    reference_backbone, reference_clashes
        Of the reference.
    """

    backbone: float
    bond_deviation: float
    clashes: float
    reference_backbone: float
    reference_clashes: float


def sanity(structures: np.ndarray, nodes: np.ndarray, chain: np.ndarray) -> Sanity:
    """Measure structures (n, N, 3) against the reference (N, 3), all in Å."""
    wanted = np.linalg.norm(nodes[chain[:, 0]] - nodes[chain[:, 1]], axis=-1)
    found = np.linalg.norm(structures[:, chain[:, 0]] - structures[:, chain[:, 1]], axis=-1)
    return Sanity(
        backbone=_share(found),
        bond_deviation=float(np.sqrt(np.mean((found - wanted) ** 2))) if found.size else float("nan"),
        clashes=float(np.mean([count_clashes(one, chain) for one in structures])),
        reference_backbone=_share(wanted),
        reference_clashes=float(count_clashes(nodes, chain)),
    )


def count_clashes(places: np.ndarray, chain: np.ndarray) -> int:
    """Pairs of nodes (N, 3) nearer than `CLASH_ANGST` that are not neighbours along a chain."""
    return len(near_pairs(np.asarray(places, dtype=np.float64), chain, CLASH_ANGST))


def _share(distance: np.ndarray) -> float:
    return float(np.mean(np.abs(distance - BACKBONE_ANGST) <= TOLERANCE_ANGST)) if distance.size else float("nan")


def _distance(places: Tensor, pairs: Tensor) -> Tensor:
    apart = places[:, pairs[:, 0]] - places[:, pairs[:, 1]]
    return torch.sqrt((apart**2).sum(-1) + 1e-8)
