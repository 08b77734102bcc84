"""Dialogue: what is said next, by all that was said before."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.data.text.dialogue_rows import Turns
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.models.decoder import Decoder, DecoderState
from saiki.models.encoder import Bridge, Encoder, end_sizes
from saiki.nn.attention.attention import Attended, Memory
from saiki.nn.latent import Gaussian
from saiki.saving.pretrained import DescribedModule
from saiki.text.vocabulary import BEGIN, UNKNOWN


class Context(NamedTuple):
    """What is known before a reply, a row for each."""

    vector: Tensor
    """d, ``(replies, size)``."""
    memory: Tensor
    """What attention can look at, ``(replies, positions, features)``."""
    mask: Tensor
    """Where there is something, ``(replies, positions)``."""


class Replies(NamedTuple):
    """How replies are told by a model, a row for each."""

    log_probabilities: Tensor
    """ln p(reply | …), ``(draws, replies)``."""
    lengths: Tensor
    """Tokens of each, with END, ``(replies,)``."""
    divergence: Tensor
    """KL(q ‖ p) of each latent unit, ``(replies, units)``; no units without latent variables."""
    code: Tensor
    """The mean of q, ``(replies, units)``."""
    log_ratio: Tensor
    """ln p(v | d) − ln q(v | d, reply), ``(draws, replies)``."""
    of_words: Tensor
    """ln p of each of its words from d and v alone, summed, ``(replies,)``; 0 without."""
    attended: Attended | None


class HRED(DescribedModule, name="hred.v1"):
    """A hierarchical recurrent encoder-decoder (Sordoni et al. 2015; Serban et al. 2016): one RNN
    reads each turn, another one the turns, and a third one writes the reply.

    ::

        uₙ = norm(tanh(W encoder(turnₙ))),   or of the last state where the sizes are the same
        dₙ = uₙ + norm(context(u₁ … uₙ))
        p(turnₙ₊₁) = decoder(dₙ)

    The norms (Ba, Kiros & Hinton 2016) are not in the papers; without them little of what was said
    some turns before comes through at first, and is learned late. d is where the decoder begins,
    and is given to it at every step. Without ``context``, d = u, it is an encoder-decoder that has
    forgotten all but the turn before.

    Args:
        encoder: reads a turn.
        decoder: writes one; it is given the ``size`` features of d, and those of v where there are
            latent variables.
        context: reads the turns, of ``size`` features, into as many.
        size: features of u and d.
        reach: turns before that an attention of the decoder looks at.

    Raises:
        InputError: sizes do not fit each other.
    """

    latent_size = 0

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        context: Recurrent | None,
        size: int,
        reach: int = 1,
    ) -> None:
        super().__init__()
        if context is not None and (context.input_size, context.output_size) != (size, size):
            raise InputError(
                f"the context has {size} features, and its layer takes {context.input_size} and "
                f"gives {context.output_size}"
            )
        if reach < 1:
            raise InputError(f"reach must be at least 1, got {reach}")
        self.encoder, self.decoder, self.context = encoder, decoder, context
        self.size, self.reach = size, reach
        self.summary = Bridge(end_sizes(encoder.recurrent), [size])
        self.norm_of_turn = nn.LayerNorm(size)
        self.norm_of_context = None if context is None else nn.LayerNorm(size)
        self._begin_from(size)

    def _begin_from(self, size: int) -> None:
        if self.decoder.given_size != size:
            raise InputError(
                f"the decoder is given {self.decoder.given_size} features at every step, and there "
                f"are {size}"
            )
        self.bridge = Bridge([size], self.decoder.state_sizes)

    def equations(self) -> str:
        lines = [
            equations.of_layer(self.encoder.recurrent, "E x", "m"),
            "u = norm(tanh(W [m]ᴱᴺᴰ + b))",
        ]
        if self.context is None:
            lines.append("d = u")
        else:
            lines += [equations.of_layer(self.context, "u", "k"), "d = u + norm(k)"]
        return "\n".join([*lines, *self._of_latent(), self.decoder.equations()])

    def _of_latent(self) -> list[str]:
        return ["g = d"]

    def read(self, turns: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The memory of each turn, ``(turns, time, features)``, and u, ``(turns, size)``."""
        memory, ends = self.encoder(turns, lengths)
        return memory, self.norm_of_turn(self.summary(ends)[0])

    def follow(self, u: Tensor, dialogue: Tensor, place: Tensor) -> Tensor:
        """d after each turn, ``(turns, size)``."""
        if self.context is None or self.norm_of_context is None:
            return u
        counts = torch.bincount(dialogue)
        table = u.new_zeros(len(counts), int(counts.max()), self.size)
        y, _ = self.context(table.index_put((dialogue, place), u), lengths=counts)
        followed: Tensor = u + self.norm_of_context(y[dialogue, place])
        return followed

    def contexts(self, turns: Turns, last: Tensor) -> tuple[Context, Tensor]:
        """What is known once these turns have been said, and u of all turns.

        Args:
            last: the rows of these turns.
        """
        memory, u = self.read(turns.tokens, turns.lengths)
        vectors = self.follow(u, turns.dialogue, turns.place)
        reach = self.reach if self.decoder.attention is not None else 1
        back = torch.arange(reach, device=last.device)
        rows = (last[:, None] - back).clamp(min=0)
        steps = torch.arange(memory.shape[1], device=last.device)
        is_there = back <= turns.place[last][:, None]
        mask = (steps < turns.lengths.to(last.device)[rows][..., None]) & is_there[..., None]
        return Context(vectors[last], memory[rows].flatten(1, 2), mask.flatten(1)), u

    def begin(
        self, context: Context, latent: Tensor | None = None
    ) -> tuple[DecoderState, Memory | None]:
        """The decoder's state before its first token, and what it can look at."""
        parts = [context.vector, *([] if latent is None else [latent])]
        given = torch.cat(parts, -1)
        return self.decoder.begin(self.bridge([given]), context.memory, context.mask, given)

    def forward(self, turns: Turns, draws: int = 1, drop: float = 0.0) -> Replies:
        """How the replies among ``turns`` are told, each with those before it.

        Args:
            draws: of the latent variable of each reply.
            drop: share of words that the decoder is not shown of what it has to write (Bowman et
                al. 2016, §3.2).
        """
        replies = turns.written.nonzero()[:, 0]
        context, u = self.contexts(turns, replies - 1)
        return self._tell(turns, replies, context, u[replies], draws, drop)

    def _tell(
        self, turns: Turns, replies: Tensor, context: Context, u: Tensor, draws: int, drop: float
    ) -> Replies:
        p, attended = self._written(turns, replies, context, None, drop)
        none = p.new_zeros(len(p), 0)
        return Replies(
            p[None], self._steps(turns, replies), none, none, p.new_zeros(1, len(p)),
            p.new_zeros(len(p)), attended,
        )  # fmt: skip

    def _steps(self, turns: Turns, replies: Tensor) -> Tensor:
        return turns.lengths.to(replies.device)[replies]

    def _written(
        self,
        turns: Turns,
        replies: Tensor,
        context: Context,
        latent: Tensor | None,
        drop: float,
    ) -> tuple[Tensor, Attended | None]:
        """ln p of each reply, ``(replies,)``, and what was read."""
        lengths = self._steps(turns, replies)
        wanted = turns.tokens[replies][:, : int(lengths.max())]
        given = F.pad(wanted[:, :-1], (1, 0), value=BEGIN)
        if drop:
            dropped = torch.rand(given.shape, device=given.device) < drop
            given = given.masked_fill(dropped & (given != BEGIN), UNKNOWN)
        state, memory = self.begin(context, latent)
        if not self.decoder.whole:
            raise InputError("a dialogue is written by a decoder that takes all steps at once")
        h, attended = self.decoder.run(given, lengths, state, memory)
        real = torch.arange(wanted.shape[1], device=wanted.device) < lengths[:, None]
        read = None if attended is None else attended.context[real]
        p = self.decoder.log_probabilities(h[real], read)
        each = p.gather(1, wanted[real][:, None])[:, 0]
        return each.new_zeros(real.shape).masked_scatter(real, each).sum(1), attended

    def advance(
        self, tokens: Tensor, state: DecoderState, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """One token further while decoding; see :class:`saiki.decoding.search.Advance`."""
        h, attended, new = self.decoder.step(tokens, state, memory, best=True)
        read = None if attended is None else attended.context
        weights = None if attended is None else attended.weights
        return self.decoder.log_probabilities(h, read), weights, new


class VHRED(HRED, name="vhred.v1"):
    """HRED with a latent variable for each reply (Serban et al. 2017), so that there is more than
    one thing to say.

    ::

        p(v | dₙ) = N(μ, σ²),            (μ, ln σ²) = prior(dₙ)
        q(v | dₙ, uₙ₊₁) = N(μ′, σ′²),    (μ′, ln σ′²) = posterior([dₙ; uₙ₊₁])
        ln p(turnₙ₊₁) ≥ E ln p(turnₙ₊₁ | dₙ, v) − KL(q ‖ p),   v from q

    Args:
        encoder, decoder, context, size, reach: see :class:`HRED`.
        latent_size: units of v.
        hidden_size: units between d and what is said of v.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        context: Recurrent | None,
        size: int,
        latent_size: int,
        hidden_size: int,
        reach: int = 1,
    ) -> None:
        self.latent_size = latent_size
        super().__init__(encoder, decoder, context, size, reach)
        self.prior = _two_layers(size, hidden_size, 2 * latent_size)
        self.posterior = _two_layers(2 * size, hidden_size, 2 * latent_size)
        self.words = _two_layers(size + latent_size, hidden_size, decoder.embedding.num_embeddings)

    def _begin_from(self, size: int) -> None:
        super()._begin_from(size + self.latent_size)

    def _of_latent(self) -> list[str]:
        return [
            "v ∼ N(μ, σ²), (μ, ln σ²) = prior(d)",
            "while it learns: (μ, ln σ²) = posterior([d; u of the reply])",
            "g = [d; v]",
        ]

    def prior_of(self, context: Context) -> Gaussian:
        """p(v | d) of each reply."""
        return Gaussian.of(self.prior(context.vector))

    def _tell(
        self, turns: Turns, replies: Tensor, context: Context, u: Tensor, draws: int, drop: float
    ) -> Replies:
        prior = self.prior_of(context)
        posterior = Gaussian.of(self.posterior(torch.cat((context.vector, u), -1)))
        v = posterior.draw(draws)
        told = [self._written(turns, replies, context, one, drop) for one in v]
        words = F.log_softmax(self.words(torch.cat((context.vector, v[0]), -1)), -1)
        lengths = self._steps(turns, replies)
        wanted = turns.tokens[replies]
        real = torch.arange(wanted.shape[1], device=wanted.device) < lengths[:, None]
        return Replies(
            torch.stack([p for p, _ in told]),
            lengths,
            posterior.divergence(prior),
            posterior.mean,
            prior.log_density(v) - posterior.log_density(v),
            words.gather(1, wanted).masked_fill(~real, 0.0).sum(1),
            told[0][1],
        )


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
