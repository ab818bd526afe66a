"""The commands ``validate`` and ``test``."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from command_line import SHORT, config, fail, names, results, slashes
from conftest import Run
from events import scalars
from mirror import Files

from mnist_lightning.cli import main


def test_validate_prints_and_writes_no_files(
    trained: Path, fitted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["validate"])
    out = slashes(capsys.readouterr().out)
    loss = min(loss for _, loss in scalars(fitted.folder)["val/loss"])
    assert re.search(rf"^Validation accuracy \d\d\.\d\d%, loss {loss:.4f}$", out, re.MULTILINE)
    assert "lightning_logs/version_0/checkpoints/best.ckpt" in out
    assert names(trained) == {"lightning_logs"}
    assert names(trained / "lightning_logs") == {"version_0"}


@pytest.mark.parametrize("extra", [[], ["--config", "fit.yaml"], ["--ckpt_path", "best"]])
def test_test_uses_the_best_checkpoint_of_the_newest_run(
    trained: Path, fitted: Run, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(fitted.folder / "config.yaml", "fit.yaml")  # says ckpt_path: null
    main(["test", *extra])
    run = trained / "lightning_logs" / "version_1"
    drawn = {"confusion_matrix.png", "misclassified.png", "predictions.png"}
    assert names(run) == {
        "config.yaml",
        "environment.json",
        "results.json",
        *drawn,
    }  # and no events
    expected, found = results(fitted.folder), results(run)
    for name in ("test/acc", "test/loss", "dataset"):
        assert found[name] == expected[name]
    best = Path("lightning_logs/version_0/checkpoints/best.ckpt")
    assert Path(found["checkpoint"]) == trained / best
    assert f"Weights:     {best} (epoch {expected['checkpoint_epoch']})" in capsys.readouterr().out
    assert config(run)["ckpt_path"] == str(best)
    assert config(run)["data"]["source"] == "sample"


def test_second_test_finds_the_run_with_the_weights(trained: Path) -> None:
    for version in (1, 2):
        main(["test"])
        path = Path(results(trained / "lightning_logs" / f"version_{version}")["checkpoint"])
        assert path.parent.parent.name == "version_0"


def test_pretrained_weights_can_be_tested_anywhere(
    workdir: Path, capsys: pytest.CaptureFixture[str], files: Files
) -> None:
    main(["test", "--ckpt_path", "pretrained", "--data.source", "sample"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["test/acc"] > 0.995
    assert results(run)["parameters"] == 37_610
    out = capsys.readouterr().out
    assert "digits.safetensors (epoch " in out
    assert "NOTE: these digits were not held out" in out

    files.write(workdir / "data")  # in place of MNIST, which has held its test images out
    main(["test", "--ckpt_path", "pretrained"])
    assert results(workdir / "lightning_logs" / "version_1")["dataset"] == "MNIST"
    assert "NOTE" not in capsys.readouterr().out
    config = yaml.safe_load((workdir / "lightning_logs/version_1/config.yaml").read_text())
    assert config["ckpt_path"] == "pretrained"


def test_pretrained_weights_require_their_network(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["test", "--ckpt_path", "pretrained", "--model.batch_norm=true"])
    assert caught.value.code == 1
    assert "does not match this network" in capsys.readouterr().err


def test_reports_weights_trained_on_other_data(
    trained: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(trained / "data")
    main(["test", "--data.source", "mnist"])
    assert "NOTE: the weights were trained on the sample only" in capsys.readouterr().out
    main(["test"])
    assert "NOTE" not in capsys.readouterr().out

    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["datamodule_hyper_parameters"]["source"] = "mnist"
    torch.save(content, path)
    main(["test", "--data.source", "sample"])
    assert "NOTE: these digits were not held out" in capsys.readouterr().out


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_untrained_weights_are_never_used(
    workdir: Path, subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, subcommand)
    assert code == 1
    assert "no run in lightning_logs has a checkpoint" in line
    assert "train with the subcommand fit first" in line
    assert names(workdir) == set()


def test_options_of_the_weights_are_defaults_that_the_user_can_override(workdir: Path) -> None:
    main(["fit", *SHORT, "--model.dropout", "0.5", "--data.val_fraction", "0.3"])
    cli = main(["validate"])
    assert cli.model.hparams["dropout"] == 0.5
    assert len(cli.datamodule.val_set) == 1_200
    cli = main(["validate", "--data.val_fraction", "0.1"])
    assert len(cli.datamodule.val_set) == 400


def test_rejects_weights_of_another_network(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "test", "--model.num_classes", "12")
    assert code == 1
    assert "best.ckpt does not match this network" in line
    assert names(trained / "lightning_logs") == {"version_0"}


def test_run_on_another_data_set_is_tested_on_it(
    workdir: Path, capsys: pytest.CaptureFixture[str], files: Files
) -> None:
    files.write(workdir / "data")
    main(["fit", "--trainer.max_epochs=1", "--data.dataset=FashionMNIST"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["dataset"] == config(run)["data"]["dataset"] == "FashionMNIST"
    assert "Ankle boot" in capsys.readouterr().out
    main(["test"])
    assert results(workdir / "lightning_logs" / "version_1")["dataset"] == "FashionMNIST"
    assert "NOTE" not in capsys.readouterr().out
    main(["test", "--data.dataset=MNIST"])
    assert "NOTE: the weights were trained on FashionMNIST" in capsys.readouterr().out
    main(["test", "--ckpt_path=pretrained", "--data.dataset=FashionMNIST"])
    assert "NOTE: the weights were trained on MNIST" in capsys.readouterr().out
