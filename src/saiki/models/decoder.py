"""What writes: one token after another, looking back at what was read."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.cell import Cell
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.recurrent import Recurrent
from saiki.models.attending import Attending
from saiki.nn.attention import scores, windows
from saiki.nn.attention.attention import Attended, Attention, Memory
from saiki.nn.attention.choice import marginal_log_likelihood
from saiki.nn.precision import at_least_float32
from saiki.nn.softmax import log_likelihood
from saiki.saving.pretrained import DescribedModule


class DecoderState(NamedTuple):
    """What a decoder carries from one token to the next; hypotheses come first in every tensor."""

    states: tuple[tuple[Tensor, ...], ...]
    """Of each layer."""
    fed: Tensor | None
    """The last attentional vector, with input feeding."""
    covered: Tensor | None
    """The sum of all attention weights until now, with coverage."""
    conditioning: Tensor | None
    """What does not change from step to step, ``(hypotheses, given_size)``."""
    position: Tensor
    """The number of tokens written, ``(hypotheses,)``."""


class Decoder(DescribedModule, name="decoder.v1"):
    """Recurrent layers that write tokens (Luong, Pham & Manning 2015, §3).

    With the embedding eᵗ of the token before, the top state hᵗ and what the attention reads, cᵗ::

        hᵗ = layers(eᵗ),   or layers([eᵗ; rᵗ⁻¹]) with input feeding (§3.3)
                           g stands behind eᵗ where one is given at every step
        cᵗ = attention(hᵗ, memory)
        rᵗ = tanh(W [cᵗ; hᵗ]),   or tanh(W [cᵗ; hᵗ; g]) (Cho et al. 2014, appendix A.1.2)
        p(yᵗ) = softmax(E rᵗ + b)

    Without attention rᵗ = tanh(W hᵗ), and all that the decoder knows of the source came over the
    bridge and with g. E is the table of embeddings itself where ``tied`` (Press & Wolf 2017).

    Args:
        vocabulary: tokens it writes.
        embedding_size: features of a token.
        cells: of the layers, the lowest first.
        attention: reads the memory; None for none.
        readout_size: features of r; those of a token where ``tied``.
        dropout: share of features set to zero between layers, of embeddings and of r.
        input_feeding: whether the layers see r of the step before.
        tied: whether the last matrix is the table of embeddings.
        given_size: features of g; 0 is without.

    Raises:
        InputError: sizes do not fit each other.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_size: int,
        cells: Sequence[Cell],
        attention: Attention | None = None,
        readout_size: int | None = None,
        dropout: float = 0.0,
        input_feeding: bool = False,
        tied: bool = True,
        given_size: int = 0,
    ) -> None:
        super().__init__()
        readout_size = embedding_size if readout_size is None else readout_size
        if tied and readout_size != embedding_size:
            raise InputError(
                f"with tied embeddings the readout has the {embedding_size} features of a token, "
                f"got {readout_size}"
            )
        size = embedding_size + given_size + (readout_size if input_feeding else 0)
        for cell in cells:
            if cell.input_size != size:
                raise InputError(
                    f"a cell of the decoder takes {cell.input_size} features and is given {size}"
                )
            size = cell.state_sizes[0]
        if not cells or (attention is not None and attention.query_size != size):
            raise InputError(
                f"the decoder needs at least one cell, and an attention with queries of the size "
                f"of its top state, {size}"
            )
        self.layers = nn.ModuleList(Recurrent(cell) for cell in cells)
        self.attention = attention
        self.input_feeding = input_feeding
        self.readout_size = readout_size
        self.given_size = given_size
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        context_size = 0 if attention is None else attention.memory_size
        self.combine = nn.Linear(context_size + size + given_size, readout_size, bias=False)
        self.output = nn.Linear(readout_size, vocabulary)
        if tied:
            self.output.weight = self.embedding.weight
        self.dropout = nn.Dropout(dropout)

    def equations(self) -> str:
        """From the token before to the probabilities of the next one; m is the memory."""
        g, c = ["g"] * bool(self.given_size), ["c"] * (self.attention is not None)
        sees = _together("E yᵗ⁻¹", *g, *["rᵗ⁻¹"] * self.input_feeding)
        lines = [equations.of_layers(list(self.layers), sees, "h")]
        if self.attention is not None:
            lines.append(self.attention.equations())
        lines.append(f"r = tanh(W {_together(*c, 'h', *g)})")
        tied = self.output.weight is self.embedding.weight
        lines.append(f"p(y) = softmax({'E' if tied else 'U'} r + b)")
        return "\n".join(lines)

    @property
    def cells(self) -> list[Cell]:
        """Of the layers, the lowest first."""
        return [cast(Recurrent, layer).cell for layer in self.layers]

    @property
    def state_sizes(self) -> list[int]:
        """Of all cells."""
        return [size for cell in self.cells for size in cell.state_sizes]

    @property
    def by_step(self) -> bool:
        """Whether a step needs what the attention read in the step before."""
        covers = self.attention is not None and self.attention.coverage
        return self.input_feeding or covers

    @property
    def whole(self) -> bool:
        """Whether :meth:`run` takes all steps of a given target at once: where none needs what
        another one read, or where all of it are the equations of one cell, :class:`Attending`."""
        attention = self.attention
        return not self.by_step or (
            attention is not None
            and attention.choice == "soft"
            and attention.heads == 1
            and not attention.coverage
            and isinstance(attention.score, scores.Additive | scores.Dot)
            and isinstance(attention.window, windows.Global)
        )

    def begin(
        self,
        states: Sequence[Tensor],
        memory: Tensor,
        mask: Tensor,
        conditioning: Tensor | None = None,
    ) -> tuple[DecoderState, Memory | None]:
        """Before the first token: the state, and the memory as the attention reads it.

        Args:
            states: of all layers, ``(batch, size)`` each, as ``state_sizes`` counts them.
            memory: ``(batch, source, memory_size)``.
            mask: ``(batch, source)``, true where a position is real.
            conditioning: ``(batch, given_size)``, where that is not 0.
        """
        rows = memory.shape[0]
        rest = iter(states)
        of_layers = tuple(tuple(next(rest) for _ in cell.state_sizes) for cell in self.cells)
        attention = self.attention
        fed = memory.new_zeros(rows, self.readout_size) if self.input_feeding else None
        covered = None
        if attention is not None and attention.coverage:
            covered = memory.new_zeros(mask.shape)
        prepared = None if attention is None else attention.prepare(memory, mask)
        position = torch.zeros(rows, dtype=torch.long, device=memory.device)
        return DecoderState(of_layers, fed, covered, conditioning, position), prepared

    def embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.embedding(tokens))
        return embedded

    def step(
        self, tokens: Tensor, state: DecoderState, memory: Memory | None, best: bool = False
    ) -> tuple[Tensor, Attended | None, DecoderState]:
        """One token further: what :meth:`readout` takes, the top state and g, ``(hypotheses,
        size)``, what was read, and the new state.

        Args:
            tokens: ``(hypotheses,)``, the last ones; those of a row of the memory, equally many
                for each, stand side by side.
            best: whether a hard attention takes its most probable position and draws none.
        """
        x = _with_conditioning(self.embed(tokens), state.conditioning)
        if state.fed is not None:
            x = torch.cat((x, state.fed), -1)
        states: list[tuple[Tensor, ...]] = []
        for i, (cell, states_of_layer) in enumerate(zip(self.cells, state.states, strict=True)):
            states.append(cell(self.dropout(x) if i else x, *states_of_layer))
            x = states[-1][0]
        top = _with_conditioning(x, state.conditioning)
        attended, covered, fed = None, state.covered, None
        if self.attention is not None:
            assert memory is not None

            rows = memory.mask.shape[0]
            seen = None if covered is None else covered.view(rows, -1, covered.shape[1])
            attention = self.attention(
                x.view(rows, -1, x.shape[1]), memory, state.position.view(rows, -1), seen, best
            )
            attended = Attended._make(p if p is None else p.flatten(0, 1) for p in attention)
            if covered is not None:
                covered = covered + attended.weights
        if self.input_feeding:
            fed = self.readout(top, None if attended is None else attended.context)
        new = DecoderState(tuple(states), fed, covered, state.conditioning, state.position + 1)
        return top, attended, new

    def run(
        self,
        tokens: Tensor,
        lengths: Tensor | None,
        state: DecoderState,
        memory: Memory | None,
        best: bool = False,
    ) -> tuple[Tensor, Attended | None]:
        """All steps at once, where the decoder is ``whole``.

        Args:
            tokens: ``(batch, time)``, each the one before the one to be written.
            lengths: ``(batch,)``.
            best: as for :meth:`step`.

        Returns:
            What :meth:`readout` takes, the top states and g, ``(batch, time, size)``, and what was
            read at each.
        """
        conditioning = (
            None
            if state.conditioning is None
            else state.conditioning[:, None].expand(-1, tokens.shape[1], -1)
        )
        x = _with_conditioning(self.embed(tokens), conditioning)
        attended = None
        if state.fed is not None:
            assert memory is not None
            x, attended = self._run_fed(x, lengths, state, state.fed, memory)
        else:
            for i, (layer, states_of_layer) in enumerate(
                zip(self.layers, state.states, strict=True)
            ):
                x, _ = layer(self.dropout(x) if i else x, states_of_layer, lengths)
            if self.attention is not None:
                assert memory is not None
                attended = self.attention(x, memory, best=best)
        return _with_conditioning(x, conditioning), attended

    def _run_fed(
        self,
        x: Tensor,
        lengths: Tensor | None,
        state: DecoderState,
        fed: Tensor,
        memory: Memory,
    ) -> tuple[Tensor, Attended]:
        """:meth:`run` with input feeding: attention inside the recurrence."""
        assert self.attention is not None
        drops = self.training and self.dropout.p > 0
        if drops:
            sizes = [self.readout_size, *(cell.state_sizes[0] for cell in self.cells[:-1])]
            factors = (self.dropout(x.new_ones(*x.shape[:2], size)) for size in sizes)
            x = torch.cat((x, *factors), -1)
        layers = self.__dict__.setdefault("_fed", {})  # they have no parameters of their own
        if drops not in layers:
            size = memory.keys.shape[-1]
            with torch.autocast(x.device.type, enabled=False):  # its first step is in float32
                parts = self.cells, self.attention.score, self.combine
                cell = Attending(*parts, size, drops, self.given_size)
                layers[drops] = Recurrent(cell)
        *lower, top = state.states
        bias = torch.where(memory.mask, 0.0, -torch.inf).to(memory.keys)
        h, _ = layers[drops](
            x,
            (*top, *(s for states_of_layer in lower for s in states_of_layer), fed),
            lengths,
            memory={"keys": memory.keys, "values": memory.values, "mask": bias},
        )
        return h, self.attention(h, memory)

    def readout(self, h: Tensor, context: Tensor | None) -> Tensor:
        """r of top states, with g where it is given, and of what was read there, ``(…, size)``
        each."""
        both = h if context is None else torch.cat((context, h), -1)
        r: Tensor = self.dropout(torch.tanh(self.combine(both)))
        return r

    def log_probabilities(self, h: Tensor, context: Tensor | None) -> Tensor:
        """Of each token of the vocabulary, ``(…, vocabulary)``."""
        return F.log_softmax(at_least_float32(self.output(self.readout(h, context))), -1)

    def log_likelihood(self, h: Tensor, context: Tensor | None, tokens: Tensor) -> Tensor:
        """Of one token in each row, ``(rows,)``."""
        r, output = self.readout(h, context), self.output
        return log_likelihood(r, output.weight, output.bias, tokens)

    def marginal(self, h: Tensor, log_weights: Tensor, values: Tensor) -> Tensor:
        """``log Σᵢ pᵢ p(y | valueᵢ)`` of each token: the exact mean over all choices of a position.

        Args:
            h: ``(rows, size)``.
            log_weights: log p, ``(rows, source)``.
            values: ``(rows, source, memory_size)``.
        """
        each = h[:, None].expand(-1, values.shape[1], -1)
        p = self.log_probabilities(each, values)
        return marginal_log_likelihood(log_weights[:, None], p.transpose(1, 2))


def _with_conditioning(features: Tensor, conditioning: Tensor | None) -> Tensor:
    return features if conditioning is None else torch.cat((features, conditioning), -1)


def _together(*names: str) -> str:
    return f"[{'; '.join(names)}]" if names[1:] else names[0]
