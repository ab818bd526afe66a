"""Sharpness-aware steps, by hand and in a Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.sam import SharpnessAwareAdamW

OPTIONS: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1}


def test_steps_with_the_gradient_of_the_worst_point_nearby() -> None:
    weights = [nn.Parameter(torch.tensor([3.0, 0.1])), nn.Parameter(torch.tensor([4.0]))]
    twins = [nn.Parameter(one.detach().clone()) for one in weights]
    factors = torch.tensor([1.0, 0.0]), torch.tensor([1.0])
    unused = nn.Parameter(torch.ones(1))  # has no gradient
    optimizer = SharpnessAwareAdamW([*weights, unused], radius=0.5, **OPTIONS)
    plain = torch.optim.AdamW(twins, **OPTIONS)
    at = []

    def closure() -> Tensor:
        at.append(torch.cat([one.detach() for one in weights]))
        optimizer.zero_grad()
        pairs = zip(weights, factors, strict=True)
        loss = sum(((one.square() * factor).sum() for one, factor in pairs), torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(2):
        before = torch.cat([one.detach() for one in weights])
        loss = optimizer.step(closure)
        assert loss.item() == pytest.approx(float(before[0] ** 2 + before[2] ** 2))
        gradient = torch.tensor([2 * before[0], 0.0, 2 * before[2]])
        nearby = before + 0.5 * gradient / gradient.norm()
        torch.testing.assert_close(at[-2], before)
        torch.testing.assert_close(at[-1], nearby)
        twins[0].grad, twins[1].grad = torch.tensor([2 * nearby[0], 0.0]), 2 * nearby[2:]
        plain.step()
        for one, twin in zip(weights, twins, strict=True):
            torch.testing.assert_close(one, twin)


def test_needs_a_closure() -> None:
    with pytest.raises(MisconfigurationException, match="16-mixed precision cannot; take bf16"):
        SharpnessAwareAdamW([nn.Parameter(torch.ones(1))], radius=0.1).step()


def test_a_training_measures_each_image_once_and_is_another(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    weights, losses = [], []
    for radius in (0.0, 0.05):
        torch.manual_seed(0)
        model = MNISTClassifier(sam_radius=radius)
        trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=1, limit_train_batches=1)
        trainer.fit(model, sample)
        losses.append(trainer.callback_metrics["train/loss"])
        weights.append(torch.cat([one.detach().flatten() for one in model.parameters()]))
    assert losses[0] == losses[1]  # that of the weights with which the step began
    changed = not torch.equal(*weights)
    assert changed
    torch.testing.assert_close(*weights, rtol=0, atol=0.0021)  # two steps of Adam apart at most


def test_a_radius_is_checked() -> None:
    with pytest.raises(ValueError, match=r"sam_radius is -0.1; it must be at least 0"):
        MNISTClassifier(sam_radius=-0.1)
