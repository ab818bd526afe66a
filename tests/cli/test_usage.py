"""The command line itself: usage, help, invalid options."""

import signal
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from command_line import SHORT, command, environment, fail, names
from mirror import Files

from mnist_lightning.cli import main
from mnist_lightning.cli.console import console


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("--data.val_fraction 1.5", 2, "--data.val_fraction is 1.5; it must be above 0"),
        ("--data.batch_size 0", 2, "--data.batch_size is 0; it must be an integer from 1"),
        ("--data.batch_size many", 2, "--data.batch_size is 'many'; it must be int"),
        ("--data.source web", 2, "--data.source is 'web'; it must be one of 'auto', 'mnist', 'sa"),
        (
            "--model.network torch.nn.Identity",
            2,
            "--model.network is 'Identity'; it must",
        ),
        (
            "--model.network torch.nn.Linear",
            2,
            "--model.network also requires --model.network.in_features and --model.network.out_fe",
        ),
        (
            "--model.network nets.Mpl",
            2,
            "--model.network: cannot import nets.Mpl: No module named 'nets'",
        ),
        (
            "--model.network torch.nn.Linearr",
            2,
            "cannot import torch.nn.Linearr: module 'torch.nn' has no attribute 'Linearr'",
        ),
        (
            "--model.network subprocess.Popen",
            2,
            "--model.network: options must not name subprocess.Popen, which can run any code",
        ),
        ("--config shell.yaml", 2, ".on_fit_start: options must not name os.system, which can run"),
        ("--model.network torch.nn.Flatten", 2, "--model.network is 'Flatten'; it must"),
        (
            "--model.network mnist_lightning.DigitCNN --model.network.num_classes 11",
            2,
            "--model.network is 'DigitCNN'; it must map images (N, 1, 28, 28) to (N, 10)",
        ),
        (
            "--trainer.accumulate_grad_batches 0",
            2,
            "--trainer.accumulate_grad_batches is 0; it must be an integer from 1",
        ),
        ("--data.data_dir \udcff", 2, "is not valid UTF-8"),
        (
            "--trainer.callbacks EvaluationFigure",
            2,
            ".callbacks is 'EvaluationFigure', an abstract",
        ),
        (
            '--trainer.callbacks {"class_path":"EvaluationFigure"}',
            2,
            ".callbacks is 'EvaluationFigure', an abstract class; choose one of its subclasses",
        ),
        ("--data.augment mnist_lightning.DigitCNN", 2, "--data.augment is 'DigitCNN'; it must"),
        ("--data.mirrors gopher://a", 2, "--data.mirrors is 'gopher://a'; a mirror is a base URL"),
        ("--data.data_dir number.yaml/x", 1, "data_dir number.yaml/x cannot be written"),
        ("--data.data_dir number.yaml", 1, "data_dir number.yaml cannot be written"),
        (
            "--data.source sample --data.val_fraction 1e-9",
            2,
            "val_fraction is 1e-09; each side of the split",
        ),
        ("--data.split_seed -1", 2, "--data.split_seed is -1; it must be an integer from 0 to"),
        ("--model.num_classes 5", 2, "--model.num_classes is 5; the data have 10 classes"),
        ("--model.learning_rate -1", 2, "--model.learning_rate is -1.0; it must be above 0"),
        ("--model.dropout 2", 2, "--model.dropout is 2.0; it must be at least 0 and below 1"),
        ("--model.network Nothing", 2, "--model.network is 'Nothing'; it must be the path of a"),
        ("--seed_everything -1", 2, "--seed_everything is -1; it must be an integer from 0"),
        ("--trainer.max_epochs some", 2, "--trainer.max_epochs is 'some'; it must be int"),
        ("--trainer.max_epochs -5", 2, "the Trainer rejected its options: `max_epochs` must be"),
        ("--trainer.accelerator abacus", 2, "invalid accelerator name: `accelerator='abacus'`"),
        (
            "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp_spawn",
            2,
            "--trainer.strategy is 'ddp_spawn'; each process must execute the command line",
        ),
        (
            "--trainer.default_root_dir number.yaml",
            1,
            "cannot create the run folder number.yaml/light",
        ),
        ("--no_such_option 1", 2, "unrecognized arguments: --no_such_option 1; add --help"),
        ("--weights_only false", 2, "unrecognized arguments: --weights_only false"),
        ("--config missing.yaml", 1, "cannot read the config file missing.yaml (No such file"),
        ("--config=missing.yaml", 1, "cannot read the config file missing.yaml (No such file"),
        ("--config number.yaml", 1, "the config file number.yaml has no options below 'trainer:'"),
        ("--config broken.yaml", 1, "the config file broken.yaml is not valid YAML: "),
        ("--config binary.yaml", 1, "the config file binary.yaml is not valid YAML: "),
        ("--config list.yaml", 1, "the config file list.yaml contains no options"),
        (
            "--config logger.yaml",
            2,
            "unrecognized arguments: --trainer.logger.color; add --help",
        ),
        ("--config wrong.yaml", 2, "does not accept option 'data.batchsize'"),
        ("--ckpt_path missing.ckpt", 1, "the checkpoint missing.ckpt does not exist"),
        ("--ckpt_path broken.yaml", 1, "broken.yaml is not a checkpoint"),
        ("--ckpt_path=", 2, "--ckpt_path is ''; use best, last, pretrained or a path"),
        ("--ckpt_path last", 1, "--ckpt_path is 'last', but no run in lightning_logs"),
    ],
)
def test_invalid_option_is_one_sentence(
    workdir: Path,
    files: Files,
    args: str,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (workdir / "broken.yaml").write_text("a: [1, 2\nb: }{")
    (workdir / "binary.yaml").write_bytes(bytes(range(256)))
    (workdir / "number.yaml").write_text("trainer: 5\n")
    (workdir / "list.yaml").write_text("- 1\n- 2\n")
    (workdir / "wrong.yaml").write_text("data:\n  batchsize: 3\n")
    (workdir / "logger.yaml").write_text(
        "trainer:\n  logger: {class_path: CSVLogger, init_args: {color: red}}\n"
    )
    (workdir / "shell.yaml").write_text(
        "trainer:\n  callbacks:\n  - class_path: lightning.pytorch.callbacks.LambdaCallback\n"
        "    init_args: {on_fit_start: os.system}\n"
    )
    before = names(workdir)
    found, line = fail(capsys, "fit", *args.split())
    assert message in line
    assert found == code
    assert names(workdir) == before  # nothing was begun


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["export"], "--format and --output are missing; add --help to see their possible"),
        (
            ["--trainer.max_epochs", "3"],
            "write one of fit, validate, test, predict, export, sweep first",
        ),
        (["--config", "good.yaml", "fit"], "write the subcommand first, then its options"),
    ],
)
def test_invalid_subcommand_is_one_sentence(
    workdir: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "good.yaml").write_text("data:\n  batch_size: 3\n")
    code, line = fail(capsys, *args)
    assert code == 2
    assert message in line


