"""Random input either works or is rejected in one sentence."""

import contextlib
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist_lightning import (
    ConfusionMatrix,
    DigitCNN,
    LearningCurves,
    MisclassifiedGrid,
    MNISTClassifier,
    MNISTDataModule,
    PredictionGrid,
    RandomDistortion,
    TrainingImages,
)
from mnist_lightning.cli import main
from mnist_lightning.errors import UserError

numbers = st.one_of(
    st.integers(),
    st.sampled_from([-1, 0, 1, 2, 10, 1 << 31, 1 << 63, 10**30, 0.5, 1e-9, 1e300]),
    st.floats(),
)
values = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.lists(st.one_of(numbers, st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=5), numbers, max_size=2),
    st.just(object()),
)
ARGUMENTS: dict[Callable[..., Any], tuple[str, ...]] = {
    ConfusionMatrix: ("class_names",),
    DigitCNN: ("dropout", "num_classes", "batch_norm"),
    LearningCurves: ("loss", "accuracy"),
    MisclassifiedGrid: ("class_names", "size"),
    MNISTClassifier: (
        "network",
        "learning_rate",
        "dropout",
        "num_classes",
        "schedule",
        "label_smoothing",
        "cuda_graph",
        "batch_norm",
        "weight_decay",
        "sam_radius",
    ),
    MNISTDataModule: (
        "data_dir",
        "batch_size",
        "val_fraction",
        "split_seed",
        "source",
        "mirrors",
        "augment",
        "images",
        "dataset",
    ),
    PredictionGrid: ("class_names", "size"),
    RandomDistortion: ("rotation", "scale", "shear", "translation", "elastic", "stroke"),
    TrainingImages: ("class_names", "size"),
}


@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
def test_constructors_accept_or_reject_random_arguments(kind: Callable[..., Any]) -> None:
    @settings(deadline=None, max_examples=100)
    @given(st.dictionaries(st.sampled_from(ARGUMENTS[kind]), values, max_size=3))
    def check(arguments: dict[str, Any]) -> None:
        message = ""
        try:
            kind(**arguments)
        except UserError as error:
            message = str(error)
        assert not message or message.split(" is ")[0] in arguments
        assert len(message) < 500

    check()


texts = st.one_of(
    numbers.map(str),
    st.sampled_from(
        ["", " ", "null", "true", "false", "[]", "{}", "[1, 2]", "nan", "inf", "-inf", "1e400"]
    ),
    st.sampled_from(
        ["ünïcödé", "😀", "\udcff", "a\nb", "../..", "/", "/dev/null", "~", "%s{}", "--"]
    ),
    st.sampled_from(
        ["torch.nn.Identity", "torch.nn.ReLU", "mnist_lightning.DigitCNN", "os.system"]
    ),
    st.text(max_size=20).filter(lambda text: "\0" not in text),
)
OPTIONS = (
    "ckpt_path",
    "config",
    "data",
    "data.augment",
    "data.batch_size",
    "data.dataset",
    "data.mirrors",
    "data.split_seed",
    "data.val_fraction",
    "model",
    "model.batch_norm",
    "model.dropout",
    "model.label_smoothing",
    "model.learning_rate",
    "model.network",
    "model.num_classes",
    "model.sam_radius",
    "model.schedule",
    "model.weight_decay",
    "seed_everything",
    "trainer",
    "trainer.accelerator",
    "trainer.accumulate_grad_batches",
    "trainer.callbacks",
    "trainer.check_val_every_n_epoch",
    "trainer.default_root_dir",
    "trainer.gradient_clip_val",
    "trainer.limit_test_batches",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.min_epochs",
    "trainer.overfit_batches",
    "trainer.plugins",
    "trainer.precision",
    "trainer.profiler",
    "trainer.val_check_interval",
    "nonsense",
    "model.nonsense",
)


@pytest.fixture(scope="module")
def folder(fitted: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a finished run."""
    path = tmp_path_factory.mktemp("any")
    shutil.copytree(fitted.folder, path / "lightning_logs" / "version_0")
    before = Path.cwd()
    os.chdir(path)
    yield path
    os.chdir(before)


def check_command_line(subcommand: str, options: list[tuple[str, str]]) -> None:
    """Runs a command line with one batch per stage."""
    # A long training would not be an error.
    args = [subcommand, *(f"--{name}={text}" for name, text in options)]
    args += ["--data.source=sample", "--trainer.fast_dev_run=1"]
    err = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(err):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()):
            code: Any = 0
            try:
                main(args)
            except SystemExit as error:
                code = error.code
    assert code in (0, 1, 2)
    lines = err.getvalue().splitlines()
    assert not code or lines[-1].startswith("error: ")
    assert "Traceback" not in err.getvalue()


command_lines = given(
    st.sampled_from(["fit", "fit", "validate", "test", "predict"]),
    st.lists(st.tuples(st.sampled_from(OPTIONS), texts), min_size=1, max_size=3),
)
quick = settings(deadline=None, suppress_health_check=[*HealthCheck])


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@settings(quick, max_examples=40)
@command_lines
def test_random_command_lines_work_or_fail_in_one_sentence(
    subcommand: str, options: list[tuple[str, str]]
) -> None:
    check_command_line(subcommand, options)


@pytest.mark.long
@pytest.mark.usefixtures("folder")
@settings(quick, max_examples=400)
@command_lines
def test_many_random_command_lines_work_or_fail_in_one_sentence(
    subcommand: str, options: list[tuple[str, str]]
) -> None:
    check_command_line(subcommand, options)
