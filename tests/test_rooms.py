"""pyproject.toml names rooms and modules one by one; none is left out."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def test_every_module_that_measures_is_held_apart_from_presenting() -> None:
    contracts = {contract["name"]: contract for contract in PROJECT["importlinter"]["contracts"]}
    files = (ROOT / "evaluation").glob("*.py")
    modules = [f"evaluation.{file.stem}" for file in files if file.stem != "__init__"]
    assert sorted(contracts["measuring never imports presenting"]["source_modules"]) == sorted(modules)


def test_every_package_is_installed() -> None:
    rooms = {package.split(".")[0] for package in PROJECT["setuptools"]["packages"]}
    folders = {file.parent.relative_to(ROOT) for room in rooms for file in (ROOT / room).rglob("__init__.py")}
    assert sorted(PROJECT["setuptools"]["packages"]) == sorted(".".join(folder.parts) for folder in folders)
