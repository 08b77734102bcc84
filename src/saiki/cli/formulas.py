"""Formulas of TeX as one can write them in a line of text: ``h_{t-1}`` is hₜ₋₁."""

import re

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ", "Omega": "Ω",
}  # fmt: skip
SIGNS = {
    "odot": "∘", "cdot": "·", "times": "×", "partial": "∂", "sum": "Σ", "prod": "Π", "le": "≤",
    "ge": "≥", "ne": "≠", "approx": "≈", "propto": "∝", "sim": "∼", "in": "∈", "to": "→",
    "leftarrow": "←", "infty": "∞", "top": "ᵀ", "ldots": "…", "cdots": "⋯", "mid": "|",
    "lVert": "‖\0", "rVert": "\0‖", "lvert": "|\0", "rvert": "\0|",
    "quad": "    ", "prime": "′", "pm": "±", "ell": "ℓ",
    "left": "", "right": "", "colon": ":",
}  # fmt: skip
NAMES = ["ln", "exp", "tanh", "max", "min"]
MARKS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "overrightarrow": "\u20d7",
         "overleftarrow": "\u20d6"}  # fmt: skip
"""What is put above a letter."""
AS_IT_IS = ["text", "mathrm", "mathbf", "mathcal"]
MACROS = {*GREEK, *SIGNS, *NAMES, *MARKS, *AS_IT_IS, "frac", "sqrt", "begin", "end"}
"""Those that are known; of others the name is left."""

_RAISED = str.maketrans(
    "0123456789+-−=()abcdeghijklmnoprstuvwxyzTN", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᴺ"
)
_LOWERED = str.maketrans("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_CLOSE = re.compile(r"([(∂]) | (?=\))|\0 ?| ?\0")
"""Spaces that TeX leaves out; \\0 marks the inner side of the bars of a norm."""
_OPERATOR = re.compile(r"[\s+−=/]")


def in_a_line(formula: str) -> str:
    """The formula as text, a line for each of its own.

    >>> in_a_line(r"\\frac{\\partial E}{\\partial U} = \\sum_{t=1}^{T} \\delta_t h_{t-1}^\\top")
    '∂E / ∂U = Σₜ₌₁ᵀ δₜ hₜ₋₁ᵀ'
    >>> in_a_line(r"f_t = \\sigma(W_f x_t)")
    'fₜ = σ(W_f xₜ)'
    """
    written = _Reader(formula).read()
    lines = (" ".join(line.split()) for line in written.split("\n"))
    return "\n".join(_CLOSE.sub(r"\1", line) for line in lines if line)


class _Reader:
    def __init__(self, formula: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(formula)

    def read(self, end: str = "") -> str:
        """All up to a token, which is taken too."""
        parts = list[str]()
        while self.tokens:
            if self.tokens[0] == end:
                self.tokens.pop(0)
                break
            parts.append(self._next())
        return "".join(parts)

    def _next(self) -> str:
        token = self.tokens.pop(0)
        if token == "{":
            return self.read("}")
        if token in "^_":
            return _placed(self._argument(), token)
        if token.isspace():
            return " "
        if not token.startswith("\\"):
            return {"&": "", "-": "−", "'": "′", "*": "∗"}.get(token, token)
        return self._macro(token[1:])

    def _argument(self) -> str:
        while self.tokens and self.tokens[0].isspace():
            self.tokens.pop(0)
        return self._next() if self.tokens else ""

    def _macro(self, name: str) -> str:
        if name == "\\":
            return "\n"
        if name in ("begin", "end"):
            self._argument()
            return ""
        if name == "frac":
            above, below = self._argument(), self._argument()
            if (above, below) == ("1", "2"):
                return "½"
            between = "/" if len(above) == len(below) == 1 else " / "
            return f"{_whole(above)}{between}{_whole(below)}"
        if name == "sqrt":
            return f"√{_whole(self._argument())}"
        if name in MARKS:
            return f"{self._argument()}{MARKS[name]}"
        if name in AS_IT_IS:
            return self._argument()
        if not name.isalpha():  # a space of some width, or a brace
            return name if name in "{}|%#_" else " " if name in ",;: " else ""
        return GREEK.get(name, SIGNS.get(name, name))


def _whole(part: str) -> str:
    """A part of a formula that stays together."""
    part = _CLOSE.sub(r"\1", part).strip()
    return f"({part})" if _OPERATOR.search(part) else part


def _placed(part: str, where: str) -> str:
    """Above or below the line, if there are letters for it."""
    part = part.strip()
    table = _RAISED if where == "^" else _LOWERED
    if part in ("ᵀ", "′"):
        return part
    if all(ord(letter) in table for letter in part):
        return part.translate(table)
    return f"{where}{part}" if len(part) == 1 else f"{where}({part})"
