import json

import pytest
import typer
from typer.testing import CliRunner

from flows.commands.verify import verify

app = typer.Typer()
app.command()(verify)


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "provenance.json").write_text(json.dumps({"files": {}, "num_images": 0, "generator": "0" * 64}))
    return tmp_path


def test_whole_data_set_exits_with_0_and_a_line_per_link(dataset):
    result = CliRunner().invoke(app, [str(dataset)])
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "✓ data set's files"
    assert result.output.splitlines()[-1] == "2 links hold, 0 do not, 1 cannot be told here"


def test_broken_link_exits_with_1_and_says_why(dataset):
    (dataset / "provenance.json").write_text(json.dumps({"files": {"data/a.parquet": "0" * 64}, "num_images": 0}))
    result = CliRunner().invoke(app, [str(dataset), "--quiet"])
    assert result.exit_code == 1
    assert "✗ data set's files: data/a.parquet differs: recorded 000000000000…, found missing" in result.output
