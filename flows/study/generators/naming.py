"""What the configuration's key `generator` may say, and what is allowed to run because of it.

A configuration is text that travels. Code and commands that it names run only where the user named them on this
machine (`data.base.plugins`); a command is allowed by the digest of its text.
"""

import hashlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from data.base.errors import UsageError
from data.base.files import digest_file, digest_json, is_there
from data.base.names import public_dataset_name
from data.base.plugins import allow, allowance, is_reference, source_digest
from data.sources.registry import KINDS

GeneratorKind = Literal["gan", "built in", "command", "function", "images"]
BuiltIn = Literal["pca-mixture", "interpolation"]
GAN = "gan"
COMMAND = "command:"
PLACEHOLDERS = ("subset", "subset_folder", "subset_npz", "output", "num_images", "seed")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_DIGITS = 16  # of a command's digest in the name that allows it


def kind_of(generator: str) -> GeneratorKind:
    """Return what kind of generator the configuration asks for.

    Raises:
        ValueError: none that there is, with what to write.
    """
    if generator == GAN:
        return "gan"
    if generator in get_args(BuiltIn):
        return "built in"
    if generator.startswith(COMMAND):
        _check_command(generator)
        return "command"
    kind, separator, path = generator.partition(":")
    if separator and kind in KINDS:
        if not path:
            raise ValueError(f"it names no path; write {kind}:PATH")
        return "images"
    if is_reference(generator):
        return "function"
    raise ValueError(
        f'write {GAN}, {", ".join(get_args(BuiltIn))}, "command: PROGRAM … {{subset}} {{output}}", '
        "package.module:function, or KIND:PATH for images that are there already"
    )


def command_words(generator: str) -> list[str]:
    """Return the words of a command, divided as a shell divides them; no shell runs it.

    Raises:
        ValueError: a quote that is not closed.
    """
    return shlex.split(generator.removeprefix(COMMAND))


def _check_command(generator: str) -> None:
    try:
        words = command_words(generator)
    except ValueError as error:
        raise ValueError(f"the command cannot be divided into words: {error}") from error
    if not words:
        raise ValueError("the command is empty; write command: PROGRAM … {subset} {output}")
    named = {name for word in words for name in _PLACEHOLDER.findall(word)}
    unknown = sorted(named - set(PLACEHOLDERS))
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    if unknown:
        raise ValueError(f"the command holds {{{unknown[0]}}}; there are {known}")
    if "output" not in named:
        raise ValueError(f"the command holds no {{output}}, so it does not know where to write; there are {known}")


def filled_in(generator: str, values: dict[str, str]) -> list[str]:
    """Return the words of a command with its placeholders replaced."""
    return [_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in command_words(generator)]


def uses(generator: str, placeholder: str) -> bool:
    """Tell whether a command holds a placeholder."""
    return any(placeholder in _PLACEHOLDER.findall(word) for word in command_words(generator))


def generator_name(generator: str) -> str:
    """Return the generator's name as it may be published: no path of this machine is in it."""
    match kind_of(generator):
        case "gan":
            return "GAN"
        case "command":
            words = command_words(generator)
            scripts = (Path(word).name for word in words[1:] if Path(word).suffix and "{" not in word)
            return next(scripts, Path(words[0]).name)
        case "images":
            return f"the set {public_dataset_name(generator)}"
        case _:
            return generator


def allowed_name(generator: str) -> str:
    """Return the name by which a function or a command is allowed; "" for what needs no permission."""
    match kind_of(generator):
        case "function":
            return generator
        case "command":
            return f"command:x{hashlib.sha256(generator.encode()).hexdigest()[:_DIGITS]}"
        case _:
            return ""


def allow_generator(generator: str) -> None:
    """Let this process and those that it starts run a generator: for what the user typed, or wrote in a file given."""
    if name := allowed_name(generator):
        allow(name)


def check_allowed_command(generator: str) -> None:
    """Make sure that the user named this command on this machine.

    Raises:
        UsageError: a configuration alone names it.
    """
    name = allowed_name(generator)
    if name not in allowance().references:
        raise UsageError(
            f"the generator is a command that a configuration alone does not make run here: "
            f"{generator.removeprefix(COMMAND).strip()} (read it, and if you trust it name it again with --generator, "
            f"or add --allow {name})"
        )


@cache
def generator_digest(generator: str) -> str:
    """Return a digest of what a generator is: of its text, and of the code or the files that it names.

    Files that a command names are those of its words that are files; what these read in turn is not seen.

    Raises:
        UsageError: there is no such module.
    """
    match kind_of(generator):
        case "function":
            return source_digest(generator)
        case "images":
            from flows.study.generators.made import digest_of_files  # it reads them with PyArrow

            return digest_of_files(generator)
        case "command":
            words = [part for word in command_words(generator) for part in (word, word.rpartition("=")[2])]
            files = {word: digest_file(Path(word)) for word in words if is_there(word) and Path(word).is_file()}
            return digest_json([generator, files])
        case _:
            return digest_json(generator)
