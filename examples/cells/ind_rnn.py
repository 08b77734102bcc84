"""A recurrent network whose units remember only themselves."""

import torch

import saiki


class IndRNN(saiki.Cell):
    """Each unit has one recurrent weight, its own (Li et al. 2018, "IndRNN").

    h ← relu(W x + u ∘ h + b)

    With 0 ≤ u ≤ 1 the gradient neither explodes nor changes sign, however long the sequence.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.u = torch.nn.Parameter(torch.rand(hidden_size))

    def step(self, x, h):
        return torch.relu(self.W(x) + self.u * h)
