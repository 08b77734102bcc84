"""What a network knows of each column that it forecasts."""

import torch
from torch import Tensor, nn


class ColumnEmbedding(nn.Module):
    """A vector for each column, by its number from 1 on. A column of number 0, which was not
    learned from, has the mean of all of them: a vector of its own would never have been learned.

    Args:
        columns: how many there are.
        size: features of a vector.
    """

    def __init__(self, columns: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, size))

    def forward(self, column: Tensor) -> Tensor:
        """``(rows, size)`` of numbers ``(rows,)``."""
        every = torch.cat((self.weight.mean(0, keepdim=True), self.weight))
        return every[column]
