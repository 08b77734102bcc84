"""Knobs: what is allowed gets in as it is, anything else is refused in words."""

import json
import math
import pickle
from dataclasses import FrozenInstanceError

import pytest

from saiki.errors import InputError
from saiki.knobs import Knobs, knob


class Oven(Knobs):
    trays: int = knob(2, "trays inside", minimum=1, maximum=4)
    degrees: float = knob(180.0, "heat", minimum=0)
    cooling: float = knob(-1.0, "change after baking", maximum=0)
    heat_from: str = knob("below", "side of the flame", choices=("above", "below"))
    label: str = knob("", "what the door says")
    light: bool = knob(False, "whether the light is on")
    minutes: int = knob(30, "until the bell")
    shift: float = knob(0.0, "any number")

    def validate(self) -> None:
        if self.heat_from == "above" and self.trays > 1:
            raise InputError("heat from above is for one tray")


class Kneading(Knobs):
    minutes_of_rest: int = knob(20, "between two foldings", minimum=0)
    speed: float = knob(1.0, "of the arm", minimum=0, maximum=3)

    def validate(self) -> None:
        if self.speed > 2 and self.minutes_of_rest == 0:
            raise InputError("fast dough must rest")

    def build(self):
        return f"knead at {self.speed:g}"


class Bakery(Knobs):
    loaves: int = knob(1, "of bread", minimum=1)
    kneading: Kneading = Kneading(speed=2)
    oven: Oven = Oven(degrees=220)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("trays", "1", 1),
        ("trays", " 4 ", 4),
        ("degrees", "0", 0.0),
        ("degrees", "2.5e2", 250.0),
        ("cooling", "-3", -3.0),
        ("heat_from", "above", "above"),
        ("label", "bread, mostly", "bread, mostly"),
        ("light", "true", True),
        ("light", "False", False),
        ("minutes", "-7", -7),
    ],
)
def test_an_allowed_text_becomes_the_value_in_the_knobs_own_type(name, text, value):
    parsed = Oven.knob(name).parse(text)
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("trays", "0", "a whole number from 1 to 4"),
        ("trays", "5", "a whole number from 1 to 4"),
        ("trays", "2.0", "a whole number from 1 to 4"),
        ("trays", "two", "a whole number from 1 to 4"),
        ("degrees", "-0.1", "a number from 0 to 1e+30"),
        ("degrees", "nan", "a number from 0 to 1e+30"),
        ("degrees", "inf", "a number from 0 to 1e+30"),
        ("degrees", "1e999", "a number from 0 to 1e+30"),
        ("cooling", "0.5", "a number of at most 0"),
        ("cooling", "-inf", "a number of at most 0"),
        ("heat_from", "left", "one of above, below"),
        ("light", "1", "true or false"),
        ("light", "yes", "true or false"),
        ("minutes", "half", "a whole number of at most 1000000000"),
        ("shift", "nan", "a number of at most 1e+30"),
    ],
)
def test_a_refused_text_names_the_knob_what_is_allowed_and_what_was_given(name, text, allowed):
    with pytest.raises(InputError) as error:
        Oven.knob(name).parse(text)
    message = str(error.value)
    assert message.startswith(f"{name} must be {allowed}, got ")
    assert message.endswith(repr(text)) or float(text) == float(message.split("got ")[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trays", True),  # bool is an int to Python, and not to a person
        ("trays", 2.0),
        ("trays", "2"),
        ("degrees", True),
        ("degrees", "180"),
        ("degrees", math.nan),
        ("degrees", math.inf),
        ("light", 1),
        ("light", "true"),
        ("label", 3),
        ("heat_from", None),
    ],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be .*, got {value!r}$"):
        Oven(**{name: value})


@pytest.mark.parametrize("name", ["minutes", "degrees"])
def test_a_whole_number_beyond_every_float_is_refused_like_any_other(name):
    with pytest.raises(InputError, match=name):
        Oven(**{name: 10**400})


def test_a_whole_number_serves_where_any_number_does():
    oven = Oven(degrees=200)
    assert (type(oven.degrees), oven.degrees) == (float, 200.0)


def test_values_at_the_bounds_are_allowed():
    assert (Oven(trays=1).trays, Oven(trays=4).trays, Oven(degrees=0.0).degrees) == (1, 4, 0.0)


def test_knobs_that_do_not_fit_each_other_are_refused():
    with pytest.raises(InputError, match="heat from above is for one tray"):
        Oven(heat_from="above")
    assert Oven(heat_from="above", trays=1).trays == 1


def test_an_unknown_knob_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"no knob 'tray'; the knobs are trays, degrees, cooling,"):
        Oven.from_dict({"tray": 1})


