"""Learning from the answers of a better model (Hinton, Vinyals and Dean, 2015)."""

from torch import Tensor
from torch.nn import functional

TEMPERATURE = 2.0  # makes answers less certain, so that what is second and third counts too
TEACHERS_SHARE = 0.9  # of the loss; the rest is that of the labels


def distilled(loss: Tensor, logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Returns a loss that is less that of the labels than the distance from a teacher.

    Args:
        loss: The cross-entropy of the labels, in nats, a scalar.
        logits: ``(N, num_classes)``.
        teacher_logits: ``(N, num_classes)``.

    Returns:
        A weighted mean of ``loss`` and the mean Kullback-Leibler divergence from the teacher at a
        temperature, times its square, which makes the gradients of both about as large.
    """
    divergence = functional.kl_div(
        (logits / TEMPERATURE).log_softmax(dim=1),
        (teacher_logits / TEMPERATURE).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return TEACHERS_SHARE * TEMPERATURE**2 * divergence + (1 - TEACHERS_SHARE) * loss
