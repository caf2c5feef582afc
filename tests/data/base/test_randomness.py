import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.base.randomness import child_seed, numpy_stream, torch_stream


@given(st.integers(0, 2**63), st.text(max_size=20))
def test_seeds_fit_63_bits_and_repeat(root, name):
    seed = child_seed(root, name)
    assert 0 <= seed < 2**63
    assert child_seed(root, name) == seed


def test_seeds_stay_what_they_were():
    """Published runs name these streams: a change here makes all of them irreproducible."""
    assert child_seed(0, "split", "balanced-10", 0) == 2858922185572120378


def test_names_and_roots_make_different_streams():
    seeds = {child_seed(root, name, number) for root in range(3) for name in ("a", "b") for number in range(3)}
    assert len(seeds) == 18


def test_streams_leave_the_global_generators_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    torch_stream(0, "x").seed()
    numpy_stream(0, "x").random(5)
    torch.rand(5, generator=torch_stream(0, "x"))
    first = (torch.rand(1).item(), np.random.random())
    torch.manual_seed(1)
    np.random.seed(1)
    assert first == (torch.rand(1).item(), np.random.random())


def test_streams_of_one_name_are_equal():
    assert torch.equal(torch.rand(4, generator=torch_stream(3, "a")), torch.rand(4, generator=torch_stream(3, "a")))
    assert np.array_equal(numpy_stream(3, "a").random(4), numpy_stream(3, "a").random(4))
