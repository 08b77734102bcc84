"""What images of codes look like: an autoregressive network over the raster of codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.models.code_network import CodeNetwork


class CodePrior(CodeNetwork, name="code_prior.v1"):
    """Codes one after the other, row by row from the top, each from all before it (as pixels in van
    den Oord, Kalchbrenner & Kavukcuoglu 2016, §3), of a class if wanted.

    x = P[the code before] + A[the code above] + R[row] + C[column] [+ B[book]] [+ Y[class]]
    h = recurrent(x),  p(code) = softmax(W h + b)

    Args:
        shape: rows, columns, and codes of each place.
        codes: different ones of a codebook.
        recurrent: layers that read forward, over ``recurrent.input_size`` features.
        classes: how many there are; 0: none is asked for.
    """

    row: nn.Embedding
    column: nn.Embedding

    def __init__(
        self, shape: Sequence[int], codes: int, recurrent: nn.Module, classes: int = 0
    ) -> None:
        rows, columns, books = shape
        places = {"row": rows, "column": columns}
        super().__init__(books, codes, recurrent, classes, columns * books, codes, places, 0.4)
        self.shape = tuple(shape)

    @property
    def steps(self) -> int:
        """Codes of an image."""
        rows, columns, books = self.shape
        return rows * columns * books

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """The pre-activations of each code given those before it, ``(batch, steps, codes)``.

        Args:
            codes: ``(batch, rows, columns, books)``.
            labels: the number of the class of each image, where there are classes.

        Raises:
            InputError: there are classes and no labels, or the other way round.
        """
        self.check_labels(labels)
        y, _ = self.recurrent(self.inputs(codes.flatten(1), slice(None), labels))
        v: Tensor = self.readout(y)
        return v

    def nll(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """−ln p of the codes of each image, the mean over its codes, ``(batch,)``."""
        v = self(codes, labels)
        each = F.cross_entropy(v.flatten(0, 1), codes.flatten(), reduction="none")
        return each.view(len(codes), -1).mean(1)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """New codes, ``(count, rows, columns, books)``.

        Args:
            labels: of the classes wanted, ``(count,)``, where there are classes.
            temperature: the pre-activations are divided by it.
            generator: of what is drawn; that of PyTorch without.

        Raises:
            InputError: there are classes and no labels, or the other way round.
        """
        self.check_labels(labels)
        codes = torch.zeros(count, self.steps, dtype=torch.long, device=self.readout.weight.device)
        state = None
        for step in range(self.steps):
            x = self.inputs(codes, slice(step, step + 1), labels)
            y, state = self.recurrent(x, state)
            p = (self.readout(y[:, 0]) / temperature).softmax(1)
            codes[:, step] = torch.multinomial(p, 1, generator=generator)[:, 0]
        return codes.view(count, *self.shape)

    def placed(self, x: Tensor, place: Tensor) -> Tensor:
        columns = self.shape[1]
        result: Tensor = x + self.row(place // columns) + self.column(place % columns)
        return result

    def equations(self) -> str:
        return self.written(" + A[code above] + R[row] + C[column]", "code")
