"""What an exercise learns from, batch after batch."""


def training_batches(experiment, start=0):
    return experiment.data.batches(experiment.seed, start)
