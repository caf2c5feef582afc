import builtins
import io

import pytest
import torch

from data.base.device import Compute, cpu_has_fast_bfloat16, resolve_compute
from data.base.errors import UsageError


@pytest.mark.parametrize(("flags", "fast"), [("fpu amx_bf16", True), ("fpu avx512_bf16", True), ("fpu avx2", False)])
def test_bfloat16_is_fast_where_the_processor_multiplies_it(monkeypatch, flags, fast):
    monkeypatch.setattr(builtins, "open", lambda *_, **__: io.StringIO(f"processor : 0\nflags : {flags}\n"))
    assert cpu_has_fast_bfloat16() is fast


def test_no_processor_information_means_no(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", missing)
    assert cpu_has_fast_bfloat16() is False


@pytest.mark.parametrize(("fast", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_follows_the_processor(monkeypatch, fast, precision):
    monkeypatch.setattr("data.base.device.cpu_has_fast_bfloat16", lambda: fast)
    assert resolve_compute(device="cpu", precision="auto") == Compute(device="cpu", precision=precision)


def test_a_missing_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        resolve_compute(device="cuda", precision="float32")


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast_multiplies_in_the_precision(precision, kind):
    with Compute(device="cpu", precision=precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind
