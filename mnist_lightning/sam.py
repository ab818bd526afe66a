"""Training towards weights around which the loss is low too."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim import AdamW
from typing_extensions import override


class SharpnessAwareAdamW(AdamW):
    """AdamW with the gradients of the worst point nearby (SAM; Foret and others, 2021).

    Each step climbs from the weights along the gradient, takes the gradient there and goes back
    before it descends, so it costs twice as much. In return it avoids minima so narrow that other
    images fall out of them.

    Args:
        params: The weights.
        radius: How far each step climbs, in the Euclidean distance of all weights together.
        **kwargs: Those of AdamW.

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
        >>> weight.grad  # of 1.1
        tensor([2.2000])
    """

    def __init__(self, params: Iterable[nn.Parameter], radius: float, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.radius = radius
        self.climbed = False
        """Whether the closure is run for the gradient of the worst point nearby."""

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Takes a step; returns the loss at the weights themselves.

        Args:
            closure: Sets the gradients anew and returns the loss; it is run twice.

        Raises:
            MisconfigurationException: If there is no closure, as with gradients that are scaled.
        """
        if closure is None:
            raise MisconfigurationException(
                "sharpness-aware steps compute gradients twice, which 16-mixed precision cannot; "
                "take bf16-mixed or 32-true"
            )
        with torch.enable_grad():
            loss = closure()
        weights = [
            one for group in self.param_groups for one in group["params"] if one.grad is not None
        ]
        before = [one.clone() for one in weights]
        length = nn.utils.get_total_norm(one.grad for one in weights)
        for one in weights:
            one.add_(one.grad * (self.radius / (length + 1e-12)))
        self.climbed = True
        try:
            with torch.enable_grad():
                closure()
        finally:
            self.climbed = False
            for one, weight in zip(weights, before, strict=True):
                one.copy_(weight)
        super().step()
        return loss
