"""Variational autoencoders of sequences: recurrent layers that read, and others that write."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack, as_layer
from saiki.models.encoder import Bridge, end_sizes, leaves
from saiki.nn.latent import Bound, Gaussian
from saiki.nn.pooling import real_steps
from saiki.saving.pretrained import DescribedModule


class SequenceVAE(DescribedModule, name="sequence_vae.v1"):
    """A sequence of vectors or tokens as one latent vector, and the sequence that it leads back to
    (Bowman et al. 2016, §3, for tokens).

    ::

        q(z | x) = N(μ, σ²),  (μ, ln σ²) = A [the last states of encoder(x)] + a
        y = decoder((x⁰, z), (x¹, z), …) from the states tanh(B z + b),  x⁰ = 0
        vᵗ = V yᵗ + c
        p(xᵗ | x¹ … xᵗ⁻¹, z) = softmax(vᵗ) of tokens, N(vᵗ, s²) of vectors, s learned

    >>> import torch
    >>> from saiki.cells import GRU
    >>> model = SequenceVAE(GRU(3, 8), GRU(3 + 2, 8), latent_size=2)
    >>> model.bound(torch.randn(5, 7, 3)).elbo.shape
    torch.Size([5])
    >>> model.sample(4, steps=6).shape
    torch.Size([4, 6, 3])

    Args:
        encoder: a cell or layer that reads as many features as a step has.
        decoder: a cell, or layers of one direction, that reads so many and ``latent_size`` more.
        latent_size: numbers of a code.
        vocabulary: tokens that are known; None for vectors. The features of a token are learned.
        word_dropout: share of the steps whose features are hidden from the decoder while training,
            so that it has to ask the code (Bowman et al. 2016, §3.1).

    Raises:
        InputError: the layers do not fit each other, or the decoder reads in both directions.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_size: int,
        vocabulary: int | None = None,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder: Layer = as_layer(encoder)
        self.decoder: Layer = as_layer(decoder)
        features = self.encoder.input_size
        if any(isinstance(m, Bidirectional) for m in self.decoder.modules()):
            raise InputError("the decoder writes step by step, so it cannot read both ways")
        if self.decoder.input_size != features + latent_size:
            raise InputError(
                f"the decoder must read the {features} features of a step and {latent_size} of the "
                f"code, together {features + latent_size}, got {self.decoder.input_size}"
            )
        self.latent_size = latent_size
        self.word_dropout = word_dropout
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, features)
        self.posterior_of = nn.Linear(sum(end_sizes(self.encoder)), 2 * latent_size)
        self.start = Bridge([latent_size], end_sizes(self.decoder))
        self.readout = nn.Linear(self.decoder.output_size, vocabulary or features)
        if vocabulary is None:
            self.log_deviation = nn.Parameter(torch.zeros(features))

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Gaussian:
        """q(z | x) of sequences ``(batch, time)`` of tokens or ``(batch, time, features)``."""
        _, end = self.encoder(self._features(_without_padding(x, lengths)), lengths=lengths)
        return Gaussian.of(self.posterior_of(torch.cat(list(leaves(end)), 1)))

    def log_likelihood(self, x: Tensor, z: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ln p(x | z) of codes ``(samples, batch, latent_size)``, summed over the real steps:
        ``(samples, batch)``. What lies beyond the end of a row is never read."""
        samples, batch = z.shape[:2]
        x = _without_padding(x, lengths)
        features = self._features(x)
        before = F.pad(features[:, :-1], (0, 0, 1, 0))
        if self.training and self.word_dropout:
            hidden = torch.rand(before.shape[:2], device=x.device) < self.word_dropout
            before = before.masked_fill(hidden[..., None], 0)
        # each row is the same in all samples
        every = None if lengths is None else lengths.repeat(samples)
        v, _ = self._write(before.repeat(samples, 1, 1), z.flatten(0, 1), None, every)
        each = self._log_prob(v.unflatten(0, (samples, batch)), x)
        return each.masked_fill(~real_steps(features, lengths), 0).sum(-1)

    def bound(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Bound:
        """Of ``samples`` codes drawn for each sequence from its posterior.

        Args:
            x: ``(batch, time)`` of tokens, of which each row should end with one that says so, or
                ``(batch, time, features)``.
            lengths: ``(batch,)``, the steps of each row.
        """
        posterior = self.posterior(x, lengths)
        z = posterior.draw(samples, generator=generator)
        return Bound.of(self.log_likelihood(x, z, lengths), z, posterior)

    @torch.no_grad()
    def write(self, z: Tensor, steps: int) -> Tensor:
        """So many steps from codes ``(batch, latent_size)``: at each the most probable token,
        ``(batch, steps)``, or the mean, ``(batch, steps, features)``, which it reads next."""
        before = z.new_zeros(len(z), 1, self.encoder.input_size)
        state, written = None, list[Tensor]()
        for _ in range(steps):
            v, state = self._write(before, z, state)
            x = v if self.embedding is None else v.argmax(-1)
            written.append(x)
            before = self._features(x)
        return torch.cat(written, 1)

    def sample(self, count: int, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """New sequences, of codes drawn from N(0, 1)."""
        like = self.readout.weight
        z = torch.randn(
            count, self.latent_size, generator=generator, dtype=like.dtype, device=like.device
        )
        return self.write(z, steps)

    def equations(self) -> str:
        says = "N(v, s²)" if self.embedding is None else "softmax(v)"
        reads, writes = (equations.of_layer(layer) for layer in (self.encoder, self.decoder))
        return (
            f"{reads}\nμ, ln σ² ← A [the last states of y] + a\nz ← μ + σ ε,  ε from N(0, 1)\n"
            f"then from tanh(B z + b) on, x ← (the step before, z):\n{writes}\nv ← V y + c\n"
            f"p(x) = {says}\nKL = Σ ½ (σ² + μ² − 1 − ln σ²)"
        )

    def _features(self, x: Tensor) -> Tensor:
        """``(batch, time, features)`` of what is read."""
        features: Tensor = x if self.embedding is None else self.embedding(x)
        return features

    def _write(
        self, before: Tensor, z: Tensor, state: Any, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """What is said of each step, given the one before it, and the state of the decoder then;
        from the beginning where there is no state yet."""
        if state is None:
            state = _nested(self.decoder, iter(self.start([z])))
        x = torch.cat((before, z[:, None].expand(-1, before.shape[1], -1)), -1)
        y, state = self.decoder(x, state, lengths)
        return self.readout(y), state

    def _log_prob(self, v: Tensor, x: Tensor) -> Tensor:
        """ln p of each step, ``(samples, batch, time)``."""
        if self.embedding is not None:
            at = x.expand(len(v), -1, -1)[..., None]
            return v.log_softmax(-1).gather(-1, at).squeeze(-1)
        scaled = (x - v) * (-self.log_deviation).exp()
        each = -0.5 * scaled.square() - self.log_deviation - 0.5 * math.log(2 * math.pi)
        return each.sum(-1)


def _without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The sequences with 0 beyond their end, so that no number there reaches a gradient."""
    if lengths is None:
        return x
    real = real_steps(x, lengths)
    return x.masked_fill(~(real if x.ndim == 2 else real[..., None]), 0)


def _nested(layer: nn.Module, states: Iterator[Tensor]) -> Any:
    """States one by one as ``layer`` takes them."""
    if isinstance(layer, Stack):
        return tuple(_nested(part, states) for part in layer.layers)
    assert isinstance(layer, Recurrent)
    its = tuple(next(states) for _ in layer.cell.state_sizes)
    return its if len(its) > 1 else its[0]
