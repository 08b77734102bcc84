"""A conversation with a trained model, turn by turn."""

from pathlib import Path
from typing import Any

from torch import nn

from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.files import to_json, write_text

COMMANDS = {
    "/again": "other replies to what you said",
    "/2": "it said the second of its replies, and so for any number",
    "/forget": "begin a new conversation",
    "/save FILE": "write this conversation to FILE, .txt or .jsonl",
    "/quit": "end",
}


class Conversation:
    """What was said, by both in turn.

    >>> class Echo:  # in place of an experiment
    ...     seed = 0
    ...     def predict(self, model, text):
    ...         return {"output": text.splitlines()[-1].upper()}
    >>> talk = Conversation(Echo(), None)
    >>> talk.hear("hello")["output"], talk.turns
    ('HELLO', ['hello', 'HELLO'])
    >>> talk.hear("/forget"), talk.turns
    ('forgotten', [])
    """

    def __init__(self, experiment: Experiment, model: nn.Module) -> None:
        self.experiment, self.model = experiment, model
        self.turns = list[str]()
        self._replies = list[str]()
        self._asked = experiment

    def hear(self, line: str) -> dict[str, Any] | str | None:
        """What comes of a line: an answer, as ``predict`` gives it; a note; None to end.

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
            self._asked = self._asked.changed({"seed": self._asked.seed + 1})
            del self.turns[-1]
        elif line.startswith("/"):
            known = ", ".join(COMMANDS)
            raise InputError(f"there is no {command}; there are {known}")
        elif not line:
            raise InputError("say something, or /quit")
        else:
            self._asked = self.experiment
            self.turns.append(line)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self._asked.predict(self.model, "\n".join(self.turns))
        except InputError:
            del self.turns[-1]
            raise
        its = answer.get("alternatives", [answer])
        self._replies = [reply["output"] for reply in its]
        self.turns.append(answer["output"])
        return answer

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
