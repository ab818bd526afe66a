"""Sharpness-aware minimization (SAM)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW
from typing_extensions import override


class SharpnessAwareAdamW(AdamW):
    """AdamW with sharpness-aware minimization (SAM; Foret and others, 2021).

    Each step moves the weights along the gradient by ``radius``, computes the gradient at these
    perturbed weights, and applies it to the original weights. This favours flat minima, which
    generalize better, and takes twice the time.

    Args:
        params: The weights.
        radius: Euclidean norm of the perturbation of all weights together.
        **kwargs: Arguments of AdamW.

    Example:
        >>> weight = nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = SharpnessAwareAdamW([weight], radius=0.1, lr=0.01)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = weight.square().sum()
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure)
        tensor(1., grad_fn=<SumBackward0>)
        >>> weight.grad  # at the perturbed weight, 1.1
        tensor([2.2000])
    """

    def __init__(self, params: Iterable[nn.Parameter], radius: float, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.radius = radius
        self.is_perturbed = False
        """Whether the weights are perturbed, as in the second call of the closure."""

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Takes a step and returns the loss at the original weights.

        Args:
            closure: Computes the gradients and returns the loss; it is called twice.

        Raises:
            MisconfigurationException: If there is no closure, as with gradient scaling.
        """
        if closure is None:
            raise MisconfigurationException(
                "sharpness-aware steps compute gradients twice, which 16-mixed precision does not "
                "support; use bf16-mixed or 32-true"
            )
        with torch.enable_grad():
            loss = closure()
        weights = [
            weight
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        originals = [weight.clone() for weight in weights]
        norm = nn.utils.get_total_norm(weight.grad for weight in weights)
        for weight in weights:
            weight.add_(weight.grad * (self.radius / (norm + 1e-12)))
        self.is_perturbed = True
        try:
            with torch.enable_grad():
                closure()
        finally:
            self.is_perturbed = False
            for weight, original in zip(weights, originals, strict=True):
                weight.copy_(original)
        super().step()
        return loss


def is_perturbed(module: LightningModule) -> bool:
    """Returns whether a training step computes the gradients at a neighbour of the weights.

    Args:
        module: The module.

    Raises:
        MisconfigurationException: If gradients are accumulated; Lightning would add those at the
            neighbour to those at the weights.
    """
    try:
        optimizer = module.optimizers(use_pl_optimizer=False)
    except RuntimeError:  # not attached to a Trainer
        return False
    if not isinstance(optimizer, SharpnessAwareAdamW):
        return False
    if module.trainer.accumulate_grad_batches != 1:
        raise MisconfigurationException(
            "sharpness-aware minimization does not support accumulate_grad_batches; choose a "
            "larger batch size instead"
        )
    return optimizer.is_perturbed
