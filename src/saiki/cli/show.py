"""``saiki show``: what an experiment is."""

from saiki.cli.common import Parser
from saiki.terminal import say


def main(words: list[str]) -> int:
    parser = Parser("show", "What an experiment computes, its knobs, its presets and its claims.")
    parser.add_argument("name", metavar="NAME", help="an experiment; saiki ls lists them")
    parser.add_argument("--preset", help="the settings whose equations are shown")
    options = parser.parse_args(words)
    from saiki.experiments import load, outlines

    values = outlines.exercise(options.name).preset(options.preset)
    experiment = load(options.name)
    setting = experiment.from_dict(values)
    settings = setting.to_dict()
    doc = " ".join((experiment.__doc__ or "").split())
    say(f"{experiment.name}: {experiment.summary}\n\n{doc}\n\n{setting.equations()}\n\nknobs")
    for knob in experiment.knobs().values():
        value = settings[knob.name]
        say(f"  {knob.name:<18} {value!s:<14} {knob.help}; {knob.allowed}")
    say("\npresets")
    for preset, changes in experiment.presets.items():
        changed = ", ".join(f"{k}={v}" for k, v in changes.items()) or "as the knobs are"
        say(f"  {preset:<18} {changed}")
    if experiment.claims:
        say(f"\nclaims, measured by saiki try {experiment.name}")
    for claim in experiment.claims:
        say(f"  {claim.statement} (preset {claim.preset})")
    return 0
