"""Tokenizing endpoints of vLLM and of TEI. One word is one token here, numbered as the words come."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rerank.access.keyring import key_hash
from rerank.api.dialects.main import MainDialect
from rerank.core import Caller, TextTokens
from rerank.scorers.fake import WordOverlapScorer, Words
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, AppUnderTest, error_message

from .conftest import OpenApp


class SlowWords(Words):
    """Reads no text before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.gate = threading.Event()

    def tokens(self, text: str, *, special: bool) -> TextTokens:
        self.reached.set()
        assert self.gate.wait(PATIENCE)
        return super().tokens(text, special=special)


@pytest.fixture
def words(open_app: OpenApp) -> AppUnderTest:
    """A app whose model knows no word yet."""
    return open_app(WordOverlapScorer())


def ok(app: AppUnderTest, path: str, **body: Any) -> Any:
    response = app.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


class TestVllm:
    def test_counts_and_lists_tokens(self, words: AppUnderTest) -> None:
        assert ok(words, "/tokenize", prompt="to be or to") == {
            "count": 6,
            "max_model_len": 512,
            "tokens": [0, 2, 3, 4, 2, 1],
            "token_strs": None,
        }

    def test_leaves_special_tokens_out_and_spells_tokens(self, words: AppUnderTest) -> None:
        answer = ok(words, "/tokenize", prompt="to be", add_special_tokens=False, return_token_strs=True, model=None)
        assert (answer["tokens"], answer["token_strs"]) == ([2, 3], ["to", "be"])

    def test_tokenises_a_text_longer_than_the_model_reads(self, words: AppUnderTest) -> None:
        assert ok(words, "/tokenize", prompt="x " * 5000)["count"] == 5002

    def test_turns_tokens_into_text(self, words: AppUnderTest) -> None:
        tokens = ok(words, "/tokenize", prompt="to be")["tokens"]
        assert ok(words, "/detokenize", tokens=tokens, model=MODEL.id) == {"prompt": "<s> to be </s>"}
        assert ok(words, "/detokenize", tokens=[]) == {"prompt": ""}

    @pytest.mark.parametrize(
        ("path", "body", "param"),
        [
            ("/tokenize", {}, "body.prompt"),
            ("/tokenize", {"messages": [{"role": "user", "content": "x"}]}, "body.prompt"),
            ("/tokenize", {"prompt": ["x"]}, "body.prompt"),
            ("/tokenize", {"prompt": "\ud800"}, "body.prompt"),
            ("/tokenize", {"prompt": "x", "model": "m" * 513}, "body.model"),
            ("/detokenize", {"tokens": [0, -1, -2]}, "body.tokens.1"),
            ("/detokenize", {"tokens": [2**32]}, "body.tokens.0"),
            ("/detokenize", {"tokens": [0] * 131_073}, "body.tokens"),
        ],
    )
    def test_names_a_wrong_field(self, app: AppUnderTest, path: str, body: dict[str, Any], param: str) -> None:
        response = app.post(path, body)
        assert error_message(response, 400, "Bad Request").startswith("1 validation error: ")
        assert response.json()["error"]["param"] == param

    def test_refuses_more_than_is_tokenised_at_once(self, app: AppUnderTest) -> None:
        assert app.post("/tokenize", {"prompt": "é" * 131_072}).status_code == 200
        response = app.post("/tokenize", {"prompt": "é" * 131_073})
        message = error_message(response, 400, "BadRequestError")
        assert message == "prompt holds 262146 bytes; at most 262144 are tokenised at once. Send it in parts."

    def test_names_an_id_that_no_token_has(self, app: AppUnderTest) -> None:
        response = app.post("/detokenize", {"tokens": [0, 4_000_000_000]})
        error_message(response, 400, "BadRequestError")
        assert response.json()["error"]["param"] == "tokens.1"

    def test_refuses_an_unknown_model(self, app: AppUnderTest) -> None:
        error_message(app.post("/tokenize", {"prompt": "x", "model": "nope"}), 404, "NotFoundError")

    @pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/embeddings", "/invocations"])
    def test_says_errors_strictly_where_it_is_strict(self, open_app: OpenApp, path: str) -> None:
        app = open_app(main_dialect=MainDialect.STRICT_VLLM)
        assert list(app.post(path, {"prompt": 3, "tokens": 3, "input": "x"}).json()) == ["error"]


