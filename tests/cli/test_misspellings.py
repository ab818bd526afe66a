"""Misspelt names: the error suggests the nearest."""

from pathlib import Path

import pytest
from command_line import fail, names

DISTORTION = "--data.augment=mnist_lightning.RandomDistortion"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            "ftt",
            "error: invalid choice: 'ftt' (choose from fit, validate, test, predict, export, "
            "sweep); did you mean fit?",
        ),
        ("swep", "; did you mean sweep?"),
        ("valdate --data.source sample", "; did you mean validate?"),
        (
            "fit --trainer.max_epoch 3",
            "unrecognized arguments: --trainer.max_epoch 3; did you mean --trainer.max_epochs?",
        ),
        ("fit --data.batchsize=64", "--data.batchsize=64; did you mean --data.batch_size?"),
        ("fit trainer.max_epoch=3", "did you mean --trainer.max_epochs?"),
        ("fit --trainer.dropout 0", "did you mean --model.dropout?"),
        ("fit --max_epochs 3", "did you mean --trainer.max_epochs?"),
        ("fit --batch-size 3", "did you mean --data.batch_size?"),
        ("fit --ckptpath last --data.x 1", "did you mean --ckpt_path?"),
        ("fit --data.x 1 --ckptpath last", "did you mean --ckpt_path?"),
        ("test --seed_everythin 1", "did you mean --seed_everything?"),
        ("export --format onnx --output a --ouput b", "did you mean --output?"),
        (
            f"fit {DISTORTION} --data.augment.rotatoin 3",
            "unrecognized arguments: --data.augment.rotatoin; did you mean "
            "--data.augment.rotation?",
        ),
        (
            "fit --model.network mnist_lightning.DigitCNN --model.network.dropot 0",
            "did you mean --model.network.dropout?",
        ),
        (
            "fit --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitr val/loss",
            "did you mean --trainer.callbacks.monitor?",
        ),
        ("fit --config data.yaml", "option 'data.batchsize'; did you mean data.batch_size?"),
        ("fit --config group.yaml", "option 'trainr.max_epochs'; did you mean trainer.max_epochs?"),
        ("fit --config flat.yaml", "option 'batch_size'; did you mean data.batch_size?"),
        ("fit --config class.yaml", "did you mean --data.augment.rotation?"),
    ],
)
def test_error_suggests_the_nearest_name(
    workdir: Path, args: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "data.yaml").write_text("data: {batchsize: 3}")
    (workdir / "group.yaml").write_text("trainr: {max_epochs: 3}")
    (workdir / "flat.yaml").write_text("batch_size: 3")
    (workdir / "class.yaml").write_text(
        "data: {augment: {class_path: mnist_lightning.RandomDistortion, init_args: {rotatoin: 3}}}"
    )
    before = names(workdir)
    code, line = fail(capsys, *args.split(" "))
    assert code == 2
    assert message in line
    assert names(workdir) == before


@pytest.mark.parametrize(
    "args",
    [
        "fly",
        "fit --no_such_option 1",
        "fit extra",
        "fit --qqq images",  # a value
        "fit --ouput a",  # an option of export only
        f"fit {DISTORTION} --data.augment.qqq 3",
        "fit --config other.yaml",
    ],
)
def test_error_suggests_nothing_if_no_name_is_near(
    workdir: Path, args: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "other.yaml").write_text("data: {qqq: 3}")
    code, line = fail(capsys, *args.split())
    assert code == 2
    assert "did you mean" not in line
    assert line.endswith("; add --help to see all options")
