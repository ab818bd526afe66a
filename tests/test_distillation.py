"""The loss of a model with a teacher."""

import pytest
import torch

from mnist_lightning.distillation import distilled


def test_is_the_divergence_at_a_temperature_and_a_tenth_of_the_loss_of_the_labels() -> None:
    torch.manual_seed(0)
    logits, teacher_logits = torch.randn(2, 6, 10, dtype=torch.double)
    said, wanted = (logits / 2).softmax(1), (teacher_logits / 2).softmax(1)
    divergence = (wanted * (wanted / said).log()).sum(dim=1).mean()
    loss = distilled(torch.tensor(5.0), logits, teacher_logits)
    torch.testing.assert_close(loss, 0.9 * 4 * divergence + 0.1 * 5)
    assert float(distilled(torch.tensor(0.0), logits, logits + 5)) == pytest.approx(0, abs=1e-12)


def test_its_gradients_are_about_as_large_as_those_of_the_labels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(64, 10, requires_grad=True)
    labels = torch.randint(10, (64,))
    sure = 12.0 * torch.nn.functional.one_hot(labels, 10)
    cross_entropy = torch.nn.functional.cross_entropy(logits, labels)
    (plain,) = torch.autograd.grad(cross_entropy, logits)
    (taught,) = torch.autograd.grad(distilled(torch.tensor(0.0), logits, sure), logits)
    assert 0.5 < float(taught.norm() / plain.norm()) < 2