class TestTei:
    def test_gives_an_array_for_each_text(self, words: AppUnderTest) -> None:
        [tokens] = ok(words, "/tei/tokenize", inputs="to be")
        assert tokens[0] == {"id": 0, "text": "<s>", "special": True, "start": None, "stop": None}
        assert tokens[2] == {"id": 3, "text": "be", "special": False, "start": 3, "stop": 5}
        several = ok(words, "/tei/tokenize", inputs=["to", "be or"], add_special_tokens=False)
        assert [[token["id"] for token in tokens] for tokens in several] == [[2], [3, 4]]

    def test_decodes_one_or_several(self, words: AppUnderTest) -> None:
        ok(words, "/tei/tokenize", inputs="to be")
        assert ok(words, "/tei/decode", ids=[0, 2, 3, 1]) == ["to be"]
        assert ok(words, "/tei/decode", ids=[[0, 2], [3]], skip_special_tokens=False) == ["<s> to", "be"]
        assert ok(words, "/tei/decode", ids=[]) == []

    @pytest.mark.parametrize(
        ("path", "body", "said"),
        [
            ("/tei/tokenize", {"inputs": [3, 4]}, "inputs.0: "),
            ("/tei/tokenize", {"inputs": ["x" * 200_000] * 2}, "inputs holds 400000 bytes"),
            ("/tei/tokenize", {"inputs": ["x"] * 5001}, "MAX_DOCUMENTS"),
            ("/tei/decode", {"ids": [[1], 2]}, "ids.0.0: "),
            ("/tei/decode", {"ids": [0, -1]}, "ids.0.1: "),
            ("/tei/decode", {"ids": [2**32 - 1]}, "ids.0.0: the model has no token 4294967295."),
            ("/tei/decode", {"ids": [[0], [2**32 - 1]]}, "ids.1.0: the model has no token"),
            ("/tei/decode", {"ids": [[0] * 70_000] * 2}, "ids: At most 131072 ids are decoded at once"),
            ("/tei/decode", {"ids": [[]] * 5001}, "MAX_DOCUMENTS"),
        ],
    )
    def test_says_errors_as_tei_does(self, app: AppUnderTest, path: str, body: dict[str, Any], said: str) -> None:
        response = app.post(path, body)
        assert (response.status_code, response.json()["error_type"]) == (422, "Validation")
        assert said in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "x"}),
        ("/detokenize", {"tokens": [0]}),
        ("/tei/tokenize", {"inputs": "x"}),
        ("/tei/decode", {"ids": [0]}),
        ("/v1/embeddings", {"input": "x"}),
        ("/invocations", {"input": "x"}),
        ("/invocations", {"query": "q", "documents": ["a"]}),
        ("/invocations", {"text_1": "q", "text_2": "a"}),
    ],
)
class TestKeys:
    def test_are_needed(self, open_app: OpenApp, path: str, body: dict[str, Any]) -> None:
        assert open_app(keys=("k",)).post(path, body).status_code == 401

    def test_open_only_their_models(self, open_app: OpenApp, path: str, body: dict[str, Any]) -> None:
        app = open_app(named_keys={key_hash("k"): Caller("chat", models=(OTHER_MODEL.id,))})
        app.client.headers["Authorization"] = "Bearer k"
        assert app.post(path, body | {"model": MODEL.id}).status_code == 403
        # without a name the key's own model answers
        assert app.post(path, body).status_code in (200, 400)


def test_tokenizing_counts_as_a_keys_work(open_app: OpenApp) -> None:
    app = open_app(named_keys={key_hash("k"): Caller("chat", tokens_per_minute=1000)})
    app.client.headers["Authorization"] = "Bearer k"
    statuses = [app.post("/tokenize", {"prompt": "word " * 400}).status_code for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_tokenizing_leaves_the_event_loop_alone(open_app: OpenApp) -> None:
    scorer = WordOverlapScorer()
    scorer.tokenizer = slow = SlowWords()
    app = open_app(scorer)
    answer = app.meanwhile(app.post, "/tokenize", {"prompt": "to be"})
    assert slow.reached.wait(PATIENCE)
    assert app.client.get("/health").status_code == 200
    assert app.rerank().status_code == 200
    slow.gate.set()
    assert answer.result(PATIENCE).json()["count"] == 4


class TestTokenizerInfo:
    def test_is_not_there_unless_it_is_wanted(self, app: AppUnderTest) -> None:
        assert app.client.get("/tokenizer_info").status_code == 404

    def test_needs_the_files(self, open_app: OpenApp) -> None:
        response = open_app(tokenizer_info=True).client.get("/tokenizer_info")
        assert "acme/words is not on disk" in error_message(response, 503, "ServiceUnavailableError")
