"""The probe beside the same problem solved by scikit-learn."""

import pytest
import torch

from saiki.metrics.linear_probe import linear_probe


def test_it_is_the_logistic_regression_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = torch.Generator().manual_seed(0)
    x = torch.randn(120, 5, generator=random, dtype=torch.float64)
    labels = (x @ torch.randn(5, 3, generator=random, dtype=torch.float64)).argmax(1)
    x = x * torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0]) + 3
    weight, bias = linear_probe(x, labels, 3, decay=0.05)
    scaled = (x - x.mean(0)) / x.std(0, correction=0)
    theirs = linear_model.LogisticRegression(C=1 / (0.05 * 120), tol=1e-10, max_iter=1000)
    theirs.fit(scaled.numpy(), labels.numpy())
    p = (x @ weight.T + bias).softmax(1)
    assert torch.allclose(p, torch.from_numpy(theirs.predict_proba(scaled.numpy())), atol=2e-3)


def test_a_feature_that_never_changes_and_a_class_that_never_comes_are_no_trouble():
    x = torch.cat([torch.randn(30, 2), torch.ones(30, 1)], 1)
    weight, bias = linear_probe(x, (x[:, 0] > 0).long(), 4)
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()
