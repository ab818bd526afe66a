"""Sharpness-aware steps, alone and in a Trainer."""

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


def test_steps_with_the_gradient_at_the_perturbed_weights() -> None:
    weights = [nn.Parameter(torch.tensor([3.0, 0.1])), nn.Parameter(torch.tensor([4.0]))]
    adamw_weights = [nn.Parameter(weight.detach().clone()) for weight in weights]
    factors = torch.tensor([1.0, 0.0]), torch.tensor([1.0])
    unused = nn.Parameter(torch.ones(1))  # has no gradient
    optimizer = SharpnessAwareAdamW([*weights, unused], radius=0.5, **OPTIONS)
    adamw = torch.optim.AdamW(adamw_weights, **OPTIONS)
    calls: list[tuple[Tensor, bool]] = []

    def closure() -> Tensor:
        calls.append((torch.cat([weight.detach() for weight in weights]), optimizer.is_perturbed))
        optimizer.zero_grad()
        pairs = zip(weights, factors, strict=True)
        loss = sum(((weight.square() * factor).sum() for weight, factor in pairs), torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(2):
        calls.clear()
        original = torch.cat([weight.detach() for weight in weights])
        loss = optimizer.step(closure)
        assert loss.item() == pytest.approx(float(original[0] ** 2 + original[2] ** 2))
        gradient = torch.tensor([2 * original[0], 0.0, 2 * original[2]])
        perturbed = original + 0.5 * gradient / gradient.norm()
        assert [is_perturbed for _, is_perturbed in calls] == [False, True]
        torch.testing.assert_close(calls[0][0], original)
        torch.testing.assert_close(calls[1][0], perturbed)
        adamw_weights[0].grad = torch.tensor([2 * perturbed[0], 0.0])
        adamw_weights[1].grad = 2 * perturbed[2:]
        adamw.step()
        for weight, expected in zip(weights, adamw_weights, strict=True):
            torch.testing.assert_close(weight, expected)


def test_an_error_in_the_closure_restores_the_weights() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = SharpnessAwareAdamW([weight], radius=0.5)

    def closure() -> Tensor:
        if optimizer.is_perturbed:
            raise KeyboardInterrupt
        loss = weight.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert torch.equal(weight, torch.ones(3))
    assert not optimizer.is_perturbed


def test_needs_a_closure() -> None:
    message = "16-mixed precision does not support; use bf16-mixed or 32-true"
    with pytest.raises(MisconfigurationException, match=message):
        SharpnessAwareAdamW([nn.Parameter(torch.ones(1))], radius=0.1).step()


def test_training_with_it_measures_each_image_once_and_changes_the_weights(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    weights, losses = [], []
    for radius in (0.0, 0.05):
        torch.manual_seed(0)
        model = MNISTClassifier(sam_radius=radius)
        trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=1, limit_train_batches=1)
        trainer.fit(model, sample)
        losses.append(trainer.callback_metrics["train/loss"])
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert losses[0] == losses[1]  # the loss of the original weights
    assert not torch.equal(weights[0], weights[1])
    torch.testing.assert_close(*weights, rtol=0, atol=0.0021)  # at most two steps of Adam apart


def test_rejects_a_negative_radius() -> None:
    with pytest.raises(ValueError, match=r"sam_radius is -0.1; it must be at least 0"):
        MNISTClassifier(sam_radius=-0.1)


def test_step_without_a_trainer_returns_the_loss() -> None:
    model = MNISTClassifier(sam_radius=0.05)
    with pytest.warns(UserWarning, match="is not registered on"):
        loss = model.training_step((torch.rand(2, 1, 28, 28), torch.tensor([1, 2])))
    assert loss.requires_grad
