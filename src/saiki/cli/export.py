"""``saiki export``: the trained model for other programs."""

from pathlib import Path

from saiki.cli.common import Parser, new_path
from saiki.terminal import complain, say


def main(words: list[str]) -> int:
    parser = Parser("export", "A trained model as a file for other programs, verified.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = (
        "for onnxruntime and others; what translates becomes two files, FILE.encoder.onnx and "
        "FILE.decoder.onnx; needs pip install 'saiki[onnx]'"
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--onnx", type=new_path, metavar="FILE", help=help)
    help = (
        "the vectors of a run of words, as the name ends: .txt and .bin of word2vec, .vec of "
        "fastText, or .safetensors, which alone holds counts and n-grams"
    )
    kind.add_argument("--vectors", type=new_path, metavar="FILE", help=help)
    options = parser.parse_args(words)
    from saiki.runs.folder import RunFolder

    RunFolder.open(options.folder)  # before PyTorch is loaded
    from saiki.runs.export import export, export_vectors

    if options.vectors:
        path, remark = export_vectors(options.folder, options.vectors)
        if remark:
            complain(f"saiki export: {remark}")
        say(path)
        return 0
    for path in export(options.folder, options.onnx):
        say(path)
    return 0
