import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import located_yaml
from isp_sim.located_yaml import parse

plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="ascii"), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), inner, max_size=4),
    ),
    max_leaves=20,
)


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-4", 1e-4),  # a string in YAML 1.1
            ("1.0e-4", 1e-4),
            ("no", "no"),  # False in YAML 1.1
            ("yes", "yes"),
            ("on", "on"),
            ("off", "off"),
            ("true", True),
            ("False", False),
            ("12:30", "12:30"),  # 750 in YAML 1.1
            ("017", 17),  # 15 in YAML 1.1
            ("0o17", 15),
            ("0x1F", 31),
            ("1", 1),
            ("1.0", 1.0),
            ("-.5", -0.5),
            ("~", None),
            ("null", None),
            ("", None),
            ("'1'", "1"),
            (".inf", math.inf),
        ],
    )
    def test_yaml_1_2(self, text, value):
        document = parse(f"key: {text}\n")
        assert not document.faults
        assert document.data == {"key": value}
        assert type(document.data["key"]) is type(value)

    @given(plain)
    def test_json_is_yaml(self, value):
        document = parse(json.dumps(value))
        assert not document.faults
        assert document.data == value

    def test_an_empty_document(self):
        for text in ("", "# nothing\n", "---\n"):
            assert parse(text).data is None
            assert not parse(text).faults

    def test_an_alias_repeats_a_value(self):
        document = parse("a: &shared [1, 2]\nb: *shared\n")
        assert document.data == {"a": [1, 2], "b": [1, 2]}
        assert not document.faults


class TestLines:
    TEXT = """\
# comment
version: 1
stages:
  - mosaic:
      cfa: RGGB

  - jpeg: {quality: {randint: [10,
      30]}}
"""

    def test_every_value_has_its_line(self):
        document = parse(self.TEXT)
        for path, line in {
            ("version",): 2,
            ("stages",): 3,
            ("stages", 0): 4,
            ("stages", 0, "mosaic"): 4,
            ("stages", 0, "mosaic", "cfa"): 5,
            ("stages", 1): 7,
            ("stages", 1, "jpeg", "quality", "randint", 0): 7,
            ("stages", 1, "jpeg", "quality", "randint", 1): 8,
        }.items():
            assert document.line(path) == line

    def test_what_is_not_there_has_the_line_of_its_nearest_parent(self):
        document = parse(self.TEXT)
        assert document.line(("stages", 0, "mosaic", "missing")) == 4
        assert document.line(("stages", 7)) == 3
        assert document.line(("missing",)) == document.line(()) == 2

    @given(plain)
    def test_no_path_is_without_a_line(self, value):
        document = parse(json.dumps(value, indent=1))

        def paths(node, path):
            yield path
            items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, inner in items:
                yield from paths(inner, (*path, key))

        lines = json.dumps(value, indent=1).count("\n") + 1
        for path in paths(value, ()):
            assert 1 <= document.lines[path] <= lines


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("a: 1\nb: [1, 2\n", 3, "not YAML"),
            ("a: 1\n\tb: 2\n", 2, "not YAML"),
            ("a: *missing\n", 1, "missing"),
            ("a: 1\n---\nb: 2\n", 2, "another document"),
            ("a: 1\nb: 2\na: 3\n", 3, "'a' appears twice; the first is in line 1"),
            ("x:\n  a: 1\n  a: 2\n", 3, "'a' appears twice; the first is in line 2"),
            ("a: 1\n3: 4\n", 2, "a key must be a word; found 3"),
            ("a: 1\n[b]: 4\n", 2, "a key must be a plain word"),
            ("a: 1\nb: 2001-01-01\n", 2, "timestamp"),
            ("a: 1\nb: !!python/object:os.system ls\n", 2, "python/object"),
            ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "python/object"),
            ("a: 1\nb: !!python/object/new:os.system {a: b}\n", 2, "python/object"),
            ("a: 1\nb: !mine 3\n", 2, "!mine"),
            ("a: 1\nb: !mine [3]\n", 2, "!mine"),
            ("a: 1\nb: !!set {3, 4}\n", 2, "set"),
            ("a: 1\nb: !!binary aGVsbG8=\n", 2, "binary"),
            ("a: 1\nb: !!int ''\n", 2, "can't be read"),
            ("a: 1\nb: !!float x\n", 2, "can't be read"),
            ("a: 1\nb: 1" + "0" * 400 + "\n", 2, "64 bits"),
            ("a: 1\nb: 0x" + "f" * 5000 + "\n", 2, "64 bits"),
            ("a: 1\nb: " + "9" * 5000 + "\n", 2, "can't be read"),
        ],
    )
    def test_each_with_its_line(self, text, line, message):
        document = parse(text)
        assert document.faults
        found, reason = document.faults[0]
        assert message in reason
        assert found == line

    def test_all_at_once(self):
        document = parse("a: 1\na: 2\nb: !x 1\n3: 1\nc: 4\n")
        assert [line for line, _ in document.faults] == [2, 3, 4]
        assert document.data == {"a": 1, "b": None, "c": 4}

    def test_bytes_that_are_no_text(self):
        assert "not YAML" in parse(b"a: \xff\xfe\n").faults[0][1]

    @settings(max_examples=300)
    @given(st.text(alphabet=st.sampled_from(list("ab1:-[]{},&*!|>%@`'\"#?~ \n\t.e+<=\\é\x00\ud800")), max_size=40))
    def test_nothing_is_ever_raised(self, text):
        document = parse(text)
        assert all(line >= 1 and message for line, message in document.faults)

    @given(st.binary(max_size=60))
    def test_nothing_is_ever_raised_for_bytes(self, data):
        assert isinstance(parse(data).faults, list)


class TestLimits:
    BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )

    @pytest.mark.parametrize(
        "text",
        [
            BOMB,
            "a: &a [*a]\n",
            "a: &a {b: *a}\n",
            "[" * 20_000,
            "{a: " * 20_000,
            "- " * 20_000,
            "a: " + "[" * 60 + "]" * 60,
        ],
        ids=["alias bomb", "list in itself", "mapping in itself", "[[[", "{{{", "- - -", "60 levels"],
    )
    def test_bombs_are_refused_quickly(self, text):
        start = time.process_time()
        document = parse(text)
        assert time.process_time() - start < 5
        assert len(document.faults) == 1
        assert "nest" in document.faults[0][1] or "recursion" in document.faults[0][1]

    def test_forty_levels_are_enough_for_anyone(self):
        text = "a: " + "[" * 38 + "]" * 38
        assert not parse(text).faults

    def test_too_large(self, tmp_path):
        text = "# " + "x" * located_yaml.LARGEST
        assert "are read" in parse(text).faults[0][1]
        file = tmp_path / "large.yaml"
        file.write_text(text)
        assert "are read" in located_yaml.read(file).faults[0][1]

    def test_too_many(self, monkeypatch):
        monkeypatch.setattr(located_yaml, "MOST", 50)
        (fault,) = parse("[" + "1, " * 60 + "]").faults
        assert "more than 50 values" in fault[1]
        assert not parse("[" + "1, " * 40 + "]").faults


def test_read_names_the_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_bytes("a: é\n".encode())
    document = located_yaml.read(file)
    assert document.name == str(file)
    assert document.data == {"a": "é"}
    with pytest.raises(OSError, match="missing"):
        located_yaml.read(tmp_path / "missing.yaml")


def test_a_directive_cannot_change_the_rules():
    document = located_yaml.parse("# a recipe\n%YAML 1.1\n---\nkey: no\n")
    assert document.data is None
    assert [line for line, _ in document.faults] == [2]
