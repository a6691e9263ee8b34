"""The grammar of component families, with a family of its own (notifications.md §1.2, registries.md §1.1)."""

from __future__ import annotations

from collections.abc import Sequence

from drydock.config import kinds
from drydock.config.components import Family, FamilyReading, Member, Wrong, secrets_of, shown
from drydock.config.schema import option, section
from drydock.config.source import ComponentId, Source
from drydock.core.secret import Secret


@section("DD_PET_<TYPE>_", "Pets", "Animals.", family=True)
class PetOptions:
    type: str = ""
    name: str = ""
    sound: str | None = option("SOUND", kinds.text(), default=None, help="What it says.")
    nap_s: float = option("NAP", kinds.milliseconds(), default=1.5, help="How long it sleeps (ms).")
    chip: Secret | None = option("CHIP_ID", kinds.secret(), default=None, help="Number of its chip.", also=("CHIP",))
    home: str | None = option("HOME", kinds.service_url("http"), default=None, help="Where it lives.")
    age: int = option("AGE", kinds.integer(0), default=1, help="Years.")


def _grown_up(pet: PetOptions) -> Sequence[Wrong]:
    return [Wrong("is too young", "AGE", "wait")] if pet.age < 1 else ()


PETS = Family(
    kind="pet",
    prefixes=("DD_PET_", "DD_ANIMAL_"),
    former="DD_BEAST_",
    members=(
        Member(type="cat", options=PetOptions, check=_grown_up),
        Member(type="fish", options=PetOptions, only=frozenset({"NAP", "AGE"})),
    ),
    shared=("AGE",),
    bare=True,
)


def read(**variables: str) -> FamilyReading:
    return PETS.read(Source(variables), {"DD_PET_LIMIT"})


def test_a_component_is_read_from_every_prefix_and_knows_its_names() -> None:
    found = read(
        DD_ANIMAL_CAT_TOM_SOUND="weak", DD_PET_CAT_TOM_SOUND="meow", DD_ANIMAL_CAT_TOM_CHIP="7", DD_PET_LIMIT="2"
    )
    (tom,) = found.components
    assert (tom.id, tom.settings.type, tom.settings.name) == ("cat.tom", "cat", "tom")
    assert (tom.settings.sound, tom.settings.chip, tom.settings.nap_s) == ("meow", Secret("7"), 1.5)
    assert found.problems == []
    assert "DD_PET_LIMIT" not in found.used


def test_an_empty_variable_stands_for_a_component_without_options() -> None:
    assert [one.id for one in read(DD_PET_FISH_NEMO="").components] == ["fish.nemo"]
    assert str(read(DD_PET_FISH_NEMO="x").problems[0]).endswith("names no pet; write DD_PET_FISH_<NAME>_NEMO")


def test_why_a_component_is_left_out_is_kept_in_parts() -> None:
    found = read(DD_PET_FISH_NEMO_SOUND="blub", DD_PET_CAT_TOM_AGE="0", DD_PET_CAT_TOM_NAPP="1", DD_PET_CAT_OK="")
    assert [one.id for one in found.components] == ["cat.ok"]
    told = [(one.component, one.variable, one.message, one.hint) for one in found.problems]
    tom, nemo = ComponentId("pet", "cat", "tom"), ComponentId("pet", "fish", "nemo")
    assert told == [
        (tom, "DD_PET_CAT_TOM_NAPP", '"napp" is not allowed', "did you mean DD_PET_CAT_TOM_NAP?"),
        (tom, "DD_PET_CAT_TOM_AGE", "is too young", "wait"),
        (nemo, "DD_PET_FISH_NEMO_SOUND", '"sound" is not allowed', None),
    ]
    assert str(found.problems[1]) == "DD_PET_CAT_TOM_AGE: is too young; wait – pet cat.tom is not registered"


def test_a_mistyped_variable_of_a_section_is_no_type() -> None:
    (problem,) = read(DD_PET_LIMITS="2").problems
    assert problem.text == "unknown variable; did you mean DD_PET_LIMIT?"


def test_a_former_prefix_is_the_weakest_and_counted() -> None:
    found = read(DD_BEAST_CAT_TOM_AGE="9", DD_ANIMAL_CAT_TOM_AGE="3")
    assert found.components[0].settings.age == 3
    assert found.former == ["DD_BEAST_CAT_TOM_AGE"]
    assert [one.text for one in found.problems] == ["is an old name; use DD_PET_CAT_TOM_AGE"]


def test_what_is_shown_is_masked_and_in_the_units_of_the_variables() -> None:
    pet = PetOptions(nap_s=2.0, chip=Secret("777"), home="http://ann:pw@host/?key=k")
    assert shown(pet) == {
        "nap": 2000,
        "chip": {"id": "[REDACTED]"},
        "home": "http://[REDACTED]@host/?key=[REDACTED]",
        "age": 1,
    }
    assert shown(pet, {"AGE"}) == {"age": 1}
    assert secrets_of(pet) == ("777",)
    lines = {line.variable: line.value for line in read(DD_PET_CAT_T_CHIP="777", DD_PET_FISH_N="").effective}
    assert lines["DD_PET_CAT_T_CHIP"] == "[REDACTED]"
    assert lines["DD_PET_FISH_N_NAP"] == "1500"
    assert "DD_PET_FISH_N_SOUND" not in lines
