"""How far a training is, and when it will end."""

from time import monotonic

from saiki.progress import Rate, duration
from saiki.runs.record import Say
from saiki.training import Training

KNOWN_AFTER = 10.0
"""Seconds after which it is known how long a training takes."""
LONG = 3600.0
"""Seconds that a person is told of."""


class Outlook:
    """Of one training, from where it goes on.

    Args:
        say: told once how long it will take, where that is more than an hour.
    """

    def __init__(self, training: Training, say: Say | None) -> None:
        self.training = training
        self.say = say
        self.rate = Rate()
        self.begun = monotonic()
        self.begun_at = training.step

    def line(self) -> str:
        """For the line that is rewritten."""
        training, last = self.training, self.training.experiment.iterations
        words = f"iteration {training.step:,} of {last:,}"
        rate = self.rate.of(training.step)
        if rate is None:
            return words
        left = duration((last - training.step) / rate)
        return f"{words}  loss {training.loss:.4g}  {rate:.3g} a second  {left} left"

    def tell(self) -> None:
        """After an iteration: say how long it will take, once that is known."""
        seconds = monotonic() - self.begun
        if self.say is None or seconds < KNOWN_AFTER:
            return
        done = self.training.step - self.begun_at
        left = seconds / done * (self.training.experiment.iterations - self.training.step)
        if left > LONG:
            self.say(f"this will take about {duration(left)}; Ctrl-C pauses it")
        self.say = None
