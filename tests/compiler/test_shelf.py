"""What is compiled is found on disk by another process, and what is not sound there is not used."""

import functools
import hashlib
import os
import subprocess
import sys
import types
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import packaging.version
import pytest
import torch
from torch import nn

from compiler.comparison import draw
from compiler.test_against_eager import ALL
from corpus.outcomes import build, cells
from saiki import Cell, Recurrent, sources
from saiki.activations import CATALOGUE
from saiki.compiler import kernels, pipeline, shelf
from saiki.compiler.cpu import jit
from saiki.compiler.cpu.backend import CPU
from saiki.compiler.cpu.emit import emit
from saiki.compiler.cpu.machine import AVX2, machine
from saiki.compiler.cpu.product import packing
from saiki.compiler.cpu.recording import programs
from saiki.compiler.cpu.recording.recorder import Native
from saiki.compiler.cpu.threads import meeting
from saiki.compiler.trace.graph_file import UnwrittenError, from_text, lasting_key, to_text
from saiki.compiler.trace.record import Source
from saiki.compiler.trust import trial
from saiki.compiler.watch.kinds import Itself
from saiki.compiler.watch.lasting import PassingError, lasting
from saiki.compiler.watch.watch import Watch
from saiki.torch_internals import tree_leaves

pytestmark = pytest.mark.one_in(3)

