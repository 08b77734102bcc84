"""What sequences of codes are like, and when they end: an autoregressive network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.models.code_network import CodeNetwork
from saiki.nn.pooling import real_steps


class SequenceCodePrior(CodeNetwork, name="sequence_code_prior.v1"):
    """Codes one after the other, each from all before it, until an end, of a class if wanted. Where
    a step has several codes, those of its books come one after the other, too, and the end can
    take the place of the first only.

    x = P[the code before] + A[the code of this book in the step before] [+ B[book]] [+ Y[class]]
    h = recurrent(x),  p(code or end) = softmax(W h + b)

    A sequence has a step at least.

    Args:
        books: codes of each step.
        codes: different ones of a codebook.
        recurrent: layers that read forward, over ``recurrent.input_size`` features.
        classes: how many there are; 0: none is asked for.
    """

    def __init__(self, books: int, codes: int, recurrent: nn.Module, classes: int = 0) -> None:
        above = books if books > 1 else 0
        super().__init__(books, codes, recurrent, classes, above, codes + 1, {}, 0.5)

    def forward(
        self, codes: Tensor, labels: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """The log probabilities of each code or end, given the codes before it, ``(batch,
        steps · books + 1, codes + 1)``; the last number is that of the end.

        Args:
            codes: ``(batch, steps, books)``.
            labels: the number of the class of each sequence, where there are classes.
            lengths: the steps of each row, ``(batch,)``; beyond its end a row says nothing.

        Raises:
            InputError: there are classes and no labels, or the other way round.
        """
        self.check_labels(labels)
        before = F.pad(codes.flatten(1), (0, 1))
        y, _ = self.recurrent(
            self.inputs(before, slice(None), labels),
            lengths=None if lengths is None else lengths * self.books + 1,
        )
        return self._log_probabilities(y, slice(None))

    def nll(
        self, codes: Tensor, labels: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """−ln p of the codes and the end of each sequence, the mean over these, ``(batch,)``."""
        if lengths is None:
            lengths = codes.new_full((len(codes),), codes.shape[1])
        lengths = lengths.to(codes.device)
        log_p, last = self(codes, labels, lengths), lengths * self.books
        real = real_steps(log_p, last + 1)
        # beyond the end some number, of which nothing is counted
        targets = F.pad(codes.flatten(1), (0, 1)).masked_fill(~real, 0)
        targets = targets.scatter(1, last[:, None], self.codes)
        each = log_p.gather(2, targets[..., None]).squeeze(2)
        nll: Tensor = -each.masked_fill(~real, 0).sum(1) / (last + 1)
        return nll

    @torch.no_grad()
    def sample(
        self,
        count: int,
        longest: int,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """New codes, ``(count, steps, books)``, 0 beyond the end of a row, and the steps of each.

        Args:
            longest: steps after which a sequence is cut, where it has not ended.
            labels: of the classes wanted, ``(count,)``, where there are classes.
            temperature: the log probabilities are divided by it.
            generator: of what is drawn; that of PyTorch without.

        Raises:
            InputError: there are classes and no labels, or the other way round.
        """
        self.check_labels(labels)
        device = self.readout.weight.device
        codes = torch.zeros(count, longest * self.books, dtype=torch.long, device=device)
        lengths = torch.full((count,), longest, device=device)
        state = None
        for at in range(longest * self.books):
            here = slice(at, at + 1)
            y, state = self.recurrent(self.inputs(codes, here, labels), state)
            p = (self._log_probabilities(y, here)[:, 0] / temperature).softmax(1)
            code = torch.multinomial(p, 1, generator=generator)[:, 0]
            ends = (code == self.codes) & (lengths == longest)
            lengths = lengths.masked_fill(ends, at // self.books)
            has_ended = lengths * self.books <= at
            codes[:, at] = code.masked_fill(has_ended, 0)
            if has_ended.all():
                break
        return codes.view(count, longest, self.books)[:, : int(lengths.max())], lengths

    def _log_probabilities(self, y: Tensor, at: slice) -> Tensor:
        """Log probabilities from the outputs of some of the places."""
        v: Tensor = self.readout(y)
        first = at.start or 0
        place = torch.arange(first, first + y.shape[1], device=y.device)
        cannot_end = (place % self.books > 0) | (place == 0)
        is_end = torch.arange(self.codes + 1, device=y.device) == self.codes
        return v.masked_fill(cannot_end[:, None] & is_end, -torch.inf).log_softmax(-1)

    def equations(self) -> str:
        above = " + A[code of this book in the step before]" if self.books > 1 else ""
        return self.written(above, "code or end")
