"""A conversation with the model of a run, turn by turn."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import nn

from saiki.data.text.dialogues import DIALOGUE
from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.files import to_json, write_text
from saiki.knobs import Value
from saiki.prediction import Prediction
from saiki.runs.predict import timed
from saiki.runs.reopen import AS_TRAINED, in_use

COMMANDS = {
    "/again": "other replies to what you said",
    "/2": "it said the second of its replies, and so for any number",
    "/forget": "begin a new conversation",
    "/save FILE": "write this conversation to FILE, .txt or .jsonl",
    "/quit": "end",
}


def chat(
    run: Path, lines: Iterable[str], knobs: Mapping[str, Value] = AS_TRAINED
) -> Iterator[Prediction | str | InputError]:
    """What comes of each line of a conversation, a turn or one of :data:`COMMANDS`: a reply, a
    note, or why there is none. It ends with the lines, or with ``/quit``.

    Args:
        run: its folder.
        lines: each is asked for when what came of the one before has been taken.
        knobs: of :attr:`Experiment.predict_knobs`, where they are to differ from the run's.

    Raises:
        InputError: there is no such run or knob, or its exercise takes no dialogues; or, when it
            comes to that, the lines cannot be read.
    """
    experiment, model = in_use(run, knobs)
    if experiment.takes is not DIALOGUE:
        raise InputError(
            f"{experiment.name} holds no conversation; saiki predict asks its model for single "
            "answers"
        )
    return _outcomes(Conversation(experiment, model), lines)


def _outcomes(
    conversation: "Conversation", lines: Iterable[str]
) -> Iterator[Prediction | str | InputError]:
    for line in lines:
        try:
            outcome = conversation.hear(line.removeprefix("\ufeff"))  # of a file that was piped
        except InputError as error:
            yield error
            continue
        if outcome is None:
            return
        yield outcome


class Conversation:
    """What was said, by both in turn.

    >>> class Echo:  # in place of an experiment
    ...     seed = 0
    ...     def predict_all(self, model, inputs):
    ...         last = inputs[0].splitlines()[-1].upper()
    ...         return [Prediction(text=last, output=last)]
    >>> talk = Conversation(Echo(), None)
    >>> talk.hear("hello").output, talk.turns
    ('HELLO', ['hello', 'HELLO'])
    >>> talk.hear("/forget"), talk.turns
    ('forgotten', [])
    """

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        self.experiment, self.model = experiment, model
        self.turns = list[str]()
        self._replies = list[str]()
        self._in_turn = experiment
        """With the seed of the last reply."""

    def hear(self, line: str) -> Prediction | str | None:
        """What comes of a line: a reply; a note; None to end.

        Raises:
            InputError: there is no such command, or it cannot be followed.
        """
        line = " ".join(line.split())
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return None
        if command == "/forget":
            self.turns.clear()
            return "forgotten"
        if command == "/save":
            return self._save(Path(rest.strip()))
        if command == "/again" or (command[1:].isdecimal() and command.startswith("/")):
            if not self.turns:
                raise InputError("nothing has been said yet")
            if command != "/again":
                return self._choose(int(command[1:]))
            self._in_turn = self._in_turn.changed({"seed": self._in_turn.seed + 1})
            del self.turns[-1]
        elif line.startswith("/"):
            known = ", ".join(COMMANDS)
            raise InputError(f"there is no {command}; there are {known}")
        elif not line:
            raise InputError("say something, or /quit")
        else:
            self._in_turn = self.experiment
            self.turns.append(line)
        return self._reply()

    def _reply(self) -> Prediction:
        [reply] = timed(self._in_turn, self.model, ["\n".join(self.turns)])
        if isinstance(reply, InputError):
            del self.turns[-1]
            raise reply
        alternatives = reply.alternatives or [{"output": reply.output}]
        self._replies = [each["output"] for each in alternatives]
        self.turns.append(reply.output)
        return reply

    def _choose(self, number: int) -> str:
        if not 1 <= number <= len(self._replies):
            raise InputError(f"there are {len(self._replies)} replies, got /{number}")
        self.turns[-1] = self._replies[number - 1]
        return f"it said: {self.turns[-1]}"

    def _save(self, path: Path) -> str:
        if path.suffix not in (".txt", ".jsonl"):
            raise InputError(f"give a name that ends with .txt or .jsonl to save it, got {path}")
        if not self.turns:
            raise InputError("nothing has been said yet")
        text = to_json(self.turns) if path.suffix == ".jsonl" else "\n".join(self.turns)
        write_text(path, text + "\n")
        return f"saved to {path}"
