from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rerank.activations import IDENTITY, SIGMOID
from rerank.catalog.built_in import BUILT_IN, EMBEDDED_MODEL_ID
from rerank.catalog.cards import About, ModelCard, merge_cards
from rerank.catalog.families import BI_ENCODER
from rerank.catalog.models_file import read_models_file
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.catalog.shadows import Shadow
from rerank.catalog.text_prompts import TextPrompts
from rerank.errors import SettingsError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "models.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


class TestModelsFile:
    def test_need_not_exist(self, tmp_path: Path) -> None:
        assert read_models_file(tmp_path / "models.toml") == ()

    def test_may_be_empty(self, write: Write) -> None:
        assert read_models_file(write("# nothing yet\n")) == ()

    def test_a_card_may_say_everything(self, write: Write) -> None:
        file = write(
            f"""
            [[model]]
            id = "maker/large"
            aliases = ["big", "large-one"]
            repo = "mirror/large"
            revision = "v2"
            family = "bi-encoder"
            max_length = 1024
            instruction = "find it"
            activation = "identity"
            precision = "bf16"
            special_tokens_in_text = true
            normalize = "nfkc"
            sha256 = "{"AB" * 32}"
            trust_remote_code = true
            pinned = true
            keep_alive = "1h"
            """
        )
        assert read_models_file(file) == (
            ModelCard(
                id="maker/large",
                aliases=("big", "large-one"),
                repo="mirror/large",
                revision="v2",
                family=BI_ENCODER,
                max_length=1024,
                instruction="find it",
                activation=IDENTITY,
                precision="bf16",
                special_tokens_in_text=True,
                normalize="nfkc",
                sha256="ab" * 32,
                trust_remote_code=True,
                pinned=True,
                keep_alive=3600,
            ),
        )

    @pytest.mark.parametrize("share", ["1", "0.01"])
    def test_a_shadow_has_a_model_and_a_share(self, write: Write, share: str) -> None:
        (card,) = read_models_file(write(f'[[model]]\nid = "a"\nshadow = {{ model = "b", share = {share} }}'))
        assert card.shadow == Shadow("b", float(share))

    @pytest.mark.parametrize(
        ("fields", "trouble"),
        [
            ("share = 0.1", "shadow.model"),
            ('model = "b"', "shadow.share"),
            ('model = "", share = 0.1', "shadow.model"),
            *(
                (f'model = "b", share = {share}', "shadow.share")
                for share in ("0", "0.0", "-0.1", "1.01", "nan", "inf", "true", '"0.1"')
            ),
            ('model = "b", share = 0.1, every = 2', "shadow.every"),
        ],
    )
    def test_other_shadows_are_refused(self, write: Write, fields: str, trouble: str) -> None:
        with pytest.raises(SettingsError, match=rf"{trouble}: .*\(card a\)"):
            read_models_file(write(f'[[model]]\nid = "a"\nshadow = {{ {fields} }}'))

    def test_a_model_made_of_others_may_have_a_shadow(self, write: Write) -> None:
        (card,) = read_models_file(
            write('[[model]]\nid = "a"\nfallback = ["b", "c"]\nshadow = { model = "d", share = 1 }')
        )
        assert card.shadow
        assert card.route

    def test_two_labels_of_a_head_are_told_apart(self, write: Write) -> None:
        (card,) = read_models_file(write('[[model]]\nid = "a"\nlabels = [2, 0]'))
        assert card.labels == (2, 0)

    @pytest.mark.parametrize(
        ("lines", "trouble"),
        [
            ("labels = [1, 1]", "two different ones"),
            ('labels = [0, 1]\nfamily = "bi-encoder"', "a head that classifies pairs"),
            ("labels = [0]", "labels"),
            ("labels = [0, 1, 2]", "labels"),
            ("labels = [-1, 0]", "labels"),
            ("labels = [true, false]", "labels"),
        ],
    )
    def test_other_labels_are_refused(self, write: Write, lines: str, trouble: str) -> None:
        with pytest.raises(SettingsError, match=trouble):
            read_models_file(write(f'[[model]]\nid = "a"\n{lines}'))

    @pytest.mark.parametrize(
        ("written", "prompts"),
        [
            ('query = "query: ", document = "passage: "', TextPrompts("query: ", "passage: ")),
            ('query = ""', TextPrompts("")),
        ],
    )
    def test_prompts_of_an_embedding_model_keep_their_spaces(
        self, write: Write, written: str, prompts: TextPrompts
    ) -> None:
        (card,) = read_models_file(write(f'[[model]]\nid = "a"\nprompts = {{ {written} }}'))
        assert card.prompts == prompts

    @pytest.mark.parametrize(
        ("lines", "trouble"),
        [
            ("prompts = {}", "prompts: .*neither `query` nor `document`"),
            ('prompts = { passage = "p: " }', "prompts.passage"),
            ("prompts = { query = 1 }", "prompts.query"),
            ('prompts = "query: "', "prompts"),
            ('prompts = { query = "q: " }\nfamily = "cross-encoder"', "texts of an embedding model"),
            ('prompts = { query = "q: " }\nprompt = "zerank-2"', "texts of an embedding model"),
            ('prompts = { query = "q: " }\nfallback = ["b", "c"]', "`prompts` means nothing next to `fallback`"),
        ],
    )
    def test_other_prompts_are_refused(self, write: Write, lines: str, trouble: str) -> None:
        with pytest.raises(SettingsError, match=trouble):
            read_models_file(write(f'[[model]]\nid = "a"\n{lines}'))

    @pytest.mark.parametrize("written", ["5", "5.0"])
    def test_a_scale_divides_the_logit_before_the_sigmoid(self, write: Write, written: str) -> None:
        (card,) = read_models_file(write(f'[[model]]\nid = "a"\nactivation = "sigmoid"\nscale = {written}'))
        assert card.activation == replace(SIGMOID, scale=5)
        assert card.activation(10.0) == SIGMOID(2.0)

    def test_a_card_without_source_takes_its_id_as_the_repository(self, write: Write) -> None:
        (card,) = read_models_file(write('[[model]]\nid = " maker/small "\n'))
        assert (card.id, card.repo) == ("maker/small", "maker/small")

    def test_a_relative_path_starts_at_the_files_own_folder(self, write: Write, tmp_path: Path) -> None:
        (card,) = read_models_file(write('[[model]]\nid = "mine"\npath = "weights/../mine"\n'))
        assert card.path == tmp_path / "mine"
        assert card.repo is None

    def test_an_absolute_path_stays(self, write: Write, tmp_path: Path) -> None:
        elsewhere = (tmp_path / "elsewhere").as_posix()
        (card,) = read_models_file(write(f'[[model]]\nid = "mine"\npath = "{elsewhere}"\n'))
        assert card.path == tmp_path / "elsewhere"

    def test_cards_keep_their_order(self, write: Write) -> None:
        cards = read_models_file(write('[[model]]\nid = "b"\n[[model]]\nid = "a"\n'))
        assert [card.id for card in cards] == ["b", "a"]

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("[[model]\nid = 1", "not valid TOML"),
            ('[[model]]\nid = "a"\nid = "b"', "not valid TOML"),
            (f'[[model]]\nid = "a"\nmax_length = {"9" * 4301}', "not valid TOML"),
            (f'[[model]]\nid = "a"\nkeep_alive = {2**63}', "not valid TOML: an integer has more than 64 bits"),
            (f"{'a.' * 2000}a = 1", "not valid TOML: nested too deeply"),
            ('[[model]]\nid = "a"\n[[model]]\nrepo = "x/y"', "model.1.id"),
            ('[[model]]\nid = ""', "model.0.id"),
            ('[[model]]\nid = "   "', "model.0.id"),
            (f'[[model]]\nid = "{"x" * 201}"', "model.0.id"),
            ("[[model]]\nid = 5", "model.0.id"),
            (
                '[[model]]\nid = "a"\nrepos = "x/y"',
                "model.0.repos: there is no such field. Did you mean repo? (card a)",
            ),
            ('[[model]]\nname = "a"', "model.0.name: there is no such field, only "),
            ('[[model]]\nid = "a"\nupstream = { uri = "x" }', "model.0.upstream.uri: there is no such field. Did you"),
            (
                '[[model]]\nid = "a"\ncascade = [{ modle = "b" }]',
                "model.0.cascade.0.modle: there is no such field. Did",
            ),
            ('[[model]]\nid = "a"\nprompt = { sufix = "b" }', "model.0.prompt.sufix: there is no such field. Did you"),
            (
                '[[model]]\nid = "a"\nfallback = { x = 1 }',
                "model.0.fallback.x: there is no such field, only models, share",
            ),
            ('[[model]]\nid = "a"\naliases = "b"', "model.0.aliases: it has to be a list (card a)"),
            ('[[model]]\nid = "a"\naliases = ["b", ""]', "model.0.aliases.1"),
            ('[[model]]\nid = "a"\nrepo = ""', "model.0.repo"),
            ('[[model]]\nid = "a"\nfamily = "tri-encoder"', "model.0.family"),
            ('[[model]]\nid = "a"\nmax_length = 7', "model.0.max_length"),
            ('[[model]]\nid = "a"\nmax_length = 1000001', "model.0.max_length"),
            ('[[model]]\nid = "a"\nmax_length = "many"', "model.0.max_length"),
            ('[[model]]\nid = "a"\nsha256 = "abc"', "model.0.sha256"),
            (f'[[model]]\nid = "a"\nsha256 = "{"g" * 64}"', "model.0.sha256"),
            ('[[model]]\nid = "a"\nrepo = "x/y"\npath = "z"', "model.0: "),
            ('[[model]]\nid = "a"\nrevision = "v2"\npath = "z"', "model.0: "),
            ('[[model]]\nid = "a"\nactivation = "cosine"', "model.0.activation"),
            ('[[model]]\nid = "a"\nactivation = "sigmoid"\nscale = 0', "model.0.scale"),
            ('[[model]]\nid = "a"\nactivation = "sigmoid"\nscale = inf', "model.0.scale"),
            ('[[model]]\nid = "a"\nactivation = "sigmoid"\nscale = "5"', "model.0.scale"),
            ('[[model]]\nid = "a"\nactivation = "identity"\nscale = 5', "model.0: `scale` divides"),
            ('[[model]]\nid = "a"\nscale = 5', "model.0: `scale` divides"),
            ('[[model]]\nid = "a"\nfamily = "bi-encoder"\nprompt = "zerank-2"', "model.0: `prompt` is how"),
            ('[[model]]\nid = "a"\nprecision = "int4"', "model.0.precision"),
            ('[[model]]\nid = "a"\npinned = "yes"', "model.0.pinned"),
            ('[[model]]\nid = "a"\ntrust_remote_code = 1', "model.0.trust_remote_code"),
            ('[[model]]\nid = "a"\nkeep_alive = "soon"', "model.0.keep_alive"),
            ('[[model]]\nid = "a/b/c"', "model.0: "),
            ('[[model]]\nid = "maker/"', "model.0.id: "),
            ('[[model]]\nid = ".."', "model.0.id: "),
            ('[[model]]\nid = "a"\nrepo = "https://huggingface.co/x/y"', "model.0: "),
            ('model = "a"', "model: it has to be a list"),
            ('[model]\nid = "a"', "model: it has to be a list; its tables are each headed by [[model]]"),
            ('[[models]]\nid = "a"', "models: there is no such field. Did you mean model?"),
        ],
    )
    def test_a_mistake_is_told_with_file_and_entry(self, write: Write, text: str, where: str) -> None:
        file = write(text)
        with pytest.raises(SettingsError) as mistake:
            read_models_file(file)
        assert str(mistake.value).startswith(f"{file}: {where}")

    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            ("600", 600),
            ("0", 0),
            ("0.5", 0.5),
            ('"600"', 600),
            ('"90s"', 90),
            ('"10m"', 600),
            ('" 1.5 H "', 5400),
            ('"1d"', 86400),
        ],
    )
    def test_the_time_a_model_stays_is_a_number_or_a_text(self, write: Write, written: str, seconds: float) -> None:
        (card,) = read_models_file(write(f'[[model]]\nid = "a"\nkeep_alive = {written}'))
        assert card.keep_alive == seconds

    @pytest.mark.parametrize("written", ["-1", "inf", "nan", "true", '"-1"', '"10 minutes"', '""', "[1]"])
    def test_another_time_is_told_what_it_may_be(self, write: Write, written: str) -> None:
        with pytest.raises(SettingsError, match=r"keep_alive: it has to be .*seconds, .*10m"):
            read_models_file(write(f'[[model]]\nid = "a"\nkeep_alive = {written}'))

    def test_a_wrong_hash_is_told_in_words(self, write: Write) -> None:
        with pytest.raises(SettingsError, match="sha256: it has to be the 64 hexadecimal digits"):
            read_models_file(write('[[model]]\nid = "a"\nsha256 = "abc"'))

    def test_two_sources_are_told_by_their_names(self, write: Write) -> None:
        with pytest.raises(SettingsError, match="`repo` or `path`, not both"):
            read_models_file(write('[[model]]\nid = "a"\nrepo = "x/y"\npath = "z"'))

    def test_an_id_that_is_no_repository_is_told_what_to_give_instead(self, write: Write) -> None:
        with pytest.raises(SettingsError, match=r"'my model' cannot be a Hub repository; .* give `path`"):
            read_models_file(write('[[model]]\nid = "my model"'))

    def test_an_id_that_is_no_repository_is_fine_for_a_folder(self, write: Write) -> None:
        (card,) = read_models_file(write('[[model]]\nid = "my model"\npath = "mine"'))
        assert card.id == "my model"

    def test_a_file_that_is_not_utf_8_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        file.write_bytes('[[model]]\nid = "模型"'.encode("gbk"))
        with pytest.raises(SettingsError, match=r"models\.toml: it is not UTF-8"):
            read_models_file(file)


