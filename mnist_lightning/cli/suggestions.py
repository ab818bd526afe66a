"""Suggests the nearest name for one that is misspelt."""

from collections.abc import Sequence
from difflib import SequenceMatcher

MIN_SIMILARITY = 0.6  # as in difflib


def suggest(name: str, names: Sequence[str], prefix: str = "") -> str:
    """Returns ``; did you mean NAME?``, or an empty text if no name is near.

    The last parts of names are compared first, because all options of a group are similar.

    Args:
        name: The misspelt name; the name of an option may lack its group or have another one.
        names: The names that exist.
        prefix: Text before the suggested name.

    Example:
        >>> suggest("--data.batch-sise", ["--data.batch_size", "--data.images"])
        '; did you mean --data.batch_size?'
        >>> suggest("--devices", ["--data.images", "--trainer.devices"])
        '; did you mean --trainer.devices?'
    """

    def similarities(candidate: str) -> tuple[float, float]:
        pairs = ((_last_part(name), _last_part(candidate)), (name, candidate))
        last_parts, full_names = (SequenceMatcher(None, *pair).ratio() for pair in pairs)
        return last_parts, full_names

    nearest = max(names, key=similarities, default="")
    is_near = similarities(nearest)[0] >= MIN_SIMILARITY
    return f"; did you mean {prefix}{nearest}?" if is_near else ""


def _last_part(name: str) -> str:
    return name.lstrip("-").rpartition(".")[2].replace("-", "_")
