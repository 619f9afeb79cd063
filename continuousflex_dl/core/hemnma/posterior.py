"""The answer for each image from all its hypotheses: where the probability lies, its mean, its spread."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import roma
import torch
from torch import Tensor

from ..imaging.rotations import angle_between
from .refine import Hypotheses

NEAR_DEG = 10.0  # poses within this angle of each other are taken as the same answer
REGION_DEG = 20.0  # hypotheses this near to the best one are parts of one region, whose mean is the answer


@dataclass(frozen=True)
class Posterior:
    """Answer for each of B images.

    Attributes
    ----------
    best
        The most probable hypothesis in the region that holds most of the probability.
    offset
        (B, 5 + M) from the best hypothesis to the mean of the region: rotation vector (rad), shift (px), amplitudes.
    spread
        (B, 5 + M, 5 + M) covariance of the hypotheses of the region about their mean.
    alone
        (B,) weight of the best hypothesis in its region: 1 where there is one maximum only.
    share
        (B,) probability that lies within `NEAR_DEG` of the mean, the width of each hypothesis left aside.
    """

    best: Hypotheses
    offset: Tensor
    spread: Tensor
    alone: Tensor
    share: Tensor

    def revised(self, index: Tensor, other: Posterior) -> Posterior:
        """With the answers of another one for some of the images, whose positions are given."""
        every = torch.arange(len(self.share), device=index.device)
        kept = self.best.take(every[~torch.isin(every, index)])
        best = Hypotheses.join([kept, replace(other.best, image=index[other.best.image])])
        new = {
            name: getattr(self, name).index_copy(0, index, getattr(other, name))
            for name in ("offset", "spread", "alone", "share")
        }
        return Posterior(best.take(torch.argsort(best.image)), **new)

    def mean(self) -> Hypotheses:
        """The best hypothesis moved to the mean of the region."""
        return self.best.moved(self.offset)


def only(h: Hypotheses) -> Posterior:
    """Of one hypothesis (h,) of each image, all that is considered."""
    parameters = 5 + h.amplitudes.shape[1]
    like = h.rotation.new_zeros(len(h), parameters, dtype=torch.float64)
    one = torch.ones(len(h), dtype=torch.float64, device=like.device)
    return Posterior(h, like, torch.diag_embed(like), one, one)


def summarise(finalists: Hypotheses, rivals: Hypotheses, entered: Hypotheses, images: int) -> Posterior:
    """Weigh the hypotheses of each image by their evidence.

    A faint particle has several maxima of the likelihood near each other that explain it almost equally well; the mean
    over them is nearer to the truth on average than the highest of them, and their distances belong to its error.

    Parameters
    ----------
    finalists
        Distinct hypotheses at full resolution; each image has one at least.
    rivals
        All distinct ones of the stage before.
    entered
        Those of `rivals` that became `finalists`; what these gained on the way counts for the other rivals too.
    images
        Number of images B.
    """
    order = torch.argsort(finalists.image, stable=True)
    f = finalists.take(order)
    table = _table(f.image, images)
    there = table >= 0
    weight = torch.softmax(torch.where(there, f.evidence.double()[table], -math.inf), 1)  # (B, H)
    rotation = f.rotation[table]
    region = angle_between(rotation[:, :, None], rotation[:, None]) < math.radians(REGION_DEG)  # (B, H, H)
    region = region & there[:, None, :]
    mass = (region * weight[:, None, :]).sum(-1)
    # within the region with most of the probability, its most probable member
    seed = torch.where(there, mass, -1.0).argmax(1)
    every = torch.arange(images, device=seed.device)
    lead = (weight * region[every, seed]).argmax(1)
    best = f.take(table[every, lead])
    member = region[every, lead] & there
    inside = weight * member
    inside = inside / inside.sum(1, keepdim=True)
    relative = roma.rotmat_to_rotvec(rotation.double() @ best.rotation.double().transpose(-1, -2)[:, None])
    apart = torch.cat(
        [
            relative,
            (f.shift_px[table] - best.shift_px[:, None]).double(),
            (f.amplitudes[table] - best.amplitudes[:, None]).double(),
        ],
        -1,
    )
    offset = (inside[..., None] * apart).sum(1)
    apart = apart - offset[:, None]
    spread = (inside[..., None] * apart).transpose(-1, -2) @ apart
    alone = inside[every, lead]
    answer = Posterior(best, offset, spread, alone, torch.ones_like(alone))
    return replace(answer, share=_share(answer.mean(), f, rivals, entered))


def _share(answer: Hypotheses, finalists: Hypotheses, rivals: Hypotheses, entered: Hypotheses) -> Tensor:
    images = len(answer)

    def total(h: Hypotheses, keep: Tensor) -> Tensor:  # logarithm of the sum of the evidence by image
        evidence = torch.where(keep, h.evidence.double(), -math.inf)
        top = torch.full((images,), -1e300, dtype=torch.float64, device=evidence.device)
        top = top.scatter_reduce(0, h.image, evidence, "amax")
        return top + torch.log(torch.zeros_like(top).index_add_(0, h.image, torch.exp(evidence - top[h.image])))

    def near(h: Hypotheses) -> Tensor:
        return angle_between(h.rotation, answer.rotation[h.image]) < math.radians(NEAR_DEG)

    gained = total(finalists, finalists.cost < math.inf) - total(entered, entered.cost < math.inf)
    # a rival that was refined further counts with what became of it
    key, known = (h.image.double() * 1e9 + h.cost.double() for h in (rivals, entered))
    left = ~torch.isin(key, known)
    far = torch.logaddexp(total(finalists, ~near(finalists)), total(rivals, left & ~near(rivals)) + gained)
    close = torch.logaddexp(total(finalists, near(finalists)), total(rivals, left & near(rivals)) + gained)
    return torch.sigmoid(close - far).nan_to_num(1.0)


def _table(image: Tensor, images: int) -> Tensor:
    """Positions (B, H) of the hypotheses of each image in a list sorted by image, -1 where there are no more."""
    count = torch.bincount(image, minlength=images)
    first = torch.cumsum(count, 0) - count
    rank = torch.arange(len(image), device=image.device) - first[image]
    table = torch.full((images, int(count.max())), -1, dtype=torch.long, device=image.device)
    table[image, rank] = torch.arange(len(image), device=image.device)
    return table