class TestMerging:
    def test_added_cards_come_before_the_built_in_ones(self) -> None:
        mine = ModelCard(id="mine")
        assert merge_cards(BUILT_IN, (mine,)) == (mine, *BUILT_IN)

    def test_an_added_card_replaces_the_built_in_one_and_keeps_its_description(self) -> None:
        mine = ModelCard(id="BAAI/bge-reranker-base", repo="mirror/bge-reranker-base", max_length=256)
        first, *others = merge_cards(BUILT_IN, (mine,))
        assert (first.repo, first.max_length) == (mine.repo, 256)
        assert first.about == next(card.about for card in BUILT_IN if card.id == mine.id)
        assert [card.id for card in others] == [card.id for card in BUILT_IN if card.id != mine.id]

    def test_an_id_given_twice_is_a_mistake(self) -> None:
        with pytest.raises(SettingsError, match="'mine' to two models"):
            merge_cards(BUILT_IN, (ModelCard(id="mine"), ModelCard(id="other"), ModelCard(id="MINE")))

    def test_an_alias_that_means_two_models_is_a_mistake(self) -> None:
        with pytest.raises(SettingsError, match="'baai/bge-reranker-base' to two models"):
            merge_cards(BUILT_IN, (ModelCard(id="mine", aliases=("BAAI/bge-reranker-base",)),))

    def test_a_replaced_card_keeps_prompt_and_activation_unless_it_names_its_own(self) -> None:
        name = "Qwen/Qwen3-Reranker-0.6B"
        (pinned, *_) = merge_cards(BUILT_IN, (ModelCard(id=name, pinned=True),))
        assert (pinned.prompt, pinned.activation) == (QWEN3_RERANKER, SIGMOID)
        other = replace(QWEN3_RERANKER, yes="Yes")
        (mine, *_) = merge_cards(BUILT_IN, (ModelCard(id=name, prompt=other, activation=IDENTITY),))
        assert (mine.prompt, mine.activation) == (other, IDENTITY)
        (embedding, *_) = merge_cards(BUILT_IN, (ModelCard(id=name, family=BI_ENCODER),))
        assert embedding.prompt is None

    def test_a_replaced_card_keeps_the_revision_of_the_same_repository(self) -> None:
        name = "BAAI/bge-m3"
        (known,) = (card for card in BUILT_IN if card.id == name)
        pinned, mirrored, on_disk = (
            merge_cards(BUILT_IN, (ModelCard(id=name, **fields),))[0].revision
            for fields in ({"repo": name}, {"repo": "mirror/bge-m3"}, {"path": Path("x")})
        )
        assert (pinned, mirrored, on_disk) == (known.revision, None, None)

    def test_a_replaced_card_keeps_whether_its_vectors_may_be_shorter(self) -> None:
        name = "Qwen/Qwen3-Embedding-0.6B"
        (mine, *_) = merge_cards(BUILT_IN, (ModelCard(id=name, repo=name, pinned=True),))
        assert mine.shorter_vectors

    def test_a_replaced_card_keeps_what_people_read(self) -> None:
        (mine, *_) = merge_cards(BUILT_IN, (ModelCard(id="baai/BGE-reranker-base"),))
        assert mine.about

    def test_a_models_file_that_is_a_folder_is_a_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read"):
            read_models_file(tmp_path)

    def test_a_name_the_hub_cannot_have_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "models.toml").write_text('[[model]]\nid = "a/b c"\n')
        with pytest.raises(SettingsError, match="cannot be a Hub repository"):
            read_models_file(tmp_path / "models.toml")


