"""Vectors of columns, and what stands for a column that is new."""

import torch

from saiki.nn.column_embedding import ColumnEmbedding


def test_a_new_column_has_the_mean_of_those_that_were_learned():
    embedding = ColumnEmbedding(3, 4)
    vectors = embedding(torch.tensor([2, 0, 3, 1]))
    torch.testing.assert_close(vectors[[3, 0, 2]], embedding.weight)
    torch.testing.assert_close(vectors[1], embedding.weight.mean(0))
    alone = ColumnEmbedding(1, 4)
    torch.testing.assert_close(alone(torch.tensor([0])), alone(torch.tensor([1])))
