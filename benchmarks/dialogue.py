"""An update of the exercise dialogue, beside the same model on the layers of torch.nn.

An update is forward pass, backward pass, clipping and rule, from the same batches of chitchat in
turn; it is to be twice as fast. The peer has the same encoder, context and decoder
of ``torch.nn.GRU`` or ``LSTM`` with the same sizes, in one call over the packed turns each. It
looks at the same tokens with no gaps between turns, and its loss is ``cross_entropy`` of the real
tokens alone: nothing that is padding costs it an output.
"""

import itertools
from collections.abc import Iterator

import torch
from benchmarks.updates import updates
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from saiki.bench.harness import Row
from saiki.data.text.dialogue_rows import Turns
from saiki.experiments.dialogue.exercise import Conversing
from saiki.models.hred import GAIN
from saiki.text import BEGIN

BATCHES = 4
"""Each repeat does all of them."""


class Peer(nn.Module):
    """HRED as one writes it with PyTorch."""

    def __init__(self, experiment: Conversing, vocabulary: int) -> None:
        super().__init__()
        knobs = experiment.of_dialogue
        layers, size = knobs.recurrent, knobs.recurrent.hidden_size
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[layers.cell]
        embedding = layers.embedding_size
        self.size, self.is_lstm = size, layers.cell == "lstm"
        self.reach = knobs.seen_turns
        self.reads = nn.Embedding(vocabulary, embedding)
        self.writes = nn.Embedding(vocabulary, embedding)
        self.encoder = kind(embedding, size // 2, bidirectional=True, batch_first=True)
        self.summary = nn.Linear((2 if self.is_lstm else 1) * size, size)
        self.context = kind(size, size, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(size), nn.LayerNorm(size)])
        nn.init.constant_(self.norms[1].weight, GAIN)
        self.conditioning = nn.Linear(size, knobs.given_size)
        self.begin = nn.Linear(size, 2 * size) if self.is_lstm else None
        self.decoder = kind(embedding + knobs.given_size, size, batch_first=True)
        self.combine = nn.Linear(2 * size + knobs.given_size, embedding, bias=False)
        self.output = nn.Linear(embedding, vocabulary)
        self.output.weight = self.writes.weight
        self.dropout = nn.Dropout(layers.dropout)

    def forward(self, turns: Turns) -> Tensor:
        drop = self.dropout
        read = drop(self.reads(turns.tokens))
        packed = pack_padded_sequence(read, turns.lengths, True, enforce_sorted=False)
        memory, end = self.encoder(packed)
        ends = torch.cat([*end[0], *end[1]] if self.is_lstm else [*end], -1)
        u = self.norms[0](torch.tanh(self.summary(ends)))
        counts = torch.bincount(turns.dialogue)
        table = u.new_zeros(len(counts), int(counts.max()), self.size)
        table = table.index_put((turns.dialogue, turns.place), drop(u))
        d = drop(u + self.norms[1](self.context(table)[0][turns.dialogue, turns.place]))
        replies = turns.is_reply.nonzero()[:, 0]
        d, lengths = d[replies - 1], turns.lengths[replies]
        wanted = turns.tokens[replies][:, : int(lengths.max())]
        shifted = F.pad(wanted[:, :-1], (1, 0), value=BEGIN)
        g = torch.tanh(self.conditioning(d))[:, None].expand(-1, shifted.shape[1], -1)
        x = torch.cat((drop(self.writes(shifted)), g), -1)
        start = d[None]
        if self.begin is not None:
            first, cell = torch.tanh(self.begin(d)).chunk(2, -1)
            start = first[None].contiguous(), cell[None].contiguous()
        packed = pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.decoder(packed, start)[0], True)
        seen, bias = self.seen(drop(pad_packed_sequence(memory, True)[0]), turns, replies)
        c = torch.softmax(h @ seen.transpose(1, 2) + bias, -1) @ seen
        real = torch.arange(wanted.shape[1]) < lengths[:, None]
        known = torch.cat((c, h, g), -1)[real]
        return F.cross_entropy(self.output(drop(torch.tanh(self.combine(known)))), wanted[real])

    def seen(self, memory: Tensor, turns: Turns, replies: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of the turns before each reply, and −∞ where there is none."""
        real = torch.arange(memory.shape[1]) < turns.lengths[:, None]
        tokens = memory[real]
        ends = turns.lengths.cumsum(0)
        first = replies - turns.place[replies].clamp(max=self.reach)
        rows = pad_sequence(
            [
                torch.arange(ends[a] - turns.lengths[a], ends[b - 1])
                for a, b in zip(first.tolist(), replies.tolist(), strict=True)
            ],
            True, -1,
        )  # fmt: skip
        return F.embedding(rows.clamp(min=0), tokens), torch.where(
            rows[:, None] < 0, -torch.inf, 0.0
        )


def rows(repeats: int = 7, cells: str = "gru,lstm") -> Iterator[Row]:
    for cell in cells.split(","):
        experiment = Conversing.from_dict({"cell": cell})
        batches = [*itertools.islice(experiment.data.batches(experiment.seed), BATCHES)]
        torch.manual_seed(0)
        ours, peer = experiment.model(), Peer(experiment, len(experiment.data.text.vocabulary))

        def loss(batch: tuple[Tensor, ...], peer: Peer = peer) -> Tensor:
            return peer(Turns(*batch[:-1]))

        report = updates(f"dialogue, {cell}", experiment, ours, peer, loss, batches, repeats)
        slow = {"missed": "less than twice as fast"} if report["ratio"]["torch.nn"] < 2 else {}
        yield report | slow
