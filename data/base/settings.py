"""What all of the configuration has in common."""

from pydantic import BaseModel


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A part of the configuration: it never changes, knows its keys, and its numbers are finite."""
