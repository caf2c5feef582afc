"""docs/your-classifier.md does what it says: its example pretrains, and its commands study the fine-tuned network."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from data.base.device import Compute
from data.base.files import read_json
from data.base.plugins import allow
from data.images import LabelledImages
from evaluation.classifiers import fit_classifier
from evaluation.config import BUILT_IN, ClassifierConfig
from evaluation.fitting import FitOptions
from evaluation.reporting.report import read_report
from evaluation.training_set import TrainingSet
from tests.flows.test_readme import ROOT, TINY, blocks, run_command, shell_lines

PAGE = (ROOT / "docs" / "your-classifier.md").read_text(encoding="utf-8")


@pytest.fixture
def workplace(own_code: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example, the page's TOML file, and 60 digits that the example is not pretrained on."""
    own_code("pretrained.py", (ROOT / "docs" / "examples" / "pretrained.py").read_text(encoding="utf-8"))
    own_code("own.toml", blocks(PAGE, "toml")[0])
    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target[:300] == label)[:20] for label in range(3)])
    for number in chosen:
        folder = Path("my-images") / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 255 / 16).astype("uint8")).save(folder / f"{number}.png")
    monkeypatch.setattr("sys.argv", ["pretrained.py", "20"])
    runpy.run_path("pretrained.py", run_name="__main__")
    return Path.cwd()


def test_commands_study_the_fine_tuned_network(
    workplace: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (line for line in shell_lines(PAGE) if "runs/fine-tuned" in line)
    run_command(f"{first} {TINY} --replicates 2 --runner sequential", monkeypatch)
    run_command(f"{second.replace('--replicates 10', '--replicates 4')} --runner sequential", monkeypatch)
    run = workplace / "runs" / "fine-tuned"
    assert read_report(run / "report.json").regimes[0].num_replicates == 4
    record = read_json(next(run.glob("cells/*/0/stages/arm real.json")))
    assert set(record["named_code"]) == {"pretrained:fine_tuned", "pretrained.safetensors"}


@pytest.mark.parametrize("frozen", [False, True])
def test_the_example_trains_its_body_unless_it_is_frozen(workplace: Path, frozen: bool) -> None:
    allow("pretrained:fine_tuned")
    rng = np.random.default_rng(0)
    images = LabelledImages(
        images=rng.integers(0, 256, (12, 3, 20, 20), dtype=np.uint8),
        labels=np.arange(12) % 3,
        rows=np.arange(12),
        class_names=("a", "b", "c"),
    )
    options = FitOptions(
        config=ClassifierConfig(
            kind="pretrained:fine_tuned",
            parameters={"weights": "pretrained.safetensors", "frozen": frozen},
            steps=3,
            batch_size=4,
        ),
        added_shares=(0.5, 0.5),
        seed=0,
        compute=Compute(device="cpu", precision="float32"),
        on_progress=lambda _: None,
    )
    fitted = fit_classifier(TrainingSet(base=images, added=None, policy=None), options)
    before, after = load_file("pretrained.safetensors"), fitted.trainee.network.network.body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) == frozen


def test_the_table_of_kinds_is_that_of_the_configuration() -> None:
    named = set(re.findall(r"`([a-z0-9_]+)`", "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))))
    assert set(BUILT_IN) <= named


def test_the_example_needs_nothing_of_this_program() -> None:
    source = (ROOT / "docs" / "examples" / "pretrained.py").read_text(encoding="utf-8")
    assert not re.search(r"^(from|import) (data|gan|evaluation|flows|augmentation_gain)\b", source, re.MULTILINE)
