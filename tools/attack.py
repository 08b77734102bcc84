"""Attack the compiler with cells that were not written for it, and what reads run folders with
forged ones; press Ctrl-C while exercises run.

python tools/attack.py corpus
python tools/attack.py random --count 1000 --seed 0
python tools/attack.py runs --count 500 --seed 0
python tools/attack.py presses --count 300
"""

import argparse

import attack_corpus
import attack_presses
import attack_random
import attack_runs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    attacks = parser.add_subparsers(dest="attack", required=True)
    attack_corpus.add(attacks)
    attack_random.add(attacks)
    attack_runs.add(attacks)
    attack_presses.add(attacks)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
