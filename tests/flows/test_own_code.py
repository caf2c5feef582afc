"""Code of the user's own in a study: it runs where the user named it, and never because a run names it."""

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.base.errors import UsageError
from data.base.files import read_json, write_json
from data.base.plugins import ALLOWED, Allowance, allow, allowance
from evaluation.config import ClassifierConfig
from flows import augmentation_study as flow
from flows import cli
from flows.commands.allowing import allow_code, resume_command
from flows.study.config import StudyConfig, resolve_config, to_toml
from flows.study.running import OpenStudy, opened_study, run_study
from flows.study.store import store_of
from flows.study.verification import verify

NETWORK = """
from torch import nn

def make(channels, classes, image_size):
    height, width = image_size
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 16), nn.ReLU(), nn.Linear(16, classes))
"""
TRAP = "open('loaded', 'w').close()\n" + NETWORK
REFERENCE = "own_network:make"
Write = Callable[[str, str], Path]


def forget_module() -> None:
    """Forget the module, as a new process would."""
    sys.modules.pop("own_network", None)


@pytest.fixture
def own_study(tiny: StudyConfig, own_code: Write) -> StudyConfig:
    """The tiny study with the user's own network."""
    own_code("own_network.py", NETWORK)
    classifier = ClassifierConfig(kind=REFERENCE, steps=20)
    return tiny.model_copy(
        update={"replicates": 1, "evaluation": tiny.evaluation.model_copy(update={"classifier": classifier})}
    )


