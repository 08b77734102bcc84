"""Models, one a file."""

from saiki.models.classifier import Convolution, SequenceClassifier

__all__ = ["Convolution", "SequenceClassifier"]
