"""Hooks of a training step that a callback does not override are skipped."""

from typing import Any

import pytest
import torch
from foreign import loader
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LambdaCallback
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier
from mnist_lightning.callbacks.idle_hooks import BATCH_HOOKS, skip_idle_hooks


def test_skips_idle_hooks_and_calls_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class EveryStep(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            calls.append("own hook")

        def on_train_epoch_end(self, *args: Any) -> None:
            calls.append("epoch")

    for hook in BATCH_HOOKS:
        monkeypatch.setattr(Callback, hook, lambda *_, hook=hook: calls.append(hook))
    own = LambdaCallback(on_before_zero_grad=lambda *_: calls.append("lambda"))
    callbacks = [EveryStep(), Callback(), own]
    skip_idle_hooks(callbacks)
    batches = loader(torch.rand(8, 1, 28, 28), torch.randint(10, (8,)))
    trainer = quiet_trainer(max_epochs=1, callbacks=callbacks)
    trainer.fit(MNISTClassifier(), batches, batches)
    assert calls == ["lambda", "own hook", "lambda", "own hook", "epoch"]
