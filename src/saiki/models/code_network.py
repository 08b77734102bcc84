"""What autoregressive networks over codes have in common: what they read, and of which classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.stack import as_layer
from saiki.saving.pretrained import DescribedModule


class CodeNetwork(DescribedModule, name="code_network.v1"):
    """Reads codes one after the other, the books of a place side by side.

    x = P[the code before] [+ A[the code so many before]] [+ its place] [+ B[book]] [+ Y[class]]
    h = recurrent(x),  v = W h + b

    Args:
        books: codes of each place.
        codes: different ones of a codebook.
        recurrent: layers that read forward, over ``recurrent.input_size`` features.
        classes: how many there are; 0: none is asked for.
        above: codes from one to that which is read beside the one before; 0: none is.
        outputs: features of v.
        places: the coordinates of a place by name, and how many values each has.
        deviation: of each number of P, A, B, Y and those of places, so that x has a variance
            of about 1.
    """

    def __init__(
        self,
        books: int,
        codes: int,
        recurrent: nn.Module,
        classes: int,
        above: int,
        outputs: int,
        places: dict[str, int],
        deviation: float,
    ) -> None:
        super().__init__()
        self.books, self.codes, self.classes, self.lag = books, codes, classes, above
        self.recurrent = recurrent = as_layer(recurrent)
        size: int = recurrent.input_size
        self.before = nn.Embedding(books * codes + 1, size)  # the last is that of no code
        self.above = nn.Embedding(books * codes + 1, size) if above else None
        for name, count in places.items():
            setattr(self, name, nn.Embedding(count, size))
        self.book = nn.Embedding(books, size) if books > 1 else None
        self.of_class = nn.Embedding(classes, size) if classes else None
        self.readout = nn.Linear(recurrent.output_size, outputs)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=deviation)

    def inputs(self, codes: Tensor, steps: slice, labels: Tensor | None) -> Tensor:
        """x of some of the steps, ``(batch, steps, size)``, from ``codes: (batch, all steps)``; no
        code of these or later is read."""
        at = torch.arange(codes.shape[1], device=codes.device)
        numbers = codes + at % self.books * self.codes
        x = self.before(self._delayed(numbers, 1)[:, steps])
        if self.above is not None:
            x = x + self.above(self._delayed(numbers, self.lag)[:, steps])
        x = self.placed(x, (at // self.books)[steps])
        if self.book is not None:
            x = x + self.book((at % self.books)[steps])
        if self.of_class is not None:
            x = x + self.of_class(labels)[:, None]
        result: Tensor = x
        return result

    def placed(self, x: Tensor, place: Tensor) -> Tensor:
        """x and what is learned of the place of each step, by its number."""
        return x

    def _delayed(self, numbers: Tensor, lag: int) -> Tensor:
        """Numbers ``(batch, steps)`` so many steps later, and before them that of no code."""
        none = self.before.num_embeddings - 1
        return F.pad(numbers, (lag, 0), value=none)[:, : numbers.shape[1]]

    def check_labels(self, labels: Tensor | None) -> None:
        """Raise :class:`InputError` where there are classes and no labels, or the other way
        round."""
        if (labels is None) == (self.classes > 0):
            raise InputError(
                f"the prior has learned {self.classes} classes; say the label of each example"
                if labels is None
                else "the prior has learned no classes; leave the labels out"
            )

    def written(self, above: str, output: str) -> str:
        """The equations.

        Args:
            above: what is read beside the code before, after a plus.
            output: what the probabilities are of.
        """
        label = " + Y[class]" if self.classes else ""
        book = " + B[book]" if self.book is not None else ""
        layers = equations.of_layer(self.recurrent)
        return f"x ← P[code before]{above}{book}{label}\n{layers}\np({output}) = softmax(W y + b)"
