"""The files of docs/operations that start the service: what they run has these options, and names what is there."""

import configparser
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import cli
from flows.commands.serve import serve
from flows.serving import checked_timetable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "operations"


@pytest.fixture
def service() -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]["augment"]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(FOLDER / "augment.service")
    return parser


def options_of(command: str) -> dict[str, Any]:
    """Parse a command as `augment serve` does; it raises on an option that there is not."""
    program, name, *arguments = shlex.split(command)
    assert (Path(program).name, name) == ("augment", serve.__name__)
    with cli.COMMANDS[name].load().make_context(name, arguments) as context:
        found: dict[str, Any] = context.params
    checked_timetable(cron=found["cron"], interval=found["interval"], timezone=found["timezone"])
    return found


def test_command_of_the_container_is_served_on_the_ports_that_are_published(service: dict[str, Any]) -> None:
    options = options_of(service["command"])
    published = [port.rsplit(":", 1) for port in service["ports"]]
    assert {int(inside) for _, inside in published} == {options["port"], options["pages_port"]}
    assert all(outside.startswith("127.0.0.1:") for outside, _ in published)  # it asks for no password
    assert options["host"] == "0.0.0.0"  # inside the container


def test_container_keeps_runs_and_database_and_reads_its_study(service: dict[str, Any]) -> None:
    options, kept = options_of(service["command"]), Path("/srv/augment")
    volumes = [volume.split(":") for volume in service["volumes"]]
    assert str(kept) in [volume[1] for volume in volumes if not volume[0].startswith(".")]
    for place in (options["runs_directory"], *service["environment"].values()):
        assert Path(place).is_relative_to(kept)
    assert str(kept / options["config"]) in [volume[1] for volume in volumes]


def test_image_is_built_from_this_project(service: dict[str, Any]) -> None:
    assert (FOLDER / service["build"]["context"]).resolve() == ROOT
    lines = service["build"]["dockerfile_inline"].splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={lines[0].removeprefix('FROM python:').removesuffix('-slim')}"
    (install,) = (line for line in lines if "pip install" in line)
    extras = install[install.index("[") + 1 : install.index("]")].split(",")
    assert set(extras) <= project["optional-dependencies"].keys()
    assert lines.index("USER augment") < len(lines) - 1  # not as root


def test_unit_starts_a_command_that_there_is(unit: configparser.ConfigParser) -> None:
    options = options_of(unit["Service"]["ExecStart"])
    assert Path(options["runs_directory"]).is_relative_to(unit["Service"]["ReadWritePaths"])
    assert unit["Service"]["RestartPreventExitStatus"] == "2"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    (tmp_path / "augment").write_text("#!/bin/sh\n")
    (tmp_path / "augment").chmod(0o755)
    text = (FOLDER / "augment.service").read_text(encoding="utf-8")
    text = text.replace("/srv/augment/.venv/bin/augment", str(tmp_path / "augment")).replace(
        "User=augment", "User=root"
    )
    (tmp_path / "augment.service").write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "augment.service")], capture_output=True, text=True, check=False
    )
    about_it = [line for line in told.stderr.splitlines() if "augment.service" in line]
    assert about_it == [], told.stderr
