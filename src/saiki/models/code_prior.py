"""What images of codes look like: an autoregressive network over the raster of codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.stack import as_layer
from saiki.saving.pretrained import DescribedModule


class CodePrior(DescribedModule, name="code_prior.v1"):
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

    def __init__(
        self, shape: Sequence[int], codes: int, recurrent: nn.Module, classes: int = 0
    ) -> None:
        super().__init__()
        self.shape = rows, columns, books = tuple(shape)
        self.codes, self.classes = codes, classes
        self.recurrent = recurrent = as_layer(recurrent)
        size: int = recurrent.input_size
        self.before = nn.Embedding(books * codes + 1, size)  # the last is that of no code
        self.above = nn.Embedding(books * codes + 1, size)
        self.row = nn.Embedding(rows, size)
        self.column = nn.Embedding(columns, size)
        self.book = nn.Embedding(books, size) if books > 1 else None
        self.of_class = nn.Embedding(classes, size) if classes else None
        self.readout = nn.Linear(recurrent.output_size, codes)
        for module in self.modules():
            if isinstance(module, nn.Embedding):  # the sum of all has a variance of about 1
                nn.init.normal_(module.weight, std=0.4)

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
        check_labels(self.classes, labels)
        y, _ = self.recurrent(self._inputs(codes.flatten(1), slice(None), labels))
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
        check_labels(self.classes, labels)
        codes = torch.zeros(count, self.steps, dtype=torch.long, device=self.readout.weight.device)
        state = None
        for step in range(self.steps):
            x = self._inputs(codes, slice(step, step + 1), labels)
            y, state = self.recurrent(x, state)
            p = (self.readout(y[:, 0]) / temperature).softmax(1)
            codes[:, step] = torch.multinomial(p, 1, generator=generator)[:, 0]
        return codes.view(count, *self.shape)

    def _inputs(self, codes: Tensor, steps: slice, labels: Tensor | None) -> Tensor:
        """``(batch, steps, size)`` for some of the steps; no code of these or later is read."""
        _, columns, books = self.shape
        at = torch.arange(self.steps, device=codes.device)
        book = at % books
        numbers = codes + book * self.codes
        # the code before each, and the one in the same place of the row above
        none = self.before.num_embeddings - 1
        lags = 1, columns * books
        before, above = (delayed(numbers, lag, none)[:, steps] for lag in lags)
        place = (at // books)[steps]
        x = self.before(before) + self.above(above)
        x = x + self.row(place // columns) + self.column(place % columns)
        if self.book is not None:
            x = x + self.book(book[steps])
        if self.of_class is not None:
            x = x + self.of_class(labels)[:, None]
        result: Tensor = x
        return result

    def equations(self) -> str:
        label = " + Y[class]" if self.classes else ""
        book = " + B[book]" if self.book is not None else ""
        read = f"x ← P[code before] + A[code above] + R[row] + C[column]{book}{label}"
        layers = equations.of_layer(self.recurrent)
        return f"{read}\n{layers}\np(code) = softmax(W y + b)"


def check_labels(classes: int, labels: Tensor | None) -> None:
    """Raise :class:`InputError` where a prior has learned classes and there are no labels, or the
    other way round."""
    if (labels is None) == (classes > 0):
        raise InputError(
            f"the prior has learned {classes} classes; say the label of each example"
            if labels is None
            else "the prior has learned no classes; leave the labels out"
        )


def delayed(numbers: Tensor, lag: int, none: int) -> Tensor:
    """Numbers ``(batch, steps)`` so many steps later, and before them ``none``, that of no code."""
    return F.pad(numbers, (lag, 0), value=none)[:, : numbers.shape[1]]