HERE = Path(__file__)
NAME, OTHER = 64 * "a", 64 * "b"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty shelf."""
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "kernels"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    forget()
    yield tmp_path / "kernels"
    forget()


def forget():
    """Begin as another process does."""
    kernels._STEPS.clear()
    jit._COMPILED.clear()
    packing.cache_clear()
    meeting.cache_clear()


def trained(cell):
    """What a layer computes, and the gradients."""
    torch.manual_seed(0)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, 0.0, 0.3)
    x = draw(3, 4, cell.input_size, dtype=torch.float32).requires_grad_()
    layer = Recurrent(cell, backend="cpu")
    y, _ = layer(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in cell.parameters())]


def assert_equal(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_recording_that_is_there_is_not_written_as_text(folder, monkeypatch):
    x = draw(3, 4)
    work = lambda inputs: [(inputs[0].sin() + 1).sum(1), inputs[0] @ inputs[0].t()]  # noqa: E731
    expected = [tensor.clone() for tensor in Native(work, [x])([x])]
    forget()
    monkeypatch.setattr(programs, "emit_all", None)
    assert_equal(Native(work, [x])([x]), expected)


def refuse(*arguments):
    raise AssertionError("it was there already")


@pytest.mark.parametrize("name", ["lstm", "lstm peephole", "gru", "rnn", "LayerNormGRU"])
def test_another_process_neither_traces_nor_compiles(name, folder, monkeypatch):
    first = trained(ALL[name](3, 5))
    forget()
    monkeypatch.setattr(pipeline, "record", refuse)
    monkeypatch.setattr(jit, "translate", refuse)
    assert_equal(trained(ALL[name](3, 5)), first)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_process_of_its_own_finds_what_another_left(folder):
    code = (
        "import torch, saiki\n"
        "from saiki.cells import GRU\n"
        "from saiki.compiler import pipeline\n"
        "if {again}: pipeline.record = None\n"
        "torch.manual_seed(0); y = saiki.Recurrent(GRU(3, 5), backend='cpu')(torch.ones(2, 4, 3))\n"
        "print(y[0].tolist())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code.format(again=is_second)],
            check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": str(int(is_second))},
        ).stdout
        for is_second in (False, True)
    ]  # fmt: skip
    assert printed[0] == printed[1] != ""


def unsigned(data):
    """What somebody would write who knows everything but the secret: code of his own."""
    content = data[shelf._HEAD :] + b"\0"
    return shelf._MARK + hashlib.sha256(shelf._MARK + content).digest() + content


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:100] + bytes([data[100] ^ 64]) + data[101:],
        lambda data: b"saiki kernel 0\n" + data[15:],
        lambda data: b"\x7fELF",
        unsigned,
    ],
)
def test_a_damaged_file_is_as_good_as_none(damage, folder):
    first = trained(ALL["lstm"](3, 5))
    files = sorted(folder.iterdir())
    whole = [file.read_bytes() for file in files]
    for file, data in zip(files, whole, strict=True):
        file.write_bytes(damage(data))
    forget()
    assert_equal(trained(ALL["lstm"](3, 5)), first)
    assert [file.read_bytes() for file in files] == whole


@pytest.mark.skipif(os.name == "nt", reason="a cache folder there is one user's")
def test_what_another_user_may_have_written_is_not_read(folder, monkeypatch):
    shelf.put("code", NAME, b"content")
    assert shelf.get("code", NAME) == b"content"
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    for mode in (0o646, 0o664):
        (folder / NAME).chmod(mode)
        assert shelf.get("code", NAME) is None
    (folder / NAME).chmod(0o644)
    for mode in (0o777, 0o770):
        for place in (folder, folder.parent):
            before = place.stat().st_mode
            place.chmod(mode)
            assert shelf.get("code", NAME) is None
            shelf.put("code", OTHER, b"content")
            assert not (folder / OTHER).exists()
            place.chmod(before)
    folder.parent.chmod(0o1777)  # as /tmp is: each takes away only what is his own
    assert shelf.get("code", NAME) == b"content"
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert (shelf.get("code", NAME) is None) == (folder.stat().st_uid != 0)


@pytest.mark.skipif(os.name == "nt", reason="links there need a right of their own")
def test_a_link_on_the_way_may_not_lead_through_a_folder_of_others(tmp_path, folder, monkeypatch):
    shelf.put("code", NAME, b"content")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "link").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("open/link")
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "link" / "kernels"))
    assert shelf.get("code", NAME) is None
    (tmp_path / "open").chmod(0o755)
    assert shelf.get("code", NAME) == b"content"
    (tmp_path / "round").symlink_to("round")
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "round"))
    shelf.put("code", NAME, b"content")
    assert shelf.get("code", NAME) is None


def test_what_is_signed_is_name_kind_length_and_content(folder):
    shelf.put("code", NAME, b"content")
    whole = (folder / NAME).read_bytes()
    assert shelf.get("trace", NAME) is None
    (folder / OTHER).write_bytes(whole)
    assert shelf.get("code", OTHER) is None
    for other in (whole + b"\0", whole[:-1], whole.replace(b"content", b"contend")):
        (folder / NAME).write_bytes(other)
        assert shelf.get("code", NAME) is None
    (folder / NAME).write_bytes(whole)
    assert shelf.get("code", NAME) == b"content"


def secret_file(folder):
    return folder.parent / "configuration" / "saiki" / shelf.SECRET


@pytest.mark.skipif(os.name == "nt", reason="folders of configuration there are one user's")
def test_the_secret_is_the_users_alone(folder):
    shelf.put("code", NAME, b"content")
    path = secret_file(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_bytes()
    assert len(first) == shelf.SECRET_SIZE
    shelf.put("code", OTHER, b"content")
    assert path.read_bytes() == first
    for spoil in (
        lambda: path.chmod(0o644),
        lambda: path.write_bytes(b"short"),
        lambda: (path.rename(path.with_name("other")), path.symlink_to("other")),
    ):
        known = path.read_bytes()
        spoil()
        assert shelf.get("code", NAME) is None
        shelf.put("code", NAME, b"content")
        assert path.read_bytes() != known
        assert not path.is_symlink()
        assert shelf.get("code", NAME) == b"content"


def test_without_a_secret_nothing_is_kept_and_all_is_as_ever(folder, monkeypatch):
    path = secret_file(folder)
    path.parents[1].write_bytes(b"a file where a folder should be")
    first = trained(ALL["gru"](3, 5))
    assert [*folder.iterdir()] == []
    path.parents[1].unlink()
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    forget()
    assert_equal(trained(ALL["gru"](3, 5)), first)
    assert [*folder.iterdir()] == [*path.parent.iterdir()] == []

    def homeless(name):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(shelf.platformdirs, "user_config_dir", homeless)
    forget()
    assert_equal(trained(ALL["gru"](3, 5)), first)
    assert [*folder.iterdir()] == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file_is_not_read_and_nobody_waits_for_it(kind, folder):
    shelf.put("code", NAME, b"content")
    path = folder / NAME
    path.rename(folder.parent / "elsewhere")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(folder.parent / "elsewhere")
        case "folder":
            path.mkdir()
    assert shelf.get("code", NAME) is None
    shelf.put("code", NAME, b"more")
    assert shelf.get("code", NAME) == (None if kind == "folder" else b"more")
    assert (folder.parent / "elsewhere").read_bytes().endswith(b"content")


def test_what_is_signed_and_cannot_be_read_is_made_anew(folder, monkeypatch):
    first = trained(ALL["lstm"](3, 5))
    (name,) = (p.name for p in folder.iterdir() if shelf.get("trace", p.name) is not None)
    for text in (b"", b"{", b'{"nodes": 3}', b'{"nodes": [], "trace": {}}', b"\xff"):
        shelf.put("trace", name, text)
        forget()
        assert_equal(trained(ALL["lstm"](3, 5)), first)
    forget()
    for module, made in ((pipeline, "record"), (jit, "translate")):
        monkeypatch.setattr(module, made, refuse)
    assert_equal(trained(ALL["lstm"](3, 5)), first)


def test_without_a_folder_all_is_as_ever(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place in ("", str(tmp_path / "file" / "kernels")):
        monkeypatch.setenv(shelf.VARIABLE, place)
        forget()
        trained(ALL["gru"](3, 5))
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_what_was_used_longest_ago_goes_first_and_nothing_of_others(folder, monkeypatch):
    monkeypatch.setattr(shelf, "MAX_BYTES", 3000)
    names = {letter: 64 * letter for letter in "abcdef"}
    for number, letter in enumerate("abc"):
        shelf.put("code", names[letter], bytes(700))
        os.utime(folder / names[letter], (number, number))
    (folder / "thesis.txt").write_bytes(bytes(5000))
    (folder / names["e"]).write_bytes(bytes(5000))  # a checksum for a name, as others have, too
    (folder / names["f"]).mkdir()
    for other in ("thesis.txt", names["e"], names["f"]):
        os.utime(folder / other, (0, 0))
    assert shelf.get("code", names["a"]) is not None  # used just now
    shelf.put("code", names["d"], bytes(1200))
    shelf.drop(names["e"])
    survivors = {names["a"], names["c"], names["d"], "thesis.txt", names["e"], names["f"]}
    assert {file.name for file in folder.iterdir()} == survivors


def test_a_folder_that_may_only_be_read_is_read(folder, monkeypatch):
    shelf.put("code", NAME, b"content")

    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(os, "utime", refuse)
    assert shelf.get("code", NAME) == b"content"


def test_without_a_home_or_files_of_the_source_nothing_is_kept(monkeypatch):
    def homeless(name):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(shelf.VARIABLE, raising=False)
    monkeypatch.setattr(shelf.platformdirs, "user_cache_dir", homeless)
    forget()
    trained(ALL["gru"](3, 5))
    monkeypatch.setattr(sources.saiki, "__file__", str(HERE / "saiki.zip" / "__init__.py"))
    assert sources.state() != sources.state()


def test_a_kernel_that_proves_wrong_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(trial, "difference", lambda *arguments: "y is off by 1")
    with pytest.warns(UserWarning, match="does not compute what its step does"):
        Recurrent(ALL["gru"](3, 5))(torch.ones(2, 4, 3))
    monkeypatch.undo()
    monkeypatch.setenv(shelf.VARIABLE, str(folder))
    forget()
    traced = []
    own = pipeline.record
    monkeypatch.setattr(pipeline, "record", lambda *arguments: traced.append(1) or own(*arguments))
    Recurrent(ALL["gru"](3, 5), backend="cpu")(torch.ones(2, 4, 3))
    assert traced


class Scaled(Cell):
    """h ← f(s · (W x + U h))"""

    def __init__(self, f=torch.tanh, scale=0.5, size=5):
        super().__init__(3, size)
        self.W, self.U = nn.Linear(3, size), nn.Linear(size, size)
        self.f, self.scale = f, scale

    def step(self, x, h):
        return self.f(self.scale * (self.W(x) + self.U(h)))


def times(factor):
    return lambda u: torch.tanh(factor * u)


def keys(*cells, dtype=torch.float32):
    return [lasting_key(Watch(cell), dtype, 1 << 16) for cell in cells]


def test_whatever_a_step_depends_on_is_in_the_key():
    same = keys(Scaled(), Scaled())
    assert same[0] == same[1] is not None
    other = keys(
        Scaled(), Scaled(scale=0.25), Scaled(size=6), Scaled(torch.sigmoid), Scaled(times(0.5)),
        Scaled(times(0.25)), Scaled(lambda u: torch.tanh(u)), Scaled().eval(),
        Scaled(CATALOGUE["gelu"]), Scaled(CATALOGUE["silu"]), Scaled(nn.LeakyReLU(0.1)),
        Scaled(nn.LeakyReLU(0.2)), Scaled(torch.tanh, 0.5).requires_grad_(False).double(),
    )  # fmt: skip
    other += keys(Scaled(), dtype=torch.float64)
    assert None not in other
    assert len(set(other)) == len(other)


def test_the_same_name_with_another_step_is_another_key():
    def written(body):
        space = {"Cell": Cell, "nn": nn, "torch": torch, "__name__": "a_module"}
        exec(
            "class Own(Cell):\n"
            "  def __init__(self):\n"
            "    super().__init__(3, 5); self.W = nn.Linear(3, 5)\n"
            f"  def step(self, x, h): return torch.tanh(self.W(x) + {body})",
            space,
        )
        return space["Own"]()

    others = written("h"), written("h * h"), written("h * 0.5"), written("h * 0.7")
    assert len(set(keys(*others))) == len(others)
    assert len(set(keys(written("h"), written("h")))) == 1


def test_the_key_names_versions_source_and_processor(monkeypatch):
    surroundings = shelf._surroundings()
    for fact in (torch.__version__, sys.version, jit.binding.get_host_cpu_name()):
        assert fact in surroundings
    source = [fact for fact in surroundings if f"{HERE.stem.removeprefix('test_')}.py " in fact]
    assert len(source) == 1
    assert source[0].split()[1] == str(Path(shelf.__file__).stat().st_size)
    one = shelf.key("a", "b")
    assert one != shelf.key("ab", "") != shelf.key("a", "b", "")
    monkeypatch.setattr(shelf, "_surroundings", lambda: (*surroundings, "more"))
    assert shelf.key("a", "b") != one


def test_code_for_another_processor_is_another_file(folder):
    text = "define void @run(ptr %a, ptr %b, ptr %c, ptr %d, i64 %e, i64 %f, i64 %g, i64 %h) {\n"
    for target in {machine(), AVX2}:
        jit.compile_text(text + "ret void\n}", target)
    assert len([*folder.iterdir()]) == len({machine(), AVX2})


class _Limit:
    """A kind of member with a method, which reads its value."""

    def clamped(self, u):
        return u.clamp(-self.value, self.value)


class Limit(_Limit, Enum):
    STANDARD = 0.5


class Numbers(NamedTuple):
    factor: float

    def scaled(self, u):
        return 2 * self.factor * u


def imports(u):
    from .comparison import TOLERANCE

    return u * TOLERANCE


def test_functions_of_a_package_are_told_apart_by_what_they_hold():
    def made(value, default=1):
        def inner(u, more=default):
            return value * u + more

        inner.__module__ = "torch.somewhere"
        return lasting(Itself(inner))

    assert made(1) == made(1)
    assert len({made(1), made(2), made(1.0), made(1, 2), made(torch.tanh)}) == 5
    with pytest.raises(PassingError):
        made(object())


GATE = """
class Gate:
    def __init__(self):
        self.rate = {rate}

