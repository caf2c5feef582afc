"""Image files that a table names: where they may lie, and how they are found."""

from pathlib import Path

from data.base.errors import AugmentError, CorruptFileError, first_line
from data.base.files import given_path
from data.config import DataConfig
from data.decoding import Picture
from data.sources.folder import IMAGE_SUFFIXES
from data.sources.reading import read_image_file

_SHOWN = 60  # letters of a name


def read_named_image(name: str | None, *, table: Path, config: DataConfig, where: str) -> Picture:
    """Read the image file that a row of a table names.

    Names are relative to `data.image_folder` or to the table's own folder, or absolute; they may lack the suffix, or
    be written with backslashes. No file is opened that lies outside `data.image_folder`, or the table's folder where
    that is not configured: a table from elsewhere must not read what is private.

    Raises:
        AugmentError: there is no name, or it leads out of that folder.
        CorruptFileError: there is no such file, or it is damaged.
    """
    if not name:
        raise AugmentError(f"{where}: the name of the file is missing")
    folder = given_path(config.image_folder) if config.image_folder else table.parent
    inside = folder.resolve()
    shown = repr(name if not Path(name).is_absolute() else f"…/{Path(name).name}")  # what is bad may be published
    is_outside = True
    for place in dict.fromkeys((folder / name, table.parent / name, folder / name.replace("\\", "/"))):
        try:
            if "\0" in name or not place.resolve().is_relative_to(inside):
                continue
            is_outside = False
            files = (place, *(place.with_name(place.name + suffix) for suffix in _lacking(place)))
            file = next((file for file in files if file.is_file()), None)
        except (OSError, ValueError, RuntimeError) as error:  # such as a name that is too long, or links in a circle
            reason = getattr(error, "strerror", None) or first_line(error)
            raise CorruptFileError(f"{where}: cannot look at {shown[:_SHOWN]}: {reason}; repair the name") from error
        if file is not None:
            return read_image_file(file, ground=config.ground)
    if is_outside:
        raise AugmentError(
            f"{where}: {shown} leads out of the folder that files are opened in; name the images' folder with --set "
            "data.image_folder=PATH"
        )
    raise CorruptFileError(
        f"{where}: there is no file {shown}; put it there, or name the images' folder with --set data.image_folder=PATH"
    )


def _lacking(place: Path) -> tuple[str, ...]:
    """Return the suffixes that a name without one may lack, none where it has one."""
    return () if place.suffix.lower() in IMAGE_SUFFIXES else tuple(sorted(IMAGE_SUFFIXES))
