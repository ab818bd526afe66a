"""Titles and class names in figures."""

from collections.abc import Sequence

from lightning.pytorch import Trainer

from mnist_lightning.errors import check

MAX_NAME_LENGTH = 20


def title(trainer: Trainer, content: str) -> str:
    """Returns a figure's title: the name of the data set, if the data module has one, and content.

    Args:
        trainer: Its data module's ``dataset_name`` is used.
        content: Content of the figure, in lower case.
    """
    name = getattr(getattr(trainer, "datamodule", None), "dataset_name", None)
    return f"{name}, {content}" if name and isinstance(name, str) else content.capitalize()


def class_names(
    trainer: Trainer, custom_names: Sequence[str] | None, num_classes: int
) -> list[str]:
    """Returns a name for each class; long names are shortened.

    Args:
        trainer: Its data module's ``class_names`` are used if there are no custom names.
        custom_names: Names that the user chose, if any.
        num_classes: Number of names to return; a class without a name gets its index.
    """
    default_names = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    if not isinstance(default_names, Sequence):  # in another project it may be a method
        default_names = ()
    names = [str(name) for name in custom_names or default_names]
    names += [str(index) for index in range(len(names), num_classes)]
    return [
        name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
        for name in names[:num_classes]
    ]


def check_class_names(class_names: Sequence[str] | None) -> None:
    """Checks the argument of a callback that is named ``class_names``.

    Raises:
        InvalidArgumentError: If it is neither None nor a list of names.
    """
    check(
        "class_names",
        class_names,
        lambda names: names is None or not (isinstance(names, str) or len(names) == 0),
        "it must be a list with a name for each class",
    )
