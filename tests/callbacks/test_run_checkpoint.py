"""The checkpoints of a run."""

from pathlib import Path

import torch

from mnist_lightning.callbacks.run_checkpoint import RunCheckpoint


def test_finds_the_checkpoints_of_a_run_from_another_folder_or_system(tmp_path: Path) -> None:
    best = str(tmp_path / "best.ckpt")
    for folder in ("/home/me/lightning_logs/version_0/checkpoints/", "C:\\lightning_logs\\"):
        callback = RunCheckpoint("best", resumes_in_place=True, monitor="val/loss")
        callback.dirpath = str(tmp_path)
        path, score = f"{folder}best.ckpt", torch.tensor(0.5)
        paths = {"best_model_path": path, "kth_best_model_path": path, "last_model_path": ""}
        callback.load_state_dict(
            callback.state_dict()
            | paths
            | {"best_model_score": score, "best_k_models": {path: score}}
        )
        assert callback.best_model_path == callback.kth_best_model_path == best
        assert callback.best_k_models == {best: score}
        assert callback.last_model_path == ""
