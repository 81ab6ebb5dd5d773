"""A configuration is checked before anything runs: what is wrong, what was given, what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel, ValidationError

from conf.compose import CONF_FOLDER, ConfigError, available, compose, known_keys, recompose
from conf.schema import CampaignConfig, DatasetConfig, RecipeConfig

PATHS = {"images": ["dataset.path=pictures"]}  # what a configuration leaves to its user


def shipped(name: str, *overrides: str) -> CampaignConfig:
    return compose(name, [*PATHS.get(name, []), *overrides])


def test_every_configuration_composes_under_its_own_name_into_a_folder_of_its_own() -> None:
    configs = {name: shipped(name) for name in available()}
    assert [config.name for config in configs.values()] == list(configs)
    assert len({config.campaign.folder for config in configs.values()}) == len(configs)


GROUP_FILES = {f"{path.parent.name}={path.stem}": path for path in sorted(CONF_FOLDER.glob("*/*.yaml"))}


# Keys that say which of a group's files this is, default or not.
NAMES_THE_FILE = {"source", "kind", "architecture"}


@pytest.mark.parametrize("choice", GROUP_FILES)
def test_every_group_file_is_usable_repeats_no_default_and_comments_its_keys(choice: str) -> None:
    path = GROUP_FILES[choice]
    text = path.read_text()
    open_keys = ["dataset.path=pictures"] if "???" in text else []
    section = getattr(shipped("quickstart", choice, *open_keys), path.parent.name)
    given = OmegaConf.to_container(OmegaConf.load(path), throw_on_missing=False)
    assert isinstance(given, dict)
    fields = type(section).model_fields
    assert set(given) <= set(fields)
    repeated = {key for key, value in given.items() if value == fields[key].default and key not in NAMES_THE_FILE}
    assert repeated == set()
    assert text.startswith("# ")
    uncommented = [line for line in text.splitlines() if line and " # " not in line and not line.startswith("#")]
    assert {line.partition(":")[0] for line in uncommented} <= NAMES_THE_FILE


def test_every_key_may_be_overridden_whether_a_file_holds_it_or_not() -> None:
    """The YAML files leave out what is default; an override needs no plus sign all the same."""
    for key, value in {"recipe.cutout": 2, "certify.top": 3, "campaign.seed": 5, "sampler.alpha": 0.25}.items():
        section, _, name = key.partition(".")
        for plus in ("", "+", "++"):
            config = shipped("quickstart", f"{plus}{key}={value}")
            assert getattr(getattr(config, section), name) == value
    assert shipped("quickstart", "curate.keep_count=9", "curate.class_quotas.cat=5").curate.class_quotas == {"cat": 5}


def test_no_shipped_configuration_reads_a_folder_outside_the_project() -> None:
    texts = {path: path.read_text() for path in CONF_FOLDER.rglob("*.yaml")}
    assert [path.name for path, text in texts.items() if ".." in text or "shared" in text] == []
    for name in available():
        path = shipped(name).dataset.path
        assert path is None or not Path(path).is_absolute(), name


def test_no_two_recipes_are_the_same() -> None:
    recipes = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in CONF_FOLDER.glob("recipe/*.yaml")}
    assert len(recipes) > 2
    names = sorted(recipes)
    assert [(a, b) for a in names for b in names if a < b and recipes[a] == recipes[b]] == []


def test_the_recipe_section_is_made_from_the_library_s_recipe() -> None:
    """Order, defaults, descriptions and bounds; nominal_alpha is the sampler's."""
    from training.recipe import Recipe, recipe_settings

    settings = recipe_settings()
    assert [name for name in settings if name != "nominal_alpha"] == list(RecipeConfig.model_fields)
    assert Recipe(**RecipeConfig().model_dump()) == Recipe()
    properties = RecipeConfig.model_json_schema()["properties"]
    assert {name: found["description"] for name, found in properties.items()} == {
        name: setting.description for name, setting in settings.items() if name != "nominal_alpha"
    }
    assert properties["momentum"] | {"minimum": 0, "exclusiveMaximum": 1} == properties["momentum"]
    assert properties["learning_rate"]["exclusiveMinimum"] == 0
    assert (properties["width"]["minimum"], properties["width"]["maximum"]) == (1, 1024)
    assert properties["architecture"]["enum"] == ["resnet", "resnet9"]
    assert properties["width"]["type"] == "integer" and properties["flip"]["type"] == "boolean"