@pytest.fixture
def own_run(own_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of that study; what was allowed for it is allowed no longer."""
    allow(REFERENCE)
    run_study(own_study, tmp_path / "run")
    monkeypatch.delenv(ALLOWED)
    forget_module()
    return tmp_path / "run"


def records(run: Path) -> dict[str, dict[str, object]]:
    return {file.stem: read_json(file) for file in sorted(run.glob("cells/*/0/stages/*.json"))}


def test_a_study_with_own_network_reports_and_keeps_the_digest_of_its_source(own_run: Path) -> None:
    assert (own_run / "report.json").exists()
    made = records(own_run)
    assert {name for name, record in made.items() if "named_code" in record} == {
        name for name in made if name not in ("subset", "generator", "synthetic", "samples")
    }
    assert list(made["arm real"]["named_code"]) == [REFERENCE]
    digest = made["arm real"]["named_code"][REFERENCE]
    assert read_json(next(own_run.glob("cells/*/0/cell.json")))["named_code"] == {REFERENCE: digest}
    assert digest in (own_run / "report.html").read_text()
    assert not [link for link in verify(own_run) if link.holds is False]


def test_a_digest_of_the_source_that_was_edited_breaks_a_link(own_run: Path) -> None:
    file = next(own_run.glob("cells/*/0/stages/arm real.json"))
    record = read_json(file)
    record["named_code"][REFERENCE] = "0" * 64
    write_json(file, record)
    assert [link for link in verify(own_run) if link.holds is False]


def test_a_run_alone_does_not_make_its_code_run(own_run: Path, own_study: StudyConfig, own_code: Write) -> None:
    own_code("own_network.py", TRAP)
    with pytest.raises(UsageError, match=f"--allow {REFERENCE}"):
        run_study(own_study, own_run)
    list(verify(own_run))
    assert not Path("loaded").exists()


def state_of(study: StudyConfig, run: Path, check: Callable[[OpenStudy], object]) -> object:
    with opened_study(store_of(run), study) as opened:
        return check(opened)


def test_a_changed_source_is_announced_and_only_what_it_made_is_made_again(
    own_run: Path, own_study: StudyConfig, own_code: Write
) -> None:
    allow(REFERENCE)
    before = records(own_run)
    assert state_of(own_study, own_run, OpenStudy.differences) == ""
    own_code("own_network.py", NETWORK.replace("16", "8"))
    forget_module()
    arms = len(before) - 4
    announced = f"{arms} of {len(before)} stages were made by other code"
    assert announced in str(state_of(own_study, own_run, OpenStudy.differences))
    run_study(own_study, own_run)
    changed = {name for name, record in records(own_run).items() if record != before[name]}
    assert changed == {name for name, record in before.items() if "named_code" in record}


def test_a_study_whose_code_is_bad_ends_before_anything_is_made(
    own_study: StudyConfig, own_code: Write, tmp_path: Path
) -> None:
    own_code("own_network.py", NETWORK.replace("16, classes", "16, classes + 1"))
    allow(REFERENCE)
    with pytest.raises(UsageError, match="it must give logits"):
        run_study(own_study, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_cell_that_own_code_ended_goes_on_once_it_is_mended(
    own_study: StudyConfig, own_code: Write, tmp_path: Path
) -> None:
    failing = "class Failing(nn.Sequential):\n    def forward(self, x):\n        return 1 / 0 if self.training else "
    failing += "super().forward(x)\n"
    own_code("own_network.py", NETWORK.replace("return nn.Sequential", "return Failing") + failing)
    allow(REFERENCE)
    with pytest.raises(UsageError, match="forward pass fails with ZeroDivisionError: division by zero"):
        run_study(own_study, tmp_path / "new")
    before = records(tmp_path / "new")
    assert set(before) == {"subset"}  # the choice of the policy trains a classifier first
    own_code("own_network.py", NETWORK)
    forget_module()
    run_study(own_study, tmp_path / "new")
    after = records(tmp_path / "new")
    assert {name: after[name] for name in before} == before


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Return the line on standard error with which a command ends."""
    code, error = command(capsys, monkeypatch, *arguments)
    assert code == 2, error
    assert len(error.strip().splitlines()) == 1
    return error


def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["augment", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_commands_refuse_code_that_a_run_names(
    own_run: Path,
    own_code: Write,
    prefect_api: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_code("own_network.py", TRAP)
    for line in (
        "run --resume run",
        "run run/config.toml --run-dir third",
        "plan run/config.toml --run-dir third",
        "export --run run --output out --num-images 20 --min-confidence 0.1",
    ):
        assert f"--allow {REFERENCE}" in refused(capsys, monkeypatch, *line.split())
    assert not Path("loaded").exists()


def test_commands_that_only_read_a_run_load_no_code(
    own_run: Path, own_code: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_code("own_network.py", TRAP)
    shutil.copytree("run", "other")
    for arguments in (["report", "other"], ["verify", "other"], ["history", "."], ["compare", "run", "other"]):
        assert command(capsys, monkeypatch, *arguments) == (0, "")
    assert not Path("loaded").exists()


def test_a_resumed_run_loads_what_the_command_line_allows(
    own_run: Path,
    own_code: Write,
    prefect_api: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_code("own_network.py", TRAP)
    code, error = command(capsys, monkeypatch, "run", "--resume", "run", "--allow", REFERENCE, "--runner", "sequential")
    assert (code, error) == (0, "")
    assert Path("loaded").exists()


def test_what_the_file_or_the_command_line_names_is_allowed(
    own_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.toml").write_text(to_toml(own_study))
    for file, assignments in ((Path("own.toml"), []), (None, [f"evaluation.classifier.kind={REFERENCE}"])):
        monkeypatch.delenv(ALLOWED, raising=False)
        study = resolve_config(preset_name="quick", file=file, options={}, assignments=assignments)
        allow_code(None, study=study, file=file)
        assert allowance().references == (REFERENCE,)


def test_a_worker_elsewhere_is_told_with_its_job_what_it_may_load(
    own_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(REFERENCE)
    jobs: list[dict[str, object]] = []
    monkeypatch.setattr(flow, "run_cell_task", lambda **job: jobs.append(job))
    with opened_study(store_of(tmp_path / "run"), own_study) as study:
        flow.run_cells(study, flow.SEQUENTIAL)
    assert jobs[0]["allowed"] == Allowance(references=(REFERENCE,), directory=str(tmp_path))


def test_command_that_continues_is_one_that_a_shell_takes() -> None:
    command = resume_command("runs/it's [mine] $1", StudyConfig())
    assert shlex.split(command) == ["augment", "run", "--resume", "runs/it's [mine] $1"]
