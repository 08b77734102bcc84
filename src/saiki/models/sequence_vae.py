"""Variational autoencoders of sequences: recurrent layers that read, and others that write."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.decoding.decode import Hypothesis, Search, decode
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack, as_layer
from saiki.models.encoder import Bridge, end_sizes, leaves
from saiki.models.seq2seq import NEVER_WRITTEN
from saiki.nn.latent import Bound, Gaussian
from saiki.nn.pooling import real_steps
from saiki.nn.precision import at_least_float32
from saiki.nn.softmax import log_likelihood
from saiki.saving.pretrained import DescribedModule
from saiki.text.rows import padded
from saiki.text.vocabulary import BEGIN, END, UNKNOWN


class SequenceVAE(DescribedModule, name="sequence_vae.v1"):
    """A sequence of vectors or tokens as one latent vector, and the sequence that it leads back to
    (Bowman et al. 2016, §3, for tokens).

    ::

        q(z | x) = N(μ, σ²),  (μ, ln σ²) = A [the last states of encoder(x)] + a
        y = decoder((x⁰, z), (x¹, z), …) from the states tanh(B z + b),  x⁰ = 0
        vᵗ = V yᵗ + c
        p(xᵗ | x¹ … xᵗ⁻¹, z) = softmax(vᵗ) of tokens, N(vᵗ, s²) of vectors, s learned

    Tokens are numbered as those of a :class:`saiki.text.Vocabulary`, and each row should end with
    END. Without an encoder and a code, what is left is a language model of the same decoder, whose
    ln p is exact: p(xᵗ | x¹ … xᵗ⁻¹).

    >>> import torch
    >>> from saiki.cells import GRU
    >>> model = SequenceVAE(GRU(3, 8), GRU(3 + 2, 8), latent_size=2)
    >>> model.bound(torch.randn(5, 7, 3)).elbo.shape
    torch.Size([5])
    >>> model.sample(4, steps=6).shape
    torch.Size([4, 6, 3])

    Args:
        encoder: a cell or layer that reads as many features as a step has; None without a code.
        decoder: a cell, or layers of one direction, that reads so many and ``latent_size`` more.
        latent_size: numbers of a code; 0 without one.
        vocabulary: tokens that are known; None for vectors. The features of a token are learned.
        word_dropout: share of the steps whose features are hidden from the decoder while training,
            so that it has to ask the code (Bowman et al. 2016, §3.1).
        dropout: share of the features of tokens, and of what the decoder says, set to 0 while
            training.

    Raises:
        InputError: the layers do not fit each other, or the decoder reads in both directions.
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        decoder: nn.Module,
        latent_size: int,
        vocabulary: int | None = None,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder: Layer | None = None if encoder is None else as_layer(encoder)
        self.decoder: Layer = as_layer(decoder)
        if (self.encoder is None) != (latent_size == 0):
            raise InputError(
                f"an encoder goes with a code, and none with a latent_size of 0, got {latent_size}"
            )
        if any(isinstance(m, Bidirectional) for m in self.decoder.modules()):
            raise InputError("the decoder writes step by step, so it cannot read both ways")
        self.features: int = self.decoder.input_size - latent_size
        if self.encoder is not None and self.encoder.input_size != self.features:
            features = self.encoder.input_size
            raise InputError(
                f"the decoder must read the {features} features of a step and {latent_size} of the "
                f"code, together {features + latent_size}, got {self.decoder.input_size}"
            )
        self.latent_size = latent_size
        self.word_dropout = word_dropout
        self.dropout = nn.Dropout(dropout)
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, self.features)
        self.posterior_of = self.start = None
        if self.encoder is not None:
            self.posterior_of = nn.Linear(sum(end_sizes(self.encoder)), 2 * latent_size)
            self.start = Bridge([latent_size], end_sizes(self.decoder))
        self.readout = nn.Linear(self.decoder.output_size, vocabulary or self.features)
        if vocabulary is None:
            self.log_deviation = nn.Parameter(torch.zeros(self.features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ln p(x | μ) of each sequence, ``(batch,)``: how well it comes back from its code."""
        return self.log_likelihood(x, self.posterior(x, lengths).mean[None], lengths)[0]

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z | x) of sequences ``(batch, time)`` of tokens or ``(batch, time, features)``."""
        if self.encoder is None or self.posterior_of is None:
            return Gaussian.standard(self.readout.weight.new_zeros(len(x), 0))
        _, end = self.encoder(self._features(_without_padding(x, lengths)), lengths=lengths)
        return Gaussian.of(self.posterior_of(torch.cat(list(leaves(end)), 1)))

    def log_likelihood(self, x: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ln p(x | z) of codes ``(samples, batch, latent_size)``, summed over the real steps:
        ``(samples, batch)``. What lies beyond the end of a row is never read."""
        samples, batch = z.shape[:2]
        x = _without_padding(x, lengths)
        before = F.pad(self._features(x)[:, :-1], (0, 0, 1, 0))
        if self.training and self.word_dropout:
            hidden = torch.rand(before.shape[:2], device=x.device) < self.word_dropout
            before = before.masked_fill(hidden[..., None], 0)
        # each row is the same in all samples
        every = None if lengths is None else lengths.repeat(samples)
        z = z.flatten(0, 1)
        y, _ = self._write(before.repeat(samples, 1, 1), z, self.begin(z), every)
        real = real_steps(y, every)
        each = self._log_prob(y[real], x.repeat(samples, *[1] * (x.ndim - 1))[real])
        steps = each.new_zeros(real.shape).masked_scatter(real, each)
        likelihood: Tensor = steps.sum(1).unflatten(0, (samples, batch))
        return likelihood

    def bound(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Bound:
        """Of ``samples`` codes drawn for each sequence from its posterior.

        Args:
            x: ``(batch, time)`` of tokens or ``(batch, time, features)``.
            lengths: ``(batch,)``, the steps of each row.
        """
        posterior = self.posterior(x, lengths)
        z = posterior.draw(samples, generator=generator)
        return Bound.of(self.log_likelihood(x, z, lengths), z, posterior)

    @torch.no_grad()
    def write(self, z: Tensor, steps: int, search: Search | None = None) -> Tensor:
        """What codes ``(batch, latent_size)`` lead to.

        Of vectors so many steps, ``(batch, steps, features)``, each the mean, which is read next.
        Of tokens the best hypothesis, ``(batch, time)``, with its END where it came within so many
        steps, and PAD beyond; see :meth:`hypotheses`.
        """
        if self.embedding is not None:
            hypotheses = self.hypotheses(z, [steps] * len(z), search or Search("greedy"))
            rows = padded([[*best.tokens, *[END] * best.finished] for best, *_ in hypotheses])[0]
            return rows.to(z.device)
        x, state, written = z.new_zeros(len(z), self.features), self.begin(z), list[Tensor]()
        for _ in range(steps):
            y, state = self._step(x, z, state)
            x = self.readout(y)
            written.append(x)
        return torch.stack(written, 1)

    def hypotheses(
        self, z: Tensor, limits: Sequence[int], search: Search, **more: Any
    ) -> list[list[Hypothesis]]:
        """Tokens that codes ``(batch, latent_size)`` lead to; see
        :func:`saiki.decoding.decode.decode`.

        Args:
            limits: tokens of each at most, the end not counted.
            more: other arguments of it, such as ``prefixes``.
        """
        banned = (*NEVER_WRITTEN, UNKNOWN)
        how = {"begin": BEGIN, "end": END, "banned": banned, **more}
        return decode(self.advance, self.begin(z), z, limits, search, **how)

    def advance(self, tokens: Tensor, state: Any, z: Tensor) -> tuple[Tensor, None, Any]:
        """One token further: see :class:`saiki.decoding.state.Advance`. Before the first comes
        BEGIN, of which nothing is read.

        Args:
            tokens: of hypotheses, equally many for each code, ``(hypotheses,)``.
            z: ``(batch, latent_size)``.
        """
        before = self._features(tokens).masked_fill((tokens == BEGIN)[:, None], 0)
        if tokens.shape[0] != z.shape[0]:
            z = z.repeat_interleave(tokens.shape[0] // z.shape[0], 0)
        y, state = self._step(before, z, state)
        return at_least_float32(self.readout(y)).log_softmax(-1), None, state

    def sample(
        self,
        count: int,
        steps: int,
        generator: torch.Generator | None = None,
        search: Search | None = None,
    ) -> Tensor:
        """New sequences, of codes drawn from N(0, 1); see :meth:`write`."""
        return self.write(self.codes(count, generator), steps, search)

    def codes(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Drawn from N(0, 1), ``(count, latent_size)``."""
        like = self.readout.weight
        return torch.randn(
            count, self.latent_size, generator=generator, dtype=like.dtype, device=like.device
        )

    def begin(self, z: Tensor) -> Any:
        """The state of the decoder before the first step, of codes ``(batch, latent_size)``."""
        if self.start is None:
            return _initial(self.decoder, z)
        return nested(self.decoder, iter(self.start([z])))

    def encoding(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the codes of sequences, each with END as its last token."""
        posterior = self.posterior(tokens, lengths)
        return posterior.mean, posterior.log_variance

    def start_states(self, code: Tensor) -> tuple[Tensor, ...]:
        """:meth:`begin`, as one tensor after the other."""
        return tuple(leaves(self.begin(code)))

    def next_token(
        self, token: Tensor, state: tuple[Tensor, ...], code: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """:meth:`advance` for programs that decode by themselves: ln p of the next token, ``(batch,
        vocabulary)``, −∞ for what is no word, and the states after it.

        Args:
            token: the last one of each row, ``(batch,)``; BEGIN at first.
            state: that of the step before; at first :meth:`start_states`, and 0 without a code.
            code: ``(batch, latent_size)``, where there is one.
        """
        z = self.readout.weight.new_zeros(token.shape[0], 0) if code is None else code
        p, _, after = self.advance(token, nested(self.decoder, iter(state)), z)
        never = torch.tensor([*NEVER_WRITTEN, UNKNOWN], device=p.device)
        return p.index_fill(-1, never, -torch.inf), *leaves(after)

    def equations(self) -> str:
        says = "N(v, s²)" if self.embedding is None else "softmax(v)"
        writes = equations.of_layer(self.decoder)
        if self.encoder is None:
            return f"from 0 on, x ← the step before:\n{writes}\nv ← V y + c\np(x) = {says}"
        return (
            f"{equations.of_layer(self.encoder)}\nμ, ln σ² ← A [the last states of y] + a\n"
            "z ← μ + σ ε,  ε from N(0, 1)\nthen from tanh(B z + b) on, x ← (the step before, z):\n"
            f"{writes}\nv ← V y + c\np(x) = {says}\nKL = Σ ½ (σ² + μ² − 1 − ln σ²)"
        )

    def _features(self, x: Tensor) -> Tensor:
        """``(…, features)`` of what is read."""
        features: Tensor = x if self.embedding is None else self.dropout(self.embedding(x))
        return features

    def _write(
        self, before: Tensor, z: Tensor, state: Any, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """What the decoder makes of each step, given the one before it, and its state then."""
        if self.latent_size:
            before = torch.cat((before, z[:, None].expand(-1, before.shape[1], -1)), -1)
        y, state = self.decoder(before, state, lengths)
        return self.dropout(y), state

    def _step(self, before: Tensor, z: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The same of one step, ``(batch, features)``."""
        step: tuple[Tensor, Any] = self.decoder.step(torch.cat((before, z), -1), state)
        return step

    def _log_prob(self, y: Tensor, x: Tensor) -> Tensor:
        """ln p of each step, ``(steps,)``, from what the decoder makes of it, ``(steps, size)``."""
        if self.embedding is not None:
            return log_likelihood(y, self.readout.weight, self.readout.bias, x)
        v = self.readout(y)
        scaled = (x - v) * (-self.log_deviation).exp()
        each: Tensor = -0.5 * scaled.square() - self.log_deviation - 0.5 * math.log(2 * math.pi)
        return each.sum(-1)


def _without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The sequences with 0 beyond their end, so that no number there reaches a gradient."""
    if lengths is None:
        return x
    real = real_steps(x, lengths)
    return x.masked_fill(~(real if x.ndim == 2 else real[..., None]), 0)


def nested(layer: nn.Module, states: Iterator[Tensor]) -> Any:
    """States one by one as ``layer`` takes them."""
    if isinstance(layer, Stack):
        return tuple(nested(part, states) for part in layer.layers)
    assert isinstance(layer, Recurrent)
    states_of_layer = tuple(next(states) for _ in layer.cell.state_sizes)
    return states_of_layer if len(states_of_layer) > 1 else states_of_layer[0]


def _initial(layer: nn.Module, z: Tensor) -> Any:
    """The states that ``layer`` begins with by itself, of as many rows as ``z`` has."""
    if isinstance(layer, Stack):
        return tuple(_initial(part, z) for part in layer.layers)
    assert isinstance(layer, Recurrent)
    states_of_layer = layer.start(z, None)
    return states_of_layer if len(states_of_layer) > 1 else states_of_layer[0]