def test_every_value_that_a_configuration_accepts_is_one_that_the_library_accepts() -> None:
    from training.recipe import recipe_settings

    for name, setting in recipe_settings().items():
        if setting.bounds is None or setting.configured_bounds is None:
            continue
        for end in (setting.configured_bounds.low, setting.configured_bounds.high):
            assert setting.bounds.hold(end) or not setting.configured_bounds.hold(end), name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("curate.keep_share=0.8", "curate.keep_count=50"), r"keep_share = 0\.8 and keep_count = 50 are two budgets"),
        (("curate.keep_share=null", "curate.class_quotas={0: 5}"), "hold under a budget, and there is none"),
        (("certify.min_bases=100", "certify.max_bases=10"), "min_bases = 100 is more than max_bases = 10"),
        (("verify.curve=[0.5,1.5]",), r"shares kept lie between 0 and 1; got \[0\.5, 1\.5\]"),
        (("verify.curve=[0]",), "shares kept lie between 0 and 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shipped("quickstart", *overrides)


def test_a_number_of_players_to_keep_replaces_the_default_share() -> None:
    assert shipped("quickstart", "curate.keep_count=50", "curate.class_quotas={0: 5}").curate.keep_count == 50
    assert shipped("quickstart", "certify.max_bases=8").certify.max_bases == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("certify.level=1e-300", "certify.level must be at least 1e-06 and less than 1; got 1e-300"),
        ("sampler.alpha=1.2", "sampler.alpha must be greater than 0 and less than 1; got 1.2"),
        ("sampler.alpha=0", "sampler.alpha must be greater than 0 and less than 1; got 0"),
        ("sampler.alpha=nan", "sampler.alpha must be .*greater than 0 and less than 1; got nan"),
        ("recipe.learning_rate=inf", "recipe.learning_rate must be finite and greater than 0; got inf"),
        ("recipe.epochs=-inf", "recipe.epochs must be finite and greater than 0; got -inf"),
        ("campaign.n_fit=0", "campaign.n_fit must be at least 1 .*; got 0"),
        ("campaign.n_fit=many", "campaign.n_fit must be a whole number, at least 1 .*; got 'many'"),
        ("campaign.n_fit=512.5", "campaign.n_fit must be a whole number, at least 1 .*; got 512.5"),
        ("verify.second_architecture=7", "verify.second_architecture must be true or false; got 7"),
        ("dataset.path=2024", "dataset.path must be text .*quotes.*; got 2024"),
        ("=3", "no key stands before the = in '=3'"),
        ("campaign.n_replicates=-1", "campaign.n_replicates must be at least 0 .*; got -1"),
        ("dataset.n_targets=0", "dataset.n_targets .*; got 0"),
        ("attribution.max_order=9", "attribution.max_order must be at least 1 and at most 6; got 9"),
        ("attribution.device=gpu", "attribution.device .*'cpu' or 'cuda'; got 'gpu'"),
        ("attribution.gpus_per_block=0", "attribution.gpus_per_block must be greater than 0 and at most 1; got 0"),
        ("sampler.kind=balanced", "sampler.kind .*'bernoulli', 'fixed_size', 'antithetic' or 'spex'; got 'balanced'"),
        ("dataset.source=imagenet", "dataset.source: there is no source 'imagenet'. Sources: digits, .*image_folder"),
        ("sampler.alfa=0.3", "unknown key 'sampler.alfa' .*Did you mean 'sampler.alpha'"),
        ("+sampler.beta=1", "unknown key 'sampler.beta' .value 1"),
        ("+recipe.optimizer=adam", "unknown key 'recipe.optimizer' .value 'adam'"),
        ("alpha=0.3", "unknown key 'alpha'"),
        ("sampler=gaussian", "sampler/gaussian.*antithetic bernoulli fixed_size"),
        ("campaign=null", "campaign names a file in conf/campaign"),
        ("certify=default", "certify is a section without files of its own; .* certify.KEY=VALUE"),
        ("sampler.alpha", "key=value; got 'sampler.alpha'"),
        ("campaign.folder=", "campaign.folder .*; got ''"),
        ("name='a b'", "name .*; got 'a b'"),
        ("dataset.path='it's'", r"\"'it's'\" cannot be read .*commas, colons, ~ and quotes.*dataset.path='…'"),
        ("sampler.alpha=[1", r"sampler.alpha: the value '.1' cannot be read .*quotes, sampler.alpha='…'"),
        ("sampler.alpha={'a': 1}", r"sampler.alpha: the value .* cannot be read"),
        ("dataset.path=\0", "dataset.path: the value .* cannot be read"),
    ],
)
def test_a_wrong_override_is_named_with_its_value_and_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose("quickstart", [override])


