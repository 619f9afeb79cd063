"""Vision transformer (Dosovitskiy et al., ICLR 2021): square patches of an image as words of a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """Size of a vision transformer.

    Attributes
    ----------
    patch
        Edge of a patch, px; the image is padded with zeros to a multiple of it.
    width
        Numbers per patch; a multiple of `heads`.
    depth
        Transformer blocks.
    heads
        Of the attention.
    mlp
        Width of the hidden layer of each block.
    """

    patch: int = 16
    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp: int = 256


class Attention(nn.Module):
    """Self-attention with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be shared among {heads} heads")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, words: Tensor) -> Tensor:
        """Words (b, t, width) to words of the same shape."""
        b, t, width = words.shape
        together = self.query_key_value(words).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if words.device.type == "cpu":  # the fused kernel takes twice as long for the few words of an image
            with sdpa_kernel(SDPBackend.MATH):
                mixed = functional.scaled_dot_product_attention(*together.float())
        else:
            mixed = functional.scaled_dot_product_attention(*together)  # (b, heads, t, width / heads)
        return self.out(mixed.transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    """Attention, then two layers on every word by itself; each normalised before and added to what came in."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attention = Attention(shape.width, shape.heads)
        self.mlp = nn.Sequential(nn.Linear(shape.width, shape.mlp), nn.GELU(), nn.Linear(shape.mlp, shape.width))

    def forward(self, words: Tensor) -> Tensor:
        """Words (b, t, width) to words of the same shape."""
        words = words + self.attention(self.before_attention(words))
        return words + self.mlp(self.before_mlp(words))


class VisionTransformer(nn.Module):
    """Features of images.

    Parameters
    ----------
    box
        Edge of the images, px.
    channels
        Of the images.
    shape
        Size of the network.
    known
        Number of values that are known of every image beside its pixels; they enter as one more word. 0 for none.
    """

    def __init__(self, box: int, channels: int, shape: VitShape, known: int = 0) -> None:
        super().__init__()
        side = math.ceil(box / shape.patch)
        self.padding = side * shape.patch - box
        self.patches = nn.Conv2d(channels, shape.width, shape.patch, stride=shape.patch)
        self.known = nn.Linear(known, shape.width) if known else None
        self.place = nn.Parameter(torch.empty(side**2 + bool(known), shape.width))
        nn.init.trunc_normal_(self.place, std=0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, images: Tensor, known: Tensor | None = None) -> Tensor:
        """Features (b, width) of images (b, channels, box, box) and what is known of them (b, known)."""
        padded = functional.pad(images, (0, self.padding, 0, self.padding))
        words = self.patches(padded).flatten(2).transpose(1, 2)
        if self.known is not None:
            if known is None:
                raise ValueError("this network needs to be told what is known of the images")
            words = torch.cat([self.known(known)[:, None], words], 1)
        words = words + self.place
        for block in self.blocks:
            words = block(words)
        features: Tensor = self.norm(words).mean(1)
        return features
