import pytest
import torch
from torch import nn

from data.base.modes import as_in_prediction


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5)).train()


def modes(network):
    return [module.training for module in network.modules()]


def test_a_network_in_training_answers_as_in_prediction(network):
    batch = torch.randn(8, 1, 2, 2) + 3
    with as_in_prediction(network):
        together, alone = network(batch), network(batch[:1])
    assert torch.equal(together[:1], alone)


def test_modes_are_afterwards_what_they_were(network):
    network[0].eval()  # as somebody's own network freezes a part of itself
    before = modes(network)
    with as_in_prediction(network):
        assert not any(modes(network))
    assert modes(network) == before


def test_a_scripted_network_is_no_obstacle():
    scripted = torch.jit.script(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten()))
    batch = torch.randn(2, 1, 2, 2) + 3
    with as_in_prediction(scripted):
        assert torch.equal(scripted(batch)[:1], scripted(batch[:1]))