@pytest.mark.parametrize("key", ["dataset.path", "dataset.group_by", "campaign.folder"])
@pytest.mark.parametrize(
    "text",
    ["~/pictures", "/a b", "/a,b", "/a=b", "/Bilder (2)/ähnlich", "/it's", "/it's, [1] {2}", 'say "x"', "/#1", "/a\\b",
     "/two\nlines", "/a;b", "/ends, in\\", "/quote\\'d, \\\\' twice", "C:\\x"],
)  # fmt: skip
def test_a_text_needs_no_quotes_whatever_the_grammar_makes_of_it(key: str, text: str) -> None:
    section, _, field = key.partition(".")
    found = compose("quickstart", [f"{key}={text}"])
    assert getattr(getattr(found, section), field) == text
    assert recompose(found.model_dump(mode="json"), [f"{key}={text}"]) == found


def test_what_the_grammar_reads_in_a_text_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/my, pictures")
    own = "${oc.env:PICTURES}"
    for given, found in (("null", None), ("'/a,b'", "/a,b"), ('"2024"', "2024"), (own, "/my, pictures")):
        assert compose("quickstart", [f"dataset.path={given}"]).dataset.path == found


def test_antithetic_masks_away_from_one_half_are_refused_with_both_ways_out() -> None:
    with pytest.raises(ConfigError, match=r"alpha = 0.5 only; got alpha = 0.3.*sampler.alpha=0.5.*bernoulli"):
        compose("quickstart", ["sampler=antithetic", "sampler.alpha=0.3"])


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compose("quickstart", ["sampler.alpha=2", "campaign.n_fit=-1", "recipe.width=0"])
    assert len(str(caught.value).splitlines()) == 3


def test_a_path_that_the_user_must_give_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"dataset.path is required.*dataset.path="):
        compose("images")


def test_an_unknown_configuration_is_met_with_the_nearest_name_and_all_names() -> None:
    with pytest.raises(ConfigError, match=r"'quikstart'.*Did you mean 'quickstart'.*cifar2"):
        compose("quikstart")


def test_a_configuration_file_of_ones_own_may_use_the_groups(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "defaults: [{dataset: digits}, {recipe: digits}, {sampler: fixed_size}, {campaign: quickstart}, _self_]\n"
        "name: mine\nsampler: {alpha: 0.25}\ncampaign: {folder: elsewhere}\n"
    )
    config = compose(str(mine), ["campaign.n_fit=10"])
    assert (config.sampler.kind, config.sampler.alpha) == ("fixed_size", 0.25)
    assert (config.campaign.folder, config.campaign.n_fit) == ("elsewhere", 10)


