"""What README and docs/ say works: commands are parsed, quick ones and the tutorial executed, links and names found."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import augmentation_gain
import augmentation_gain.studies
from data.base.plugins import ALLOWED, DIRECTORY
from docs import generate
from flows import cli

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
TUTORIAL = "docs/tutorial.md"
GENERATORS = "docs/generators.md"
LONG = ("run", "plan", "serve", "audit", "judge")  # hours, for ever, minutes
TINY = (
    "--set data.folds=2 --set gan.steps=4 --set gan.batch_size=16 --set gan.generator_width=8 "
    "--set gan.discriminator_width=8 --set sampling.images_per_class=10 --set evaluation.classifier_seeds=1 "
    "--set evaluation.classifier.steps=4 --set evaluation.classifier.width=4 "
    "--set evaluation.samples.features.steps=4 --set evaluation.samples.features.width=4 "
    "--set evaluation.samples.max_images=40 --set evaluation.samples.unseen_images=20 "
    """--set "evaluation.arms=['real','real+classical','real+classical+synthetic']\""""
)
"""For a new study of the tutorial; one that continues has it from its run."""
SMALLER = {
    "--num-images 100000": "--num-images 200",
    "--replicates 10": "--replicates 4",
    "--max-replicates 15": "--max-replicates 6",
}


def blocks(text: str, *languages: str) -> list[str]:
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", text, re.DOTALL)


