"""One update of a discriminator with a lazy R1 penalty."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from shared_components.losses.adversarial import discriminator_logistic_loss, r1_penalty


def critic_step(
    optimizer: Optimizer, real: Tensor, real_logits: Tensor, fake_logits: Tensor, penalty: float
) -> dict[str, Tensor]:
    """Tell real from fake better; what is returned is without the penalty.

    Args:
        optimizer: the discriminator's.
        real: images (B, C, H, W), requiring grad where there is a penalty.
        real_logits: of them, (B, 1).
        fake_logits: of made images, (B, 1).
        penalty: what R1 is multiplied by: γ / 2, times the steps between two; 0: none in this step.
    """
    loss = discriminator_logistic_loss(real_logits, fake_logits)
    told = {"discriminator": loss.detach()}
    if penalty:
        loss = loss + r1_penalty(real_logits, real) * penalty
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return told