def gated(u):
    return torch.tanh(u) * Gate().rate
"""


def test_the_code_of_what_a_step_makes_is_in_the_key():
    def gated(rate):
        space = {"torch": torch, "__name__": "gates_of_a_test"}
        exec(compile(GATE.format(rate=rate), "gates", "exec"), space)
        subject = Recurrent(Scaled(space["gated"]), backend="cpu")
        subject(torch.ones(2, 4, 3))
        ((known,),) = subject.kernels.known.values()
        return known.compiled.step.key

    first, second, third = gated(0.5), gated(0.5), gated(0.7)
    assert first == second != third
    assert None not in (first, third)


def test_the_value_of_a_member_is_in_the_key():
    def clamped(limit):
        kind = Enum("Kind", {"STANDARD": limit}, module=__name__, type=_Limit)
        return Scaled(kind.STANDARD.clamped)

    first, second, third = keys(clamped(0.5), clamped(0.5), clamped(0.7))
    assert first == second != third
    assert None not in (first, third)


def test_what_has_no_name_that_lasts_is_not_kept():
    cell = Scaled()
    for cell.f in (
        functools.partial(torch.add, torch.Generator()),
        packaging.version.parse,  # of a package whose state nobody knows
        Numbers(0.5).scaled,
        imports,
    ):
        assert keys(cell) == [None], cell.f
    for passing in (
        object(),
        Numbers(0.5),
        Limit.STANDARD,
        Limit,
        torch.Generator(),
        types.SimpleNamespace(),
    ):
        with pytest.raises(PassingError):
            lasting(passing)
    assert lasting((1, 1.0, True, None, "1", b"1")) != lasting((1, 1, 1, None, "1", b"1"))
    assert lasting((("a",), "b")) != lasting(("a", ("b",)))
    assert lasting(frozenset("ab")) == lasting(frozenset("ba"))


SOME = {name: lambda make=make: make(3, 5) for name, make in [*ALL.items()][::3]} | {
    name: lambda kind=kind: build(kind, torch.float64).cell
    for name, kind in [*cells().items()][::12]
}


def layouts(node):
    values = tree_leaves(node.meta.get("val"))
    return [(v.shape, v.stride(), v.dtype) for v in values if v is not None]


@pytest.mark.parametrize("name", SOME)
def test_a_graph_that_was_read_is_planned_like_the_one_that_was_traced(name):
    cell = SOME[name]()
    try:
        trace = pipeline.derive(Source(cell, Watch(cell), torch.float64, CPU.inline_weights))
    except Exception:
        pytest.skip("there is no graph")
    try:
        text = to_text(trace)
    except UnwrittenError:
        assert trace.constants
        return
    read = from_text(text)
    assert str(read.graph) == str(trace.graph)
    for one, other in zip(trace.graph.nodes, read.graph.nodes, strict=True):
        assert (one.stack_trace, one.meta.get("label"), layouts(one)) == (
            other.stack_trace, other.meta.get("label"), layouts(other)
        )  # fmt: skip
    try:
        traced = pipeline.plan_loops(trace)
    except Exception:
        return
    read = pipeline.plan_loops(read)
    assert str(read) == str(traced)
    for part in ("inference", "training", "backward"):
        one, other = (
            emit(getattr(each, part).program, torch.float64, machine()) for each in (traced, read)
        )
        assert one == other
