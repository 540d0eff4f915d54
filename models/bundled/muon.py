"""Muon (Keller Jordan, 2024) for the transformer's matrices; AdamW trains everything else.

Each matrix moves along its momentum with all singular values made about equal: fewer steps than AdamW alone for the
same loss, which is what counts on two cores. torch's own Muon computes in bfloat16, which is slow on most CPUs.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

MATRIX_RATE = 12.0  # times the learning rate: the spectral norm of a matrix's step


def orthogonalise(matrices: torch.Tensor, iterations: int = 4) -> torch.Tensor:
    """(n, rows, columns): every singular value brought near 1 by a quintic Newton-Schulz iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum 0.95 over 2-D parameters; `lr` is on AdamW's scale, so that both can share one."""

    def __init__(self, matrices: list[nn.Parameter]):
        super().__init__(matrices, {"lr": 1e-3})

    @torch.no_grad()
    def step(self) -> None:
        [group] = self.param_groups
        alike = defaultdict(list)
        for matrix in group["params"]:
            alike[matrix.shape].append(matrix)
        for (rows, columns), matrices in alike.items():
            for matrix in matrices:
                self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            momenta = [self.state[matrix]["momentum"] for matrix in matrices]
            gradients = [matrix.grad for matrix in matrices]
            torch._foreach_lerp_(momenta, gradients, 0.05)
            updates = orthogonalise(torch.stack(torch._foreach_lerp(gradients, momenta, 0.95)))
            rate = MATRIX_RATE * group["lr"] * max(1.0, rows / columns) ** 0.5
            torch._foreach_add_(matrices, list(updates.unbind()), alpha=-rate)
