"""``saiki ls`` and ``saiki show``."""

from commands import refused, saiki
from saiki.experiments import HOMES
from saiki.experiments.adder import Adder


def test_ls_has_one_line_for_each_experiment():
    head, *lines = saiki("ls")[1]
    assert head.split()[0] == "takes"
    assert [line.split()[0] for line in lines] == list(HOMES)


def test_show_tells_equations_knobs_presets_and_claims():
    code, out, _ = saiki("show", "adder", "--preset", "report")
    text = "\n".join(out)
    assert code == 0
    assert "h ← σ(W x + U h)\n" in text
    assert "E = Σₜ ½ (yᵗ − sᵗ)²" in text
    values = {line.split()[0]: line.split()[1] for line in out if "; " in line}
    assert (values["learning_rate"], values["bits"], values["bias"]) == ("0.2", "8", "False")
    for words in (*Adder.presets, *(claim.statement for claim in Adder.claims)):
        assert words in text


def test_an_experiment_without_claims_needs_knobs_to_vary():
    line = refused("try", "spoken-digits")
    assert line.endswith("spoken-digits makes no claims; give knobs to vary, such as cell=lstm,gru")
    out = saiki("show", "spoken-digits")[1]
    assert not any("claims" in line for line in out)
    assert any(line.split() == ["good", "as", "the", "knobs", "are"] for line in out)
