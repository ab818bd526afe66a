"""What stands above a figure and beside its parts."""

from collections.abc import Sequence

from lightning.pytorch import Trainer


def title(trainer: Trainer, what: str) -> str:
    """Returns ``what`` behind the name of the data, where the data module says one."""
    name = getattr(getattr(trainer, "datamodule", None), "dataset_name", None)
    return f"{name}, {what}" if name and isinstance(name, str) else what.capitalize()


def class_names(trainer: Trainer, given: Sequence[str] | None, number: int) -> list[str]:
    """Returns a name for each of ``number`` classes: given, the data module's, or its index."""
    theirs = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    # What has that name in another project may be something else.
    names = [*map(str, given or (theirs if isinstance(theirs, Sequence) else ()))]
    names += [str(index) for index in range(len(names), number)]
    return [name if len(name) <= 20 else f"{name[:19]}…" for name in names[:number]]