class TestLoadsLike:
    """Whether a model in memory is still what its card says."""

    @pytest.mark.parametrize(
        "change",
        [
            {"path": Path("x")},
            {"repo": "x/y"},
            {"revision": "v2"},
            {"precision": "fp32"},
            {"max_length": 64},
            {"family": BI_ENCODER},
            {"instruction": "x"},
            {"activation": IDENTITY},
            {"activation": replace(SIGMOID, scale=5)},
            {"prompt": QWEN3_RERANKER},
            {"prompts": TextPrompts("query: ")},
            {"labels": (0, 1)},
            {"sha256": "0" * 64},
            {"trust_remote_code": True},
            {"special_tokens_in_text": True},
            {"normalize": "nfkc"},
        ],
    )
    def test_not_where_the_load_depends_on_what_changed(self, change: dict[str, Any]) -> None:
        card = ModelCard(id="mine")
        assert not card.loads_like(replace(card, **change))

    @pytest.mark.parametrize(
        "change",
        [
            {"aliases": ("x",)},
            {"pinned": True},
            {"keep_alive": 1.0},
            {"shadow": Shadow("b", 1)},
            {"about": About(("en",), "MIT", 1, 1)},
        ],
    )
    def test_where_only_names_and_policy_changed(self, change: dict[str, Any]) -> None:
        card = ModelCard(id="mine")
        assert card.loads_like(replace(card, **change))


class TestBuiltIn:
    def test_ids_are_unique(self) -> None:
        assert len({card.id for card in BUILT_IN}) == len(BUILT_IN)

    def test_all_but_the_embedded_model_can_be_fetched(self) -> None:
        assert [card.id for card in BUILT_IN if card.has_weights and card.repo is None] == [EMBEDDED_MODEL_ID]

    @pytest.mark.parametrize(("model_id", "basename"), [("maker/base", "base"), ("base", "base"), ("a/b/c", "c")])
    def test_the_basename_is_the_last_component(self, model_id: str, basename: str) -> None:
        assert ModelCard(id=model_id).basename == basename
