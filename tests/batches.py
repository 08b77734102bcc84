"""What an exercise learns from, batch after batch."""

import itertools


def training_batches(experiment, start=0):
    return experiment.data.batches(experiment.seed, start)


def some(experiment, count, start=0):
    return list(itertools.islice(training_batches(experiment, start), count))
