"""Commands on data sets with other classes than MNIST's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import config, fail, results
from mirror import Files

from mnist_lightning.cli import main

pytestmark = pytest.mark.slow

FIT = ["fit", "--data.data_dir=.", "--data.dataset=EMNIST", "--trainer.max_epochs=1"]


@pytest.mark.parametrize(
    ("split", "num_classes"),
    [(None, 47), ("letters", 26), ("byclass", 62), ("digits", 10)],
)
def test_the_number_of_classes_follows_the_data(
    split: str | None, num_classes: int, workdir: Path, files: Files
) -> None:
    files.write(workdir)
    options = [f"--data.emnist_split={split}"] if split else []
    cli = main([*FIT, *options])
    assert cli.model.num_classes == num_classes
    run = workdir / "lightning_logs" / "version_0"
    assert config(run)["model"]["num_classes"] == num_classes
    assert results(run)["dataset"] == f"EMNIST {split or 'balanced'}"
    assert cli.model(torch.zeros(1, 1, 28, 28)).shape == (1, num_classes)
    again = main(["test", "--data.data_dir=."])  # data, split and classes are those of the weights
    assert again.model.num_classes == num_classes
    assert again.datamodule.dataset_name == f"EMNIST {split or 'balanced'}"
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert results(run)["epochs"] == 2


def test_more_classes_than_the_data_have(workdir: Path, files: Files) -> None:
    files.write(workdir)
    cli = main([*FIT, "--model.num_classes=60"])
    assert cli.model.num_classes == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.emnist_split=letters", "--data.emnist_split is 'letters'; only EMNIST has splits"),
        ("--data.dataset=EMNIST --data.emnist_split=all", "it must be one of 'byclass', 'bymerge'"),
        ("--data.dataset=EMNIST --model.num_classes=10", "is 10; the data have 47 classes"),
        ("--data.dataset=EMNIST --data.source=sample", "is 'sample'; it must be one of auto, mn"),
        ("--data.dataset=NIST", "it must be one of 'MNIST', 'FashionMNIST', 'KMNIST', 'QMNIST', "),
    ],
)
def test_an_invalid_combination_is_one_sentence(
    workdir: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", *options.split())
    assert code == 2
    assert message in line


def test_notes_weights_that_were_trained_on_another_split(
    workdir: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(workdir)
    main([*FIT, "--data.emnist_split=digits"])
    main(["test", "--data.data_dir=.", "--data.emnist_split=mnist"])
    assert "NOTE: the weights were trained on EMNIST digits" in capsys.readouterr().out
    main(["test", "--data.data_dir=.", "--data.emnist_split=digits"])
    assert "NOTE" not in capsys.readouterr().out


def test_options_of_the_data_of_the_weights_do_not_apply_to_other_data(
    workdir: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(workdir)
    main([*FIT, "--data.emnist_split=digits"])
    main(["test", "--data.dataset=MNIST", "--data.source=sample"])
    assert "NOTE: the weights were trained on EMNIST digits" in capsys.readouterr().out
    main(["fit", "--data.source=sample", "--trainer.max_epochs=1"])
    cli = main(["test", "--data.dataset=QMNIST", "--data.data_dir=."])
    assert cli.datamodule.source == "mnist"  # not "sample", which QMNIST does not have
    (workdir / "recipe.yaml").write_text("data: {dataset: KMNIST}\n")
    cli = main(["test", "--config=recipe.yaml", "--data.data_dir=."])
    assert cli.datamodule.dataset_name == "KMNIST"


def test_a_resumed_run_keeps_its_config_on_other_data(workdir: Path, files: Files) -> None:
    files.write(workdir)
    main(["fit", "--data.data_dir=.", "--data.batch_size=5", "--trainer.max_epochs=1"])
    cli = main(["fit", "--ckpt_path=last", "--data.dataset=KMNIST", "--trainer.max_epochs=2"])
    assert cli.datamodule.dataset_name == "KMNIST"
    assert cli.datamodule.batch_size == 5
    assert str(cli.datamodule.data_dir) == "."


def test_pretrained_weights_have_ten_classes(
    workdir: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ckpt_path=pretrained", "--data.dataset=EMNIST"]
    for command in ("fit", "test"):
        code, line = fail(capsys, command, *options)
        assert (code, line) == (2, "error: --model.num_classes is 10; the data have 47 classes")


def test_class_names_appear_in_the_table(
    workdir: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(workdir)
    cli: Any = main([*FIT, "--data.emnist_split=letters"])
    assert cli.datamodule.class_names[:3] == ("a", "b", "c")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line[0] in ("a", "b", "c")] == ["a", "b", "c"]
