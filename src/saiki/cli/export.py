"""``saiki export``: the trained model for other programs."""

from pathlib import Path

from saiki.cli.common import Parser


def main(words: list[str]) -> int:
    parser = Parser("export", "A trained model as a file for other programs, verified.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the run folder")
    help = (
        "for onnxruntime and others; what translates becomes two files, FILE.encoder.onnx and "
        "FILE.decoder.onnx; needs pip install 'saiki[onnx]'"
    )
    parser.add_argument("--onnx", type=Path, required=True, metavar="FILE", help=help)
    options = parser.parse_args(words)
    from saiki.runs.export import export

    for path in export(options.folder, options.onnx):
        print(path)
    return 0
