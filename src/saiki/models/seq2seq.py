"""Encoder-decoder models: one sequence of tokens is read, another one is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from saiki.decoding.decode import Ensemble, Hypothesis, Search, decode
from saiki.errors import InputError
from saiki.layers import equations
from saiki.models.decoder import Decoder, DecoderState
from saiki.models.encoder import Bridge, Encoder, end_sizes
from saiki.nn.attention.attention import Attended, Memory
from saiki.nn.attention.choice import MovingBaseline, reinforce_loss
from saiki.saving.pretrained import DescribedModule
from saiki.text import BEGIN, END, MASK, PAD, UNKNOWN, Text


class Written(NamedTuple):
    """What a decoder makes of given targets, at their real steps only, row after row."""

    log_probabilities: Tensor
    """``(steps, vocabulary)``."""
    targets: Tensor
    """``(steps,)``."""
    attended: Attended | None
    """Of all steps, ``(batch, time, …)``."""
    real: Tensor
    """Which steps are real, ``(batch, time)``."""
    best: Tensor | None
    """Log-probabilities of the targets with the most probable choices of a hard attention,
    ``(steps,)``; for a self-critical baseline alone."""
    forced: bool
    """Whether each token before was that of the target."""


Alignment = tuple[tuple[str, ...], tuple[str, ...], Tensor]
"""Source tokens, tokens, and the weights between them."""


@dataclass(frozen=True)
class WrittenText:
    """A text that was written for another one: a translation, or a reply."""

    text: str
    tokens: tuple[str, ...]
    log_probability: float
    """Of its tokens, given the latent variable where there is one."""
    score: float
    finished: bool
    source: tuple[str, ...]
    """Tokens that attention could look at."""
    weights: Tensor | None
    """``(tokens, and the end if finished; source tokens)``, with attention."""

    @property
    def alignment(self) -> Alignment | None:
        """None without attention."""
        if self.weights is None:
            return None
        return self.source, (*self.tokens, *["</s>"] * self.finished), self.weights

    @classmethod
    def of(
        cls, hypothesis: Hypothesis, tokens: Sequence[str], text: Text, source: Sequence[str]
    ) -> Self:
        """From these tokens of a hypothesis."""
        weights = hypothesis.weights
        return cls(
            text.tokeniser.join(tokens),
            tuple(tokens),
            hypothesis.log_probability,
            hypothesis.score,
            hypothesis.finished,
            tuple(source),
            None if weights is None else weights[:, : len(source)].float().cpu(),
        )


def alignments(texts: Iterable[WrittenText]) -> list[Alignment]:
    """Those of all texts.

    Raises:
        InputError: there is no attention.
    """
    maps = [alignment for text in texts if (alignment := text.alignment) is not None]
    if not maps:
        raise InputError("a model without attention has none to draw")
    return maps


class Seq2Seq(DescribedModule, name="seq2seq.v1"):
    """An encoder reads the source, a decoder writes the target.

    Without attention it is the model of Sutskever, Vinyals & Le (2014) and Cho et al. (2014), with
    it that of Bahdanau, Cho & Bengio (2015) and Luong, Pham & Manning (2015).

    ::

        memory, ends = encoder(x)
        s⁰ = bridge(ends)
        p(y | x) = Πₜ p(yᵗ | y¹ … yᵗ⁻¹, x)

    Args:
        encoder: reads.
        decoder: writes.
        baseline: of the rewards where a hard attention learns by REINFORCE: their moving average,
            or, self-critical, the reward of the most probable choices (Rennie et al. 2017, §3).

    Raises:
        InputError: there is no such baseline.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, baseline: str = "moving") -> None:
        super().__init__()
        if baseline not in BASELINES:
            raise InputError(f"baseline must be one of {', '.join(BASELINES)}, got {baseline!r}")
        self.encoder = encoder
        self.decoder = decoder
        self.bridge = Bridge(end_sizes(encoder.recurrent), decoder.state_sizes)
        attention = decoder.attention
        self.draws = attention is not None and attention.choice == "reinforce"
        self.baseline = MovingBaseline() if self.draws and baseline == "moving" else None

    def equations(self) -> str:
        reads = equations.of_layer(self.encoder.recurrent, "E x", "m")
        return f"{reads}\n{self.decoder.equations()}"

    def begin(self, source: Tensor, lengths: Tensor) -> tuple[DecoderState, Memory | None]:
        """The decoder's state before its first token, and what it can look at, from ``source:
        (batch, time)``."""
        memory, ends = self.encoder(source, lengths)
        steps = torch.arange(source.shape[1], device=source.device)
        mask = steps < lengths.to(source.device)[:, None]
        return self.decoder.begin(self.bridge(ends), memory, mask)

    def forward(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Log-probabilities ``(batch, time, vocabulary)`` of what follows each token of ``target``,
        all of which are given (teacher forcing).

        Args:
            source: ``(batch, source)``.
            target: ``(batch, time)``; each row begins with the token BEGIN.
        """
        state, memory = self.begin(source, source_lengths)
        h, attended = self._forced(target, target_lengths, state, memory, 1.0)
        return self._probabilities(h, attended, memory)

    def write(
        self,
        source: Tensor,
        source_lengths: Tensor,
        target: Tensor,
        target_lengths: Tensor,
        teacher_forcing: float = 1.0,
    ) -> Written:
        """What the decoder makes of each real step of the targets.

        Args:
            target: ``(batch, time + 1)``, from BEGIN to END.
            target_lengths: of the rows, with BEGIN and END.
            teacher_forcing: probability that the token before comes from ``target`` and not from
                the decoder itself (scheduled sampling; Bengio et al. 2015).
        """
        state, memory = self.begin(source, source_lengths)
        inputs, wanted = target[:, :-1], target[:, 1:]
        steps = target_lengths.to(target.device) - 1
        real = torch.arange(inputs.shape[1], device=target.device) < steps[:, None]
        best = None
        if self.training and self.draws and self.baseline is None:
            with torch.no_grad():
                h, attended = self._forced(inputs, steps, state, memory, teacher_forcing, best=True)
                best = _of(self._probabilities(h, attended, memory, real), wanted[real])
        h, attended = self._forced(inputs, steps, state, memory, teacher_forcing)
        p = self._probabilities(h, attended, memory, real)
        return Written(p, wanted[real], attended, real, best, teacher_forcing >= 1)

    def _forced(
        self,
        inputs: Tensor,
        steps: Tensor,
        state: DecoderState,
        memory: Memory | None,
        teacher_forcing: float,
        best: bool = False,
    ) -> tuple[Tensor, Attended | None]:
        """The top states at all steps, ``(batch, time, size)``, and what was read."""
        if teacher_forcing >= 1 and self.decoder.whole:
            return self.decoder.run(inputs, steps, state, memory, best)
        tokens = inputs[:, 0]
        tops: list[Tensor] = []
        reads: list[Attended | None] = []
        for t in range(inputs.shape[1]):
            if t:
                tokens = inputs[:, t]
                if teacher_forcing < 1:
                    with torch.no_grad():
                        p = self._probabilities(tops[-1], reads[-1], memory)
                    forced = torch.rand(len(p), device=p.device) < teacher_forcing
                    tokens = torch.where(forced, tokens, _banned(p).argmax(-1))
            h, attended, state = self.decoder.step(tokens, state, memory, best)
            tops.append(h)
            reads.append(attended)
        return torch.stack(tops, 1), _along_time(reads)

    def _probabilities(
        self,
        h: Tensor,
        attended: Attended | None,
        memory: Memory | None,
        real: Tensor | None = None,
    ) -> Tensor:
        """Log-probabilities of the next token; of the steps that are ``real``, if it is given."""
        attention = self.decoder.attention
        if attention is not None and attention.choice == "marginal":
            assert attended is not None
            assert memory is not None
            weights, values = attended.log_probabilities, memory.values[:, None]
            values = values.expand(-1, h[..., 0].numel() // values.shape[0], -1, -1)
            if real is not None:
                return self.decoder.marginal(h[real], weights[real], values[real])
            p = self.decoder.marginal(
                h.flatten(0, -2), weights.flatten(0, -2), values.flatten(0, 1)
            )
            return p.view(*h.shape[:-1], -1)
        context = None if attended is None else attended.context
        if real is not None:
            h, context = h[real], None if context is None else context[real]
        return self.decoder.log_probabilities(h, context)

    def loss(
        self, written: Written, label_smoothing: float = 0.0, entropy_weight: float = 0.01
    ) -> Tensor:
        """The mean cross entropy of the real steps, smoothed (Szegedy et al. 2016, §7).

        Where a hard attention draws positions in training, the loss of REINFORCE is added: the
        reward of a position is the log-probability of what depends on it (Xu et al. 2015, §4.1).

        Args:
            entropy_weight: of the entropy of what positions are drawn from.
        """
        p = written.log_probabilities
        rewards = _of(p, written.targets)
        loss: Tensor = -rewards.mean()
        if label_smoothing:
            loss = (1 - label_smoothing) * loss - label_smoothing * p.mean()
        if self.draws and self.training:
            loss = loss + self._of_choices(written, rewards.detach(), entropy_weight)
        return loss

    def _of_choices(self, written: Written, rewards: Tensor, entropy_weight: float) -> Tensor:
        attended, real = written.attended, written.real
        assert attended is not None
        assert attended.log_choice is not None
        assert attended.entropy is not None

        def whole(of_steps: Tensor) -> Tensor:
            """``(batch, time)``; with what is written later where that depends on a choice too."""
            placed = of_steps.new_zeros(real.shape).masked_scatter(real, of_steps)
            alone = written.forced and not self.decoder.by_step
            return placed if alone else placed.flip(1).cumsum(1).flip(1)

        reward = whole(rewards)
        if self.baseline is None:
            assert written.best is not None
            baseline = whole(written.best)
        else:
            baseline = self.baseline(reward, real)
        entropy = attended.entropy if entropy_weight else None
        return reinforce_loss(attended.log_choice, reward, baseline, entropy, entropy_weight, real)

    def advance(
        self, tokens: Tensor, state: DecoderState, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """One token further while decoding; see :class:`saiki.decoding.state.Advance`."""
        h, attended, new = self.decoder.step(tokens, state, memory, best=True)
        p = self._probabilities(h, attended, memory)
        return p, None if attended is None else attended.weights, new

    @torch.no_grad()
    def decode(
        self,
        source: Tensor,
        lengths: Tensor,
        limits: Sequence[int],
        search: Search,
        *,
        also: Sequence["Seq2Seq"] = (),
        unknown: bool = False,
        prefixes: Sequence[Sequence[int]] | None = None,
        forced: Sequence[Sequence[Sequence[int]]] | None = None,
        keys: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """For each row of ``source`` its best targets, the best first; see
        :func:`saiki.decoding.decode.decode`.

        Args:
            also: further models; the mean of the probabilities of all decides.
            unknown: whether UNKNOWN may be written.
        """
        device = next(self.parameters()).device
        models = (self, *also)
        beginnings = [model.begin(source.to(device), lengths) for model in models]
        states, memories = zip(*beginnings, strict=True)
        return decode(
            Ensemble([model.advance for model in models]) if also else self.advance,
            states if also else states[0],
            memories if also else memories[0],
            limits,
            search,
            begin=BEGIN,
            end=END,
            banned=NEVER_WRITTEN if unknown else (*NEVER_WRITTEN, UNKNOWN),
            prefixes=prefixes,
            forced=forced,
            keys=keys,
            source_lengths=lengths,
        )


NEVER_WRITTEN = (PAD, BEGIN, MASK)
BASELINES = ("moving", "self-critical")


def _of(p: Tensor, targets: Tensor) -> Tensor:
    """The log-probability of each target, ``(steps,)``."""
    return p.gather(1, targets[:, None])[:, 0]


def _banned(p: Tensor) -> Tensor:
    """Log-probabilities without the tokens that a decoder never writes."""
    return p.index_fill(-1, torch.tensor([*NEVER_WRITTEN, UNKNOWN], device=p.device), -torch.inf)


def _along_time(reads: Sequence[Attended | None]) -> Attended | None:
    """What was read at each step, side by side along the second dimension."""
    if reads[0] is None:
        return None
    parts = zip(*reads, strict=True)
    return Attended._make(None if p[0] is None else torch.stack(p, 1) for p in parts)
