"""Attack the compiler with cells that were not written for it.

python tools/attack.py corpus
python tools/attack.py random --count 1000 --seed 0
"""

import argparse

import attack_corpus
import attack_random


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    attacks = parser.add_subparsers(dest="attack", required=True)
    attack_corpus.add(attacks)
    attack_random.add(attacks)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
