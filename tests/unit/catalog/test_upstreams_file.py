from __future__ import annotations

from pathlib import Path

import pytest

from rerank.activations import SIGMOID
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard, merge_cards
from rerank.catalog.catalog import Catalog
from rerank.catalog.models_file import read_models_file
from rerank.catalog.rerank_apis import APIS, address_of, host_of, model_of, tokens_of
from rerank.catalog.upstreams import Upstream
from rerank.errors import SettingsError


def read(folder: Path, table: str, more: str = "", name: str = "far") -> ModelCard:
    file = folder / "models.toml"
    file.write_text(f'[[model]]\nid = "{name}"\nupstream = {table}\n{more}\n', encoding="utf-8")
    (card,) = read_models_file(file)
    return card


def test_a_service_needs_only_its_name(tmp_path: Path) -> None:
    card = read(tmp_path, '{ api = "dashscope" }', name="gte-rerank-v2")
    assert card == ModelCard(id="gte-rerank-v2", upstream=Upstream("dashscope"))
    assert not card.has_weights


def test_an_upstream_may_say_everything(tmp_path: Path) -> None:
    table = (
        '{ api = "vllm", url = "https://gpu-1:8000", model = "Qwen/Qwen3-Reranker-4B", key_file = "a.key", '
        'timeout = "1m", max_documents = 500, max_concurrency = 4, trust_env = true }'
    )
    card = read(tmp_path, table, 'max_length = 4096\ninstruction = "x"\nactivation = "sigmoid"\nmax_candidates = 9')
    assert card.upstream == Upstream(
        api="vllm",
        url="https://gpu-1:8000",
        model="Qwen/Qwen3-Reranker-4B",
        key_file=tmp_path / "a.key",
        timeout=60,
        max_documents=500,
        max_concurrency=4,
        trust_env=True,
    )
    assert (card.max_length, card.instruction, card.activation, card.repo) == (4096, "x", SIGMOID, None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('{ api = "openai" }', "api: it has to be one of vllm, cohere, jina"),
        ("{ }", "api: Field required"),
        ('{ api = "tei" }', "`url` is missing"),
        ('{ api = "tei", url = "ftp://a" }', "url: it has to be the http:// or https:// address"),
        ('{ api = "tei", url = "http://" }', "url: it has to be the http:// or https:// address"),
        ('{ api = "tei", url = "http://a:99999" }', "url: Port out of range"),
        ('{ api = "tei", url = "http://me:secret@a" }', "url: it has no place for a user"),
        ('{ api = "tei", url = "http://a?key=1" }', "url: it has no place for a user"),
        ('{ api = "tei", url = "http://a b" }', "url: it has to be printable"),
        ('{ api = "cohere", timeout = 0 }', "timeout"),
        ('{ api = "cohere", timeout = 601 }', "timeout"),
        ('{ api = "cohere", timeout = nan }', "timeout: it has to be a number of seconds"),
        ('{ api = "cohere", timeout = true }', "timeout: it has to be a number of seconds"),
        ('{ api = "cohere", max_documents = 0 }', "max_documents"),
        ('{ api = "cohere", max_documents = 1.5 }', "max_documents"),
        ('{ api = "cohere", max_concurrency = 1001 }', "max_concurrency"),
        ('{ api = "cohere", key_env = "A-B" }', "key_env"),
        ('{ api = "cohere", key_env = "A", key_file = "b" }', "give `key_env` or `key_file`, not both"),
        ('{ api = "cohere", key = "sk-secret" }', "key: there is no such field. Did you mean key_env?"),
        ('{ api = "cohere", trust_env = 1 }', "trust_env"),
    ],
)
def test_what_makes_no_sense_is_refused_with_field_and_reason(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"models\.toml: model\.0\.upstream(\.|: ){said}") as refused:
        read(tmp_path, table)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "line", ['path = "x"', 'repo = "a/b"', 'family = "cross-encoder"', "pinned = false", 'precision = "fp32"']
)
def test_what_concerns_weights_has_no_place_next_to_an_upstream(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=f"`{line.split(' ', 1)[0]}`.*next to `upstream`"):
        read(tmp_path, '{ api = "cohere" }', line)


def test_a_built_in_model_on_another_server_has_nothing_of_the_local_one() -> None:
    far = ModelCard(id="Qwen/Qwen3-Reranker-4B", upstream=Upstream("vllm", "http://gpu-1"))
    card = merge_cards(BUILT_IN, (far,))[0]
    assert (card.prompt, card.activation, card.stated_family) == (None, None, "upstream")
    assert card.about


@pytest.mark.parametrize(
    ("api", "url", "address"),
    [
        ("vllm", "http://gpu-1:8000", "http://gpu-1:8000/v1/rerank"),
        ("vllm", "http://gpu-1:8000/", "http://gpu-1:8000/v1/rerank"),
        ("vllm", "http://gpu-1:8000/v1", "http://gpu-1:8000/v1/rerank"),
        ("vllm", "http://gpu-1/prefix/v1/", "http://gpu-1/prefix/v1/rerank"),
        ("vllm", "http://gpu-1/prefix", "http://gpu-1/prefix/v1/rerank"),
        ("vllm", "http://gpu-1/rerank", "http://gpu-1/rerank"),
        ("cohere", None, "https://api.cohere.com/v2/rerank"),
        ("dashscope", "https://dashscope-intl.aliyuncs.com/api/v1", None),
        ("dashscope-compatible", "https://a/compatible-mode/v1/reranks", "https://a/compatible-mode/v1/reranks"),
        ("tei", "http://[::1]:80", "http://[::1]:80/rerank"),
        ("nvidia", "http://nim", "http://nim/v1/ranking"),
        ("nvidia", None, "https://ai.api.nvidia.com/v1/retrieval/nvidia/llama-3_2-nv-rerankqa-1b-v2/reranking"),
        ("infinity", "http://a/v1", "http://a/v1/rerank"),
    ],
)
def test_an_address_is_a_root_or_the_whole(api: str, url: str | None, address: str | None) -> None:
    whole = address or f"https://dashscope-intl.aliyuncs.com{APIS['dashscope'].path}"
    assert address_of(Upstream(api, url), "far") == whole
    assert host_of(Upstream(api, url), "far") == whole.split("/")[2]


def test_a_model_is_asked_for_by_its_name_there() -> None:
    assert model_of(Upstream("cohere", model="rerank-v4.0"), "far") == "rerank-v4.0"
    assert model_of(Upstream("cohere"), "far") == "rerank-v3.5"
    # on another server the service's models need not be
    assert model_of(Upstream("cohere", "http://a"), "far") == "far"
    assert [tokens_of(Upstream("cohere")), tokens_of(Upstream("cohere", model="rerank-v4.0"))] == [4096, None]
    assert tokens_of(Upstream("cohere", "http://a")) is None


def test_an_upstream_needs_no_folder_and_hides_none(tmp_path: Path) -> None:
    far = ModelCard(id="acme/far", upstream=Upstream("tei", "http://a"))
    folder = tmp_path / "far"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    catalog = Catalog(tmp_path, (far,))
    assert catalog.folder(far) is None
    assert not catalog.is_local(far)
    assert catalog.resolve("acme/far") is far
    assert "far" in [card.id for card in catalog.cards()]
