"""The network, layer by layer, compared with the notebook's."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mnist_lightning import DigitCNN
from mnist_lightning.errors import InvalidArgumentError


def test_has_the_notebooks_parameters_all_trainable() -> None:
    shapes = {name: tuple(value.shape) for name, value in DigitCNN().named_parameters()}
    assert list(shapes.values()) == [
        (8, 1, 5, 5),
        (8,),
        (16, 8, 5, 5),
        (16,),
        (128, 256),
        (128,),
        (10, 128),
        (10,),
    ]
    parameters = list(DigitCNN().parameters())
    assert sum(parameter.numel() for parameter in parameters) == 37_610
    assert all(parameter.requires_grad for parameter in parameters)


def test_computes_the_notebooks_function() -> None:
    network = DigitCNN().eval()
    weights = dict(network.named_parameters())
    conv1, bias1, conv2, bias2, dense1, bias3, dense2, bias4 = weights.values()
    images = torch.rand(5, 1, 28, 28)

    # In the order of the notebook: convolution, ReLU, pooling.
    hidden = functional.max_pool2d(functional.conv2d(images, conv1, bias1).relu(), 2)
    assert hidden.shape == (5, 8, 12, 12)
    hidden = functional.max_pool2d(functional.conv2d(hidden, conv2, bias2).relu(), 2)
    assert hidden.shape == (5, 16, 4, 4)
    hidden = functional.linear(hidden.flatten(1), dense1, bias3).relu()
    expected = functional.linear(hidden, dense2, bias4)

    torch.testing.assert_close(network(images), expected)


def test_is_initialized_like_keras() -> None:
    for module in DigitCNN().modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            field = module.weight[0][0].numel()  # Glorot's bound counts the receptive field
            fan_in, fan_out = module.weight.shape[1] * field, module.weight.shape[0] * field
            bound = math.sqrt(6 / (fan_in + fan_out))
            largest = float(module.weight.detach().abs().max())
            assert 0.9 * bound < largest <= bound
            assert float(module.weight.detach().std()) == pytest.approx(
                bound / math.sqrt(3), rel=0.2
            )
            assert module.bias is not None
            assert not module.bias.any()


def test_drops_a_fifth_of_the_hidden_values_during_training() -> None:
    network = DigitCNN(dropout=0.2)
    seen: list[torch.Tensor] = []
    last = network.head[-1]
    last.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images = torch.rand(200, 1, 28, 28)
    network(images)
    network.eval()(images)
    trained, evaluated = seen
    alive = evaluated != 0
    assert float((trained[alive] == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    kept = alive & (trained != 0)
    torch.testing.assert_close(trained[kept], evaluated[kept] / 0.8)


def test_dropout_and_num_classes_are_arguments() -> None:
    network = DigitCNN(dropout=0.0, num_classes=26)
    images = torch.rand(3, 1, 28, 28)
    assert network(images).shape == (3, 26)
    torch.testing.assert_close(network(images), network.eval()(images))


def slightly_trained(network: DigitCNN) -> DigitCNN:
    """Changes all statistics and weights from their initial values."""
    for _ in range(20):
        network(torch.rand(32, 1, 28, 28) * 2)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


def test_batch_norm_adds_no_parameters_and_normalizes_hidden_values() -> None:
    network = DigitCNN(batch_norm=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == 37_610
    norms = [
        layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    seen: list[torch.Tensor] = []
    for norm in norms:
        norm.register_forward_hook(lambda _module, _args, output: seen.append(output))
    network(torch.rand(64, 1, 28, 28))
    assert [hidden.shape[1] for hidden in seen] == [8, 16, 128]
    for hidden in seen:
        values = hidden.transpose(0, 1).flatten(1)
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            values.var(1, correction=0), torch.ones(len(values)), rtol=0, atol=1e-2
        )
    for norm in norms:  # it replaces the bias of the layer before it
        assert norm.bias.requires_grad


@pytest.mark.parametrize("batch_norm", [True, False])
def test_folded_network_has_the_same_outputs_without_batch_norm(batch_norm: bool) -> None:
    network = slightly_trained(DigitCNN(0.4, num_classes=7, batch_norm=batch_norm))
    original = {name: value.clone() for name, value in network.state_dict().items()}
    plain = network.folded().eval()
    images = torch.rand(32, 1, 28, 28)
    torch.testing.assert_close(plain(images), network(images), rtol=0, atol=1e-4)
    assert plain(images).std() > 0.1
    expected = {name: value.shape for name, value in DigitCNN(num_classes=7).state_dict().items()}
    assert {name: value.shape for name, value in plain.state_dict().items()} == expected
    assert all(parameter.requires_grad for parameter in plain.parameters())
    (dropout,) = (layer for layer in plain.modules() if isinstance(layer, nn.Dropout))
    assert dropout.p == 0.4
    for name, value in network.state_dict().items():  # the original is unchanged
        torch.testing.assert_close(value, original[name])
    for parameter in plain.parameters():
        parameter.data.zero_()
    assert network(images).any()


@pytest.mark.parametrize(
    "shape", [(2, 1, 30, 30), (2, 1, 32, 32), (2, 3, 28, 28), (1, 28, 28), (28,)]
)
def test_rejects_images_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^images.shape is \(.*; DigitCNN accepts \(N, 1, 28"
    ):
        DigitCNN()(torch.zeros(shape))
