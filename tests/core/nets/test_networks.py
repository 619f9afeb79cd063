"""Networks: what turns with the image, what the published ones are made of."""

import pytest
import torch
from torch import nn

from continuousflex_dl.core.imaging.rotations import angle_between, random_rotations
from continuousflex_dl.core.nets.polar import CircularConvolution, PolarNetwork, matrix_from_columns
from continuousflex_dl.core.nets.published import SeparateNetworks
from continuousflex_dl.core.nets.resnet import ResNet


def polar(box=33, angles=32):
    torch.manual_seed(1)
    network = PolarNetwork(2, box, 14.0, radii=16, angles=angles, widths=(8, 16, 16, 32))
    for module in network.modules():  # normalisation that does something
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
    return network.eval()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_of_the_image_moves_the_answers_to_other_frames(quarters):
    """An untrained network does it already: the answers turn with the image, and only their order changes."""
    network, images = polar(), torch.randn(3, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = network(images), network(torch.rot90(images, -quarters, (-2, -1)))  # from x towards y
    turn = torch.linalg.matrix_power(torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), quarters)
    places = quarters * before.log_weight.shape[1] // 4
    torch.testing.assert_close(after.log_weight, before.log_weight.roll(places, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.amplitudes, before.amplitudes.roll(places, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.rotation, turn @ before.rotation.roll(places, 1), atol=1e-4, rtol=1e-4)
    shift = (turn[:2, :2] @ before.shift.roll(places, 1)[..., None]).squeeze(-1)
    torch.testing.assert_close(after.shift, shift, atol=1e-4, rtol=1e-4)


def test_answers_are_rotations_and_probabilities():
    network = polar()
    found = network(torch.randn(2, 1, 33, 33))
    assert found.rotation.shape == (2, 8, 3, 3)
    torch.testing.assert_close(found.rotation @ found.rotation.mT, torch.eye(3).expand(2, 8, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.log_weight.exp().sum(1), torch.ones(2))


def test_learning_errors_does_not_change_the_answers():
    network = polar().train()
    network(torch.randn(4, 1, 33, 33)).log_error.sum().backward()
    touched = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert touched == {"error"}


def test_padding_goes_around_the_circle():
    convolution = CircularConvolution(1, 1, 3)
    image = torch.randn(1, 1, 5, 8)
    torch.testing.assert_close(convolution(image.roll(3, -1)), convolution(image).roll(3, -1))


def test_two_columns_make_the_rotation_that_they_are_taken_from():
    rotation = random_rotations(20, torch.Generator().manual_seed(0)).float()
    columns = torch.cat([rotation[..., 0] * 3.0, rotation[..., 1] * 0.2 + rotation[..., 0]], -1)
    assert float(angle_between(matrix_from_columns(columns), rotation).max()) < 1e-3


def test_the_published_networks_are_three_resnet_34():
    networks = SeparateNetworks(3).networks
    assert list(networks) == ["amplitudes", "quaternion", "shift"]
    weights = [sum(value.numel() for value in network.parameters()) for network in networks.values()]
    assert all(22.3e6 < count < 22.5e6 for count in weights)  # ResNet-34 of one channel, 1000, 512, 128
    trunk, layers = networks["amplitudes"]
    assert sum(isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) for module in trunk.modules()) == 32
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Dropout"] * 3 + ["Linear"]
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.5] * 3
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [1000, 512, 128, 3]


def test_a_residual_network_takes_any_depth_and_box():
    network = ResNet((1, 1), (4, 8), pool=False)
    assert network(torch.randn(2, 1, 20, 20)).shape == (2, network.n_features) == (2, 8)