@pytest.mark.parametrize("content", ["name: [", "\tname: x", "name: mine\n"], ids=["open", "tab", "incomplete"])
def test_a_broken_file_of_ones_own_is_one_clear_error(content: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml|is required"):
        compose(str(mine))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        compose(str(tmp_path / "none.yaml"))


def test_a_configuration_cannot_be_changed_once_checked() -> None:
    config = compose("quickstart")
    with pytest.raises(ValidationError, match="frozen"):
        config.sampler.alpha = 0.3
    with pytest.raises(ValidationError, match="frozen"):
        config.sampler = config.sampler


def test_every_section_forbids_unknown_keys_and_changes() -> None:
    sections = [field.annotation for field in CampaignConfig.model_fields.values()]
    models = [CampaignConfig, *(s for s in sections if isinstance(s, type) and issubclass(s, BaseModel))]
    assert len(models) > 7
    for model in models:
        assert model.model_config["frozen"] and model.model_config["extra"] == "forbid", model


def test_every_key_that_is_not_plain_from_its_name_is_described() -> None:
    """Prefect's form shows the descriptions; the data section is where newcomers start."""
    undescribed = [name for name, field in DatasetConfig.model_fields.items() if not field.description]
    assert undescribed == []
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)*", key) for key in known_keys())


@pytest.mark.parametrize("classes", ["[3,8]", "['3','8']"])
def test_classes_are_given_by_name_or_by_number(classes: str) -> None:
    from flows.players.load import load

    dataset = load(compose("quickstart", [f"dataset.classes={classes}", "dataset.n_targets=50", "dataset.n_audit=50"]))
    assert dataset.class_names == ("3", "8")


def test_a_configuration_survives_being_saved_and_read_back() -> None:
    """Prefect hands the parameter on as JSON, and history keeps it as JSON."""
    config = compose("cifar2", ["campaign.n_fit=7"])
    assert CampaignConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "override",
    ["campaign.n_fit=true", "sampler.alpha=true", "verify.curve=[true]", "curate.class_quotas={cat: true}",
     "certify.members=[1,true]", "recipe.width=false", "dataset.plant_cluster_sizes=[true]"],
)  # fmt: skip
def test_true_is_no_number(override: str) -> None:
    """Python counts True as 1, so campaign.n_fit=true asked for one model."""
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)} must be a .*number"):
        shipped("quickstart", "curate.keep_share=0.5", override)


def test_no_number_field_of_any_section_takes_a_boolean() -> None:
    from conf.compose import recompose

    plain = shipped("quickstart").model_dump(mode="json")
    numbers = [key for key in known_keys() if type(_value_at(plain, key)) in (int, float)]
    assert len(numbers) > 40
    for key in numbers:
        with pytest.raises(ConfigError, match=re.escape(key)):
            recompose(plain, [f"{key}=true"])


def _value_at(plain: dict[str, object], key: str) -> object:
    found: object = plain
    for part in key.split("."):
        assert isinstance(found, dict)
        found = found.get(part)
    return found


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("=3", "no key stands before the ="),
        ("+=3", "no key stands before the ="),
        ("n_fit", "written key=value; got 'n_fit'"),
        ("campaign.n_fit = 3", "Write campaign.n_fit=3$"),
        ("campaign.n_fit==3", "Write campaign.n_fit=3$"),
    ],
)
def test_what_is_no_override_is_refused_by_name_and_by_folder(override: str, said: str) -> None:
    from conf.compose import recompose

    with pytest.raises(ConfigError, match=said):
        shipped("quickstart", override)
    with pytest.raises(ConfigError, match=said):
        recompose(shipped("quickstart").model_dump(mode="json"), [override])


def test_a_fault_in_a_list_names_the_key_once() -> None:
    with pytest.raises(ConfigError) as caught:
        shipped("quickstart", "dataset.classes=[true]")
    assert all(line.startswith("dataset.classes must") for line in str(caught.value).splitlines())
