"""The vision transformer."""

import pytest
import torch

from continuousflex_dl.core.nets.vit import Attention, VisionTransformer, VitShape

SHAPE = VitShape(patch=8, width=32, depth=2, heads=4, mlp=48)


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    words = torch.randn(1, 5, 8)
    query, key, value = attention.query_key_value(words)[0].chunk(3, -1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weight = torch.softmax(query[:, part] @ key[:, part].T / 2.0, -1)
        heads.append(weight @ value[:, part])
    assert torch.allclose(attention(words)[0], attention.out(torch.cat(heads, -1)), atol=1e-5)


@pytest.mark.parametrize("box", [32, 36, 30])
def test_any_box_gives_features(box):
    network = VisionTransformer(box, 2, SHAPE, known=9)
    assert network(torch.randn(3, 2, box, box), torch.randn(3, 9)).shape == (3, 32)


def test_an_image_is_seen_alone_and_by_where_its_patches_are():
    torch.manual_seed(0)
    network = VisionTransformer(32, 1, SHAPE).eval()
    images = torch.randn(4, 1, 32, 32)
    assert torch.allclose(network(images)[2], network(images[2:3])[0], atol=1e-5)
    swapped = torch.cat([images[..., 8:16], images[..., :8], images[..., 16:]], -1)
    assert not torch.allclose(network(images), network(swapped), atol=1e-3)


def test_the_thesis_shape_has_a_head_for_every_sixteen_numbers():
    shape = VitShape(patch=16, width=256, depth=6, heads=16, mlp=1024)
    network = VisionTransformer(64, 1, shape)
    assert len(network.blocks) == 6
    assert network.place.shape == (16, 256)
    with pytest.raises(ValueError, match="heads"):
        Attention(30, 16)
