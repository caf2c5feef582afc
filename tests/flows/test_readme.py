"""What the README says works: its commands are parsed, and those that need no long training are executed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image

from flows import cli

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```(?:sh|bash)\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("augment ")
]
LONG = ("run", "serve", "audit")  # hours, for ever, minutes


def test_every_command_of_the_tool_is_shown() -> None:
    group = typer.main.get_command(cli.app)
    shown = {command.split()[1] for command in COMMANDS}
    assert shown == set(group.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_those_of_the_command(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    subcommand = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    assert subcommand.make_context(name, arguments).info_name == name  # it raises on an unknown option


@pytest.fixture(scope="module")
def workplace(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs and images that the README's commands name."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("mine", "a", "b"):
        shutil.copytree(undisturbed, folder / "runs" / name)
    for label in ("left", "right"):
        (folder / "my-images" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), number * 20).save(folder / "my-images" / label / f"{number}.png")
    return folder


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.split()[1] not in LONG])
def test_command_does_what_it_says(command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("sys.argv", shlex.split(command.replace("100000", "200")))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README)) | set(re.findall(r"`(bench-[a-z-]+)`", README))
    assert named <= targets


def test_files_that_are_linked_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_functions_of_the_chapters_table_exist() -> None:
    (section,) = re.findall(r"## From the chapter to the code\n(.*?)\n## ", README, re.DOTALL)
    for name in re.findall(r"`((?:gan|data|evaluation)\.[a-z_.A-Z]+)`", section):
        module, *attributes = _split(name)
        found: object = __import__(module, fromlist=["_"])
        for attribute in attributes:
            found = getattr(found, attribute)


def _split(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:2]), *parts[2:]]
