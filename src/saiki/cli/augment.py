"""``saiki data augment``: a folder of images with changed copies of each."""

from pathlib import Path

from saiki.cli.common import Parser, add_flags, count, new_path
from saiki.errors import InputError
from saiki.terminal import complain, say


def main(words: list[str]) -> int:
    from saiki.data.images.augmentation import Augmentation, read_mixing, read_policy

    knobs = Augmentation.knobs()
    parser = Parser(
        "data augment",
        "Write the images of a folder and changed copies of each into another one, with a table,\n"
        "augmented.csv, of what was done to which file.",
    )
    help = "images, in a subfolder for each class or without any"
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=help)
    help = "changed copies of each image"
    parser.add_argument("--copies", type=count, required=True, metavar="N", help=help)
    help = "folder that is made"
    parser.add_argument("--out", type=new_path, required=True, metavar="DIR", help=help)
    help = "what may be done, as policy.json of a run of augment or of such a folder says it"
    parser.add_argument("--policy", type=Path, metavar="FILE", help=help)
    help = "of what is drawn; that of the policy, or 0, without"
    parser.add_argument("--seed", type=int, metavar="N", help=help)
    help = "stop at a file that cannot be read; it is left out otherwise"
    parser.add_argument("--strict", action="store_true", help=help)
    add_flags(parser, knobs.values())
    options = parser.parse_args(words)
    if not options.folder.is_dir():
        raise InputError(f"{options.folder} is no folder of images")
    if options.policy and not options.policy.exists():
        raise InputError(f"{options.policy} does not exist")
    policy, seed = read_policy(options.policy) if options.policy else (Augmentation(), 0)
    changes = {n: value for n, value in vars(options).items() if n in knobs}
    policy = policy.changed(changes)
    seed = seed if options.seed is None else options.seed
    if not 0 <= seed <= 2**31:
        parser.error(f"seed must be a whole number from 0 to {2**31}, got {seed}")
    if not policy.on:
        parser.error("say what may be done, as in --flip-horizontal 0.5, or by --policy FILE")
    mixing = read_mixing(options.policy).to_dict() if options.policy else {}
    if mixes := [f"{name} {value:g}" for name, value in mixing.items() if value]:
        complain(
            f"saiki data augment: {' and '.join(mixes)} of {options.policy} mix images of a batch, "
            "so copies are made without"
        )
    from saiki import progress
    from saiki.data.images.copies import write_copies
    from saiki.data.skipped import in_words

    with progress.line() as line:
        line.stage = lambda: f"augments {options.folder}"
        settings = policy, options.copies, seed, options.strict
        written, skipped = write_copies(options.folder, options.out, *settings)
    for sentence in in_words(skipped):
        complain(sentence)
    say(f"{written:,} images\n{options.out}")
    return 0