def test_checks_mirrors_in_the_environment(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_MIRRORS", "somewhere")
    code, line = fail(capsys, "fit")
    assert (code, line.split(";")[0]) == (2, "error: MNIST_MIRRORS is 'somewhere'")


@pytest.mark.usefixtures("workdir")
def test_recipes_are_listed_only_if_a_config_does_not_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, message = fail(capsys, "fit", "--config=.")
    assert status == 1
    assert message.startswith("error: cannot read the config file . (")
    assert "recipes" not in message
    assert "the recipes are best, " in fail(capsys, "fit", "--config=fats")[1]


@pytest.mark.slow
def test_runs_as_a_module_with_quiet_output(workdir: Path) -> None:
    done = subprocess.run(
        command("fit", *SHORT), capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "Training DigitCNN (37,610 parameters, all trainable) on MNIST sample: 3,200 images for "
        "training, 800 for validation"
    )
    assert lines[1] == "Device cpu, seed 0, run folder lightning_logs/version_0" or (
        torch.cuda.is_available()
    )
    assert [line.split()[0] for line in lines[2:]] == [
        "Epoch",
        "Class",
        *"0123456789",
        "Most",
        "Test",
        "Weights:",
        "Data:",
        "Run",
        "TensorBoard:",
    ]


def test_restores_signal_handlers(workdir: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main(["fit", *SHORT])
    assert signal.getsignal(signal.SIGTERM) == before


def test_system_without_sighup(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP", raising=False)  # as on Windows
    main(["fit", *SHORT])
    assert "results.json" in names(workdir / "lightning_logs" / "version_0")


def test_runs_in_a_thread(workdir: Path) -> None:
    thread = threading.Thread(target=main, args=[["fit", *SHORT]])
    thread.start()
    thread.join()
    assert "results.json" in names(workdir / "lightning_logs" / "version_0")


@pytest.mark.parametrize(
    ("error", "is_shown"), [(OSError(28, "No space left on device"), False), (KeyError("a"), True)]
)
def test_errors_of_threads_are_shown_unless_the_main_thread_raises_them(
    error: Exception, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_in_thread() -> None:
        raise error

    with console():
        thread = threading.Thread(target=fail_in_thread)
        thread.start()
        thread.join()
    assert (type(error).__name__ in capsys.readouterr().err) == is_shown
