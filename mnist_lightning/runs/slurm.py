"""Finds the run that a requeued Slurm job resumes."""

import os
from pathlib import Path

from mnist_lightning.runs.environment import read_environment, slurm_job
from mnist_lightning.runs.folder import find_runs


def requeued_checkpoint(root: Path, command: str) -> Path | None:
    """Returns the checkpoint from which a requeued job resumes its run.

    Slurm starts a requeued job again, with the same id and the same command. Lightning requeues a
    job when it receives the signal USR1, for example shortly before its time limit. The checkpoint
    that Lightning saves then is not used, because a run cannot be resumed exactly within an epoch.

    Args:
        root: The folder with ``lightning_logs``.
        command: The complete command line.

    Returns:
        The path, or None if this process does not belong to a requeued job, or the command has not
        started a run, or the run is complete.
    """
    job = slurm_job()
    if job is None:
        return None
    is_restarted = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    for run in reversed(find_runs(root)):
        environment = read_environment(run)
        if (environment.get("slurm_job"), environment.get("command")) == (job, command):
            checkpoint = run / "checkpoints" / "last.ckpt"
            is_requeued = is_restarted or any(run.glob("hpc_ckpt_*.ckpt"))
            is_complete = (run / "results.json").exists()
            return checkpoint if is_requeued and not is_complete and checkpoint.exists() else None
    return None
