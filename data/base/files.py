"""Atomic files and digests: whatever carries its final name is complete."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from data.base.errors import AugmentError, CorruptFileError, UsageError, message_of

Model = TypeVar("Model")
_SHOWN_LETTERS = 200


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it to `path`.

    Raises:
        AugmentError: the place cannot be written (permission, full disk); no partial file stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors in its own
        reason = getattr(error, "strerror", None) or error
        raise AugmentError(f"cannot write {path}: {reason}; free or choose another place") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def given_path(text: str | Path) -> Path:
    """Return the path that a person gave, `~` spelled out; whether anything is there is not asked.

    Raises:
        UsageError: no path that the system can look at: too long, behind a folder that is closed to this user, links in
            a circle, or the home of nobody.
    """
    shown = str(text) if len(str(text)) <= _SHOWN_LETTERS else f"{str(text)[:_SHOWN_LETTERS]}…"
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or message_of(error).rstrip(".")
        raise UsageError(f"cannot look at {shown}: {reason}; give another path") from error
    return path


def is_there(text: str | Path) -> bool:
    """Tell whether anything lies at a path, `~` spelled out; a text that is no path, such as a long one, is nowhere."""
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` atomically as readable JSON. NaN is refused: absent figures are None."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _not_json(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CorruptFileError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_json)
    except FileNotFoundError as error:
        raise CorruptFileError(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path} is not readable JSON ({error}); delete it or restore it from a copy") from error


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a JSON file that has the form of `model`: anything that pydantic can validate.

    Raises:
        CorruptFileError: the file is missing, not JSON, or of another form.
    """
    try:
        return TypeAdapter(model).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise CorruptFileError(
            f"{path} does not have the form it should have ({where}: {first['msg']}); restore it from a copy"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        CorruptFileError: the file is missing, not JSON, or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise CorruptFileError(f"{path} holds no JSON object; restore it from a copy")
    return found


def is_below(directory: Path, name: str) -> bool:
    """Tell whether the relative path `name` stays inside `directory`, links followed."""
    return (directory / name).resolve().is_relative_to(directory.resolve())


def digest_file(path: Path, *, algorithm: Literal["sha256", "md5"] = "sha256") -> str:
    """Return the digest of a file in hexadecimal digits; MD5 only where a publisher gives no other."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a JSON value's canonical text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
