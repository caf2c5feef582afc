import sys

import pytest
import torch

from benchmarks.gpu import GPU_TESTS, cell_seconds, main
from data.base.files import write_json


def test_seconds_of_a_cell_are_those_of_its_stages(tmp_path):
    for name, seconds in (("generator", 3.5), ("samples", 1.25)):
        write_json(tmp_path / "stages" / f"{name}.json", {"cost": {"elapsed_seconds": seconds}})
    assert cell_seconds(tmp_path / "cell.json") == 4.75


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("path", GPU_TESTS)
def test_files_of_gpu_tests_are_there(path, pytestconfig):
    assert "needs a GPU" in (pytestconfig.rootpath / path).read_text()