def shell_lines(text: str) -> list[str]:
    lines = [line.split(" #")[0].strip() for block in blocks(text, "sh", "bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


LINES = list(dict.fromkeys(line for text in PAGES.values() for line in shell_lines(text)))
COMMANDS = [line for line in LINES if line.startswith("augment ")]
QUICK = list(
    dict.fromkeys(
        line
        for page, text in PAGES.items()
        for line in shell_lines(text)
        if line.startswith("augment ") and line.split()[1] not in LONG and page not in (TUTORIAL, GENERATORS)
    )
)


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for large, small in SMALLER.items():
        command = command.replace(large, small)
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, command


def test_every_command_of_the_tool_is_shown() -> None:
    assert {command.split()[1] for command in COMMANDS} == set(cli.COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_those_of_the_command(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    assert cli.COMMANDS[name].load().make_context(name, arguments).info_name == name  # it raises on an unknown option


@pytest.fixture(scope="module")
def workplace(undisturbed: Path, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs and images that the pages' commands name."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("mine", "a", "b"):
        shutil.copytree(undisturbed, folder / "runs" / name)
    for label in ("left", "right"):
        (folder / "my-images" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), number * 20).save(folder / "my-images" / label / f"{number}.png")
    return folder


@pytest.mark.parametrize("command", QUICK)
def test_quick_command_ends_without_an_error(command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    run_command(command, monkeypatch)


@pytest.mark.timeout(2400)
@pytest.mark.long
def test_tutorial_works_from_its_first_line_to_its_last(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(PAGES[TUTORIAL], "python")[0], TUTORIAL, "exec"), {})
    for name in (ALLOWED, DIRECTORY):
        monkeypatch.setenv(name, "")  # what commands allow is forgotten when the test ends
        monkeypatch.delenv(name)
    for block in blocks(PAGES[TUTORIAL], "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            Path(named[1]).write_text(block, encoding="utf-8")
    for command in shell_lines(PAGES[TUTORIAL]):
        if command.split()[1] == "run":
            command += " --runner sequential"
        new = command.split()[1] in LONG and "--resume" not in command
        run_command(f"{command} {TINY}" if new else command, monkeypatch)


@pytest.mark.timeout(2400)
def test_the_generator_that_nobody_here_wrote_is_run_and_judged(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    script, data = blocks(PAGES[GENERATORS], "py")
    (tmp_path / "kde.py").write_text(script)
    exec(compile(data, GENERATORS, "exec"), {})
    for command in shell_lines(PAGES[GENERATORS]):
        if command.startswith("python "):
            subprocess.run(shlex.split(command), check=True)
        elif "mnist" not in command and command.split()[1] != "export" and "--synthetic" not in command:
            command += " --runner sequential"
            run_command(command if "--resume" in command else f"{command} {TINY}", monkeypatch)
        elif "--run-dir" in command:
            run_command(f"{command} --runner sequential --replicates 2 {TINY}", monkeypatch)
        elif command.split()[1] == "export":
            run_command(command, monkeypatch)
    assert "kde.py" in (tmp_path / "from-kde" / "README.md").read_text()
    assert "cannot be known" in (tmp_path / "runs" / "judged" / "report.html").read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(PAGES[page], "python")])
def test_python_starts_a_study(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[object, ...]] = []

    def study(images: object, labels: object = None, **options: object) -> SimpleNamespace:
        assert options.keys() <= inspect.signature(augmentation_gain.studies.study).parameters.keys()
        started.append((images, labels))
        return SimpleNamespace(sentence="said")

    monkeypatch.setattr("augmentation_gain.study", study)
    exec(compile(blocks(PAGES[page], "python")[-1], page, "exec"), {"images": "images", "labels": "labels"})
    assert len(started) == 1


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(("prefect ", "dask "))])
@pytest.mark.slow
def test_commands_of_others_have_these_options(line: str) -> None:
    program, *words = shlex.split(line)
    module = {"prefect": ["prefect"], "dask": ["distributed.cli.dask_worker"]}[program]
    given = {"prefect deployment": 2, "prefect work-pool": 2, "prefect worker": 2, "prefect deploy": 1}
    subcommands = words[: given[f"{program} {words[0]}"]] if program == "prefect" else []
    call = [sys.executable, "-m", *module, *subcommands, "--help"]
    shown = subprocess.run(call, env=os.environ, capture_output=True, text=True, check=True).stdout
    assert all(word.split("=")[0] in shown for word in words if word.startswith("--"))


def test_lines_of_the_shell_are_of_programs_that_are_tested() -> None:
    known = (
        "augment ",
        "make ",
        "git clone ",
        "cd ",
        "export ",
        "prefect ",
        "dask ",
        "python -m benchmarks.",
        "pip install ",
        "python pretrained.py",
        "python kde.py ",  # of docs/generators.md
        "apt-get install postgresql",
        "sudo -u postgres ",  # test_postgresql.py
    )
    assert [line for line in LINES if not line.startswith(known)] == []


def test_benchmarks_that_are_named_exist() -> None:
    named = {name for text in PAGES.values() for name in re.findall(r"python -m (benchmarks\.\w+)", text)}
    assert [name for name in named if util.find_spec(name) is None] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page, text in PAGES.items():
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) | set(
            re.findall(r"`(bench-[a-z-]+)`", text)
        )
        assert named <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_linked_exist(page: str) -> None:
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]):
        target = (folder / link).resolve().relative_to(ROOT)
        generated = target.is_relative_to("docs") and target.relative_to("docs").as_posix() in generate.PAGES
        assert generated or (ROOT / target).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_code_exist(page: str) -> None:
    for name in re.findall(r"`((?:gan|data|evaluation|flows)\.[a-z_0-9.A-Z]+[a-zA-Z_0-9])`", PAGES[page]):
        assert _exists(name), name


def _exists(name: str) -> bool:
    """Tell whether a dotted name is a module, something in one, or a key or table of the configuration."""
    if any(f"{key}.".startswith(f"{name}.") for key in CONFIGURATION):
        return True
    found: object = import_module(name.split(".")[0])
    path = found.__name__
    for part in name.split(".")[1:]:
        path += f".{part}"
        if hasattr(found, "__path__") and util.find_spec(path):
            found = import_module(path)
        elif hasattr(found, part):
            found = getattr(found, part)
        else:
            return part in getattr(found, "model_fields", {}) | getattr(found, "__dataclass_fields__", {})
    return True


CONFIGURATION = set(re.findall(r"^\| `([a-z_0-9.]+)` \|", generate.configuration_page(), re.MULTILINE))