def test_a_knob_is_found_as_its_flag_writes_it():
    assert Oven.knob("heat_from").flag == "--heat-from"
    assert Oven.knob("heat-from") == Oven.knob("heat_from")


def test_the_dictionary_goes_through_json_and_makes_the_same_knobs():
    oven = Oven(trays=3, degrees=10, light=True)
    assert Oven.from_dict(json.loads(json.dumps(oven.to_dict()))) == oven


def test_a_setting_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        Oven().trays = 9


def test_some_knobs_are_changed_and_checked_anew():
    oven = Oven(trays=1, label="bread")
    assert oven.changed({"heat_from": "above"}) == Oven(trays=1, label="bread", heat_from="above")
    with pytest.raises(InputError, match="heat from above is for one tray"):
        oven.changed({"heat_from": "above", "trays": 2})


# Groups.


def test_a_group_is_made_from_the_names_of_its_knobs_and_builds_what_they_describe():
    bakery = Bakery(loaves=3, speed=0.5, light=True)
    assert bakery.kneading == Kneading(speed=0.5)
    assert bakery.kneading.build() == "knead at 0.5"
    assert bakery.oven == Oven(degrees=220, light=True)


def test_the_knobs_of_groups_are_found_in_order_with_the_defaults_given_there():
    assert [*Bakery.knobs()] == ["loaves", *Kneading.knobs(), *Oven.knobs()]
    assert (Bakery.knob("speed").default, Kneading.knob("speed").default) == (2.0, 1.0)
    assert Bakery.knob("speed").parse("3") == 3.0
    assert Bakery().to_dict() == {
        "loaves": 1,
        **Kneading(speed=2).to_dict(),
        **Bakery().oven.to_dict(),
    }


def test_groups_go_through_json_and_differ_where_their_knobs_do():
    bakery = Bakery(speed=1.5, trays=3)
    assert Bakery.from_dict(json.loads(json.dumps(bakery.to_dict()))) == bakery
    assert bakery == pickle.loads(pickle.dumps(bakery))
    assert bakery != Bakery(speed=1.5)
    assert hash(bakery) == hash(Bakery(trays=3, speed=1.5))


def test_what_does_not_fit_within_a_group_is_refused_wherever_the_group_is():
    for holder in (Kneading, Bakery):
        with pytest.raises(InputError, match="fast dough must rest"):
            holder(speed=2.5, minutes_of_rest=0)
    with pytest.raises(InputError, match="speed must be a number from 0 to 3, got 4"):
        Bakery(speed=4)
    with pytest.raises(InputError, match="no knob 'kneading'; the knobs are loaves, minutes_of"):
        Bakery(kneading=Kneading())


def test_a_group_may_be_given_other_defaults_where_it_is_inherited():
    class Small(Bakery):
        kneading: Kneading = Kneading(speed=0.1)

    assert (Small().kneading.speed, Bakery().kneading.speed) == (0.1, 2.0)
    assert [*Small.knobs()] == [*Bakery.knobs()]


def test_a_name_that_occurs_twice_is_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match="Twice has trays twice"):

        class Twice(Knobs):
            trays: int = knob(1, "that are washed")
            oven: Oven = Oven()

    with pytest.raises(TypeError, match="Mixed has speed twice"):

        class Mixed(Knobs):
            speed: Kneading = Kneading()


def test_a_path_is_written_down_in_full(monkeypatch, tmp_path):
    class Sack(Knobs):
        flour: str = knob("", "file of flours", is_path=True)

    monkeypatch.chdir(tmp_path)
    assert Sack(flour="rye").flour == str(tmp_path / "rye")
    assert Sack(flour="~/rye").flour.endswith("/rye")
    assert "~" not in Sack(flour="~/rye").flour
    assert Sack().flour == ""
    with pytest.raises(InputError, match=r"^flour begins in a home folder that is not known, got"):
        Sack(flour="~nobody-of-that-name/rye")


def test_a_registry_that_grows_offers_what_is_new():
    kinds = {"rye": 1}

    class Flour(Knobs):
        kind: str = knob("rye", "of flour", choices=kinds)

    kinds["spelt"] = 2
    assert Flour(kind="spelt").kind == "spelt"
    assert Flour.knob("kind").allowed == "one of rye, spelt"
