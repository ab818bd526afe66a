"""A job that Slurm requeues; ``scontrol`` is simulated, Lightning's handling of signals is real."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from command_line import command, environment, names
from events import steps

from mnist_lightning.cli import main

FIT = ["fit", "--data.source=sample", "--trainer.max_epochs=4", "--model.schedule=one_cycle"]
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
}
# Like Slurm, it ends the job.
SCONTROL = "#!/bin/sh\necho $@ > scontrol.log\nkill -TERM $PPID\n"


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Starts the command of the job."""
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command(*FIT),
        cwd=folder,
        env={**environment(), **SLURM, "PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Slurm does not run on Windows")
def test_requeued_job_resumes_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "requeued"
    folder.mkdir()
    (folder / "scontrol").write_text(SCONTROL)
    (folder / "scontrol").chmod(0o755)
    with start(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 2/4"):
                process.send_signal(signal.SIGUSR1)
                break
        process.stdout.read()
    assert process.returncode == 143
    assert (folder / "scontrol.log").read_text() == "requeue 7\n"
    with start(folder, SLURM_RESTART_COUNT="1") as process:
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 0, out
    assert "Resuming after epoch " in out
    assert names(folder / "lightning_logs") == {"version_0"}
    run = folder / "lightning_logs" / "version_0"
    assert steps(run)["val/loss"] == [1, 2, 3, 4]
    assert not any(run.glob("hpc_*"))

    once = tmp_path / "once"
    once.mkdir()
    monkeypatch.chdir(once)
    main(FIT)
    last = Path("lightning_logs", "version_0", "checkpoints", "last.ckpt")
    expected, resumed = (
        torch.load(path / last, weights_only=True)["state_dict"] for path in (once, folder)
    )
    for name, weights in expected.items():
        assert torch.equal(resumed[name], weights)

    # The run is complete: the same command starts a new one.
    with start(folder, SLURM_RESTART_COUNT="1") as process:
        process.communicate(timeout=120)
    assert names(folder / "lightning_logs") == {"version_0", "version_1"}


@pytest.mark.slow
def test_requeued_job_uses_the_config_of_its_run(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    args = [*FIT, *stopping, "--trainer.limit_train_batches=2"]
    main(args)
    run = Path("lightning_logs/version_0")
    (run / "results.json").unlink()  # as if the test had been interrupted
    # Lightning would load this checkpoint before the test.
    (run / "hpc_ckpt_1.ckpt").write_bytes(b"x")
    main(args)
    assert {"results.json"} < names(run)
    assert "hpc_ckpt_1.ckpt" not in names(run)
    assert names(run.parent) == {"version_0"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_JOB_ID": "8"},  # another job
        {"SLURM_JOB_NAME": "bash"},  # an interactive one
        {"SLURM_RESTART_COUNT": "0"},  # a second start in the same job
    ],
)
def test_other_jobs_start_new_runs(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    args = [*FIT, "--trainer.limit_train_batches=2", "--trainer.limit_test_batches=1"]
    main(args)
    Path("lightning_logs/version_0/results.json").unlink()  # as if it had been interrupted
    for name, value in {"SLURM_RESTART_COUNT": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    main(args)
    assert names(Path("lightning_logs")) == {"version_0", "version_1"}
