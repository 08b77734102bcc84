"""Models in parts, for programs that go on by themselves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.models.decoder import DecoderState
from saiki.models.hred import HRED, VHRED, Context
from saiki.models.seq2seq import NEVER_WRITTEN, Seq2Seq
from saiki.nn.attention.attention import Memory
from saiki.text import SPECIAL, UNKNOWN

Parts = dict[str, tuple[nn.Module, Any]]
"""Parts of a model by their names, each with an example of its arguments."""


class Part(nn.Module):
    """A method of a model as a module of its own, whose arguments keep their names."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model = model
        self.forward = getattr(model, method)


class Reading(nn.Module):
    """From a source to what the decoder looks at and its first state: see :class:`Writing`."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """The memory, three tensors if there is attention, and the state.

        Args:
            source: ``(batch, source)``; the last token of each row is END.
            lengths: ``(batch,)``.
        """
        state, memory = self.model.begin(source, lengths)
        return *(memory or ()), *_leaves(state)


class Hearing(nn.Module):
    """From dialogues to what the decoder looks at and its first state, for a reply to each: see
    :class:`Writing`."""

    def __init__(self, model: HRED) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, turns: Tensor, lengths: Tensor, counts: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The memory, three tensors if there is attention, and the state.

        Args:
            turns: ``(dialogues, turns, time)``; the last token of each turn is END.
            lengths: ``(dialogues, turns)``; of no account where there is no turn.
            counts: turns of each dialogue, ``(dialogues,)``.
            noise: from N(0, 1), ``(dialogues, latent_size)``, where there is a latent variable.
        """
        model, rows = self.model, torch.arange(turns.shape[0], device=turns.device)
        is_turn = torch.arange(turns.shape[1], device=turns.device) < counts[:, None]
        lengths = torch.where(is_turn, lengths, torch.ones_like(turns[..., 0]))
        read, u = model.read(turns.flatten(0, 1), lengths.flatten())
        u, memory = u.unflatten(0, turns.shape[:2]), read.unflatten(0, turns.shape[:2])
        vector = u[rows, counts - 1]
        if model.context is not None and model.norm_of_context is not None:
            y, _ = model.context(u, lengths=counts)
            vector = vector + model.norm_of_context(y[rows, counts - 1])
        reach = model.reach if model.decoder.attention is not None else 1
        seen = counts[:, None] - reach + torch.arange(reach, device=turns.device)
        at = rows[:, None], seen.clamp(min=0)
        real = torch.arange(memory.shape[2], device=turns.device) < lengths[at][..., None]
        mask = real & (seen >= 0)[..., None]
        context, latent = Context(vector, memory[at].flatten(1, 2), mask.flatten(1)), None
        if isinstance(model, VHRED):
            if noise is None:
                raise InputError("a model with a latent variable needs noise to draw it")
            prior = model.prior_of(context)
            latent = prior.at(noise)
        state, looked_at = model.begin(context, latent)
        return *(looked_at or ()), *_leaves(state)


class Writing(nn.Module):
    """One token further.

    Args:
        features: of the keys and values of the memory, if there is attention.
    """

    def __init__(self, model: Seq2Seq | HRED, features: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.features = tuple(features)

    def forward(
        self, token: Tensor, memory: tuple[Tensor, ...], state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Log-probabilities of the next token, ``(batch, vocabulary)``, −∞ for what is no word, and
        the state after it.

        Args:
            token: the last one of each row, ``(batch,)``; BEGIN at first.
            memory: as :class:`Reading` has it; no step changes it.
            state: that of the step before.

        Raises:
            InputError: they are not of equally many rows, or the memory has other features.
        """
        rows, features = token.shape[0], tuple(tensor.shape[2] for tensor in memory[:2])
        if any(tensor.shape[0] != rows for tensor in (*memory, *state)):
            raise InputError(f"memory and state must have the {rows} rows of the tokens")
        if features != self.features:
            raise InputError(f"the memory must have {self.features} features, got {features}")
        decoder, rest = self.model.decoder, iter(state)
        states = tuple(tuple(next(rest) for _ in cell.state_sizes) for cell in decoder.cells)
        fed = next(rest) if decoder.input_feeding else None
        covers = decoder.attention is not None and decoder.attention.coverage
        covered = next(rest) if covers else None
        conditioning = next(rest) if decoder.given_size else None
        before = DecoderState(states, fed, covered, conditioning, next(rest))
        p, _, after = self.model.advance(token, before, Memory(*memory) if memory else None)
        never = torch.tensor([*NEVER_WRITTEN, UNKNOWN], device=p.device)
        return p.index_fill(-1, never, -torch.inf), *_leaves(after)


@torch.no_grad()
def in_two(model: Seq2Seq | HRED, reads: nn.Module, arguments: tuple[Tensor, ...]) -> Parts:
    """What reads and one step of what writes, by an example of what is read."""
    state: tuple[Tensor, ...] = reads(*arguments)
    count = 3 if model.decoder.attention is not None else 0
    writing = Writing(model, [tensor.shape[2] for tensor in state[:count][:2]])
    tokens = arguments[0].flatten(1)[:, 0]
    return {
        "encoder": (reads, arguments),
        "decoder": (writing, (tokens, state[:count], state[count:])),
    }


def parts_of_dialogue(model: HRED) -> Parts:
    """What hears dialogues, and one step of what writes the replies."""
    like, random = model.norm_of_turn.weight, torch.Generator().manual_seed(0)
    turns = torch.randint(len(SPECIAL), (2, 3, 5), generator=random)
    lengths, counts = torch.tensor([[5, 2, 3], [4, 5, 1]]), torch.tensor([3, 2])
    example = tuple(part.to(like.device) for part in (turns, lengths, counts))
    if model.latent_size:
        example += (like.new_zeros(2, model.latent_size),)
    return in_two(model, Hearing(model), example)


def _leaves(state: DecoderState) -> tuple[Tensor, ...]:
    of_layers = (tensor for states in state.states for tensor in states)
    rest = (state.fed, state.covered, state.conditioning, state.position)
    return *of_layers, *(tensor for tensor in rest if tensor is not None)
