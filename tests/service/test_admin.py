"""Loading, unloading and pinning models by hand, and who may."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from rerank.access.keyring import key_hash
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.core import Caller
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, AppUnderTest, GatedScorer, bearer, error_message

from .conftest import OpenApp

KEY, ADMIN_KEY, SECOND_ADMIN_KEY = "a-key", "an-admin-key", "an0ther-admin-key"
HERE, ELSEWHERE = "127.0.0.1", "203.0.113.7"
ACTS = ("load", "unload", "pin")


def act(app: AppUnderTest, name: str, model: str = MODEL.id, **options: Any) -> Any:
    return app.client.post(f"/v1/models/{model}/{name}", **options)


@pytest.fixture
def local(open_app: OpenApp) -> AppUnderTest:
    return open_app(client=HERE)


class TestActs:
    def test_load_answers_once_the_model_is_ready(self, local: AppUnderTest) -> None:
        response = act(local, "load", "the-words")
        assert response.status_code == 200
        assert (response.json()["id"], response.json()["state"]) == (MODEL.id, "ready")
        assert act(local, "load").json()["state"] == "ready"

    def test_load_tells_why_it_cannot(self, open_app: OpenApp) -> None:
        app = open_app(client=HERE, budget=10, sizes={MODEL.id: 20})
        assert "needs 20 B" in error_message(act(app, "load"), 503, "ServiceUnavailableError")

    def test_load_that_takes_too_long_is_503_and_goes_on(self, open_app: OpenApp) -> None:
        may_end = threading.Event()

        def load(card: ModelCard) -> LoadedModel:
            assert may_end.wait(PATIENCE)
            return app.loaded(card)

        app = open_app(client=HERE, load=load, load_timeout=0.1)
        error_message(act(app, "load"), 503, "ServiceUnavailableError")
        may_end.set()
        assert any(act(app, "load").status_code == 200 for _ in range(100))

    def test_unload_answers_once_the_model_is_gone(self, local: AppUnderTest) -> None:
        local.rerank()
        assert act(local, "unload").json()["state"] == "absent"
        assert act(local, "unload").json()["state"] == "absent"
        assert local.rerank().status_code == 200

    def test_unload_lets_running_work_end(self, open_app: OpenApp) -> None:
        scorer = GatedScorer()
        app = open_app(scorer, client=HERE, timeout=0.5)
        scorer.gate.set()
        app.rerank()
        scorer.gate.clear()
        scorer.reached.clear()
        app.rerank_meanwhile()
        assert scorer.reached.wait(PATIENCE)
        assert act(app, "unload").json()["state"] in ("draining", "absent")
        scorer.gate.set()
        assert act(app, "unload").json()["state"] == "absent"

    @pytest.mark.parametrize(
        ("options", "pinned"),
        [
            ({}, True),
            ({"json": {}}, True),
            ({"json": {"pinned": None}}, True),
            ({"json": {"pinned": True}}, True),
            ({"json": {"pinned": False}}, False),
            ({"params": {"pinned": "false"}}, False),
            ({"params": {"pinned": "true"}, "json": {"pinned": False}}, True),
        ],
    )
    def test_pin_is_on_unless_it_is_said_to_be_off(
        self, local: AppUnderTest, options: dict[str, Any], pinned: bool
    ) -> None:
        act(local, "pin")
        response = act(local, "pin", **options)
        assert (response.status_code, response.json()["pinned"]) == (200, pinned)
        assert response.json()["state"] == "absent"

    def test_a_pinned_model_makes_no_room(self, open_app: OpenApp) -> None:
        app = open_app(client=HERE, budget=100, sizes={MODEL.id: 60, OTHER_MODEL.id: 60})
        act(app, "pin")
        app.rerank()
        message = error_message(app.rerank(model=OTHER_MODEL.id), 503, "ServiceUnavailableError")
        assert "next to the pinned acme/words" in message
        act(app, "pin", params={"pinned": "false"})
        assert app.rerank(model=OTHER_MODEL.id).status_code == 200

    @pytest.mark.parametrize("name", ACTS)
    def test_an_unknown_model_is_404(self, local: AppUnderTest, name: str) -> None:
        error_message(act(local, name, "nope"), 404, "NotFoundError")

    @pytest.mark.parametrize("name", ACTS)
    def test_an_id_may_be_escaped(self, local: AppUnderTest, name: str) -> None:
        assert act(local, name, "acme%2Fwords").status_code == 200

    def test_nonsense_is_400(self, local: AppUnderTest) -> None:
        assert act(local, "pin", json={"pinned": "perhaps"}).status_code == 400
        assert act(local, "pin", params={"pinned": "perhaps"}).status_code == 400


@pytest.fixture(scope="module")
def open_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApp]:
    """Opens an app that is shared by all who ask for the same: they leave nothing behind that another looks at."""
    with ExitStack() as apps:
        yield cache(
            lambda **options: apps.enter_context(AppUnderTest(tmp_path_factory.mktemp("models"), **options)),
        )


@pytest.fixture
def here(open_once: OpenApp) -> AppUnderTest:
    """An app whose client is on the server's own machine."""
    return open_once(client=HERE)


@pytest.mark.parametrize("name", ACTS)
class TestWhoMay:
    @pytest.mark.parametrize("client", [HERE, ELSEWHERE])
    @pytest.mark.parametrize("key", [ADMIN_KEY, SECOND_ADMIN_KEY])
    @pytest.mark.parametrize("keys", [(), (KEY,)])
    def test_an_admin_key_may_from_anywhere(
        self, open_once: OpenApp, name: str, client: str, key: str, keys: tuple[str, ...]
    ) -> None:
        app = open_once(client=client, keys=keys, admin_keys=(ADMIN_KEY, SECOND_ADMIN_KEY))
        assert act(app, name, headers=bearer(key)).status_code == 200

    @pytest.mark.parametrize("client", [HERE, ELSEWHERE])
    @pytest.mark.parametrize("headers", [{}, bearer(KEY), bearer(ADMIN_KEY + "x"), bearer("wrong"), bearer("\u00ff")])
    @pytest.mark.parametrize("keys", [(), (KEY,)])
    def test_nobody_else_where_there_is_one(
        self, open_once: OpenApp, name: str, client: str, headers: dict[str, str], keys: tuple[str, ...]
    ) -> None:
        app = open_once(client=client, keys=keys, admin_keys=(ADMIN_KEY,))
        raw = {header.encode(): value.encode() for header, value in headers.items()}
        response = act(app, name, headers=raw)
        error_message(response, 401, "AuthenticationError")

    @pytest.mark.parametrize("client", [HERE, "127.8.0.1", "::1", "::ffff:127.0.0.1"])
    def test_without_one_a_client_on_this_machine_may(self, open_once: OpenApp, name: str, client: str) -> None:
        assert act(open_once(client=client), name).status_code == 200

    @pytest.mark.parametrize("client", [ELSEWHERE, "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "testclient", ""])
    def test_without_one_nobody_else_may(self, open_once: OpenApp, name: str, client: str) -> None:
        message = error_message(act(open_once(client=client), name), 403, "PermissionDeniedError")
        assert "RERANK_ADMIN_KEY is not set" in message

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Forwarded-For": HERE},
            {"X-Forwarded-For": ELSEWHERE},
            {"X-Forwarded-Proto": "https"},
            {"X-Real-IP": HERE},
            {"Forwarded": f"for={HERE}"},
            {"Via": "1.1 proxy"},
            # a web page that a browser on this machine shows
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"},
            {"Host": "evil.example"},
            {"Host": "[::1"},
        ],
        ids=str,
    )
    def test_without_one_nobody_may_by_way_of_a_client_on_this_machine(
        self, here: AppUnderTest, name: str, headers: dict[str, str]
    ) -> None:
        error_message(act(here, name, headers=headers), 403, "PermissionDeniedError")

    @pytest.mark.parametrize("place", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
    def test_the_servers_own_documentation_page_may(self, here: AppUnderTest, name: str, place: str) -> None:
        assert act(here, name, headers={"Origin": f"http://{place}", "Host": place}).status_code == 200

    def test_another_page_of_this_machine_may_not(self, here: AppUnderTest, name: str) -> None:
        response = act(here, name, headers={"Origin": "http://localhost:3000", "Host": "localhost:8000"})
        error_message(response, 403, "PermissionDeniedError")

    @pytest.mark.parametrize("client", [HERE, ELSEWHERE])
    def test_where_keys_are_set_nobody_may_without_an_admin_key(
        self, open_once: OpenApp, name: str, client: str
    ) -> None:
        app = open_once(client=client, keys=(KEY,))
        error_message(act(app, name), 401, "AuthenticationError")
        message = error_message(act(app, name, headers=bearer(KEY)), 403, "PermissionDeniedError")
        assert "RERANK_ADMIN_KEY is not set" in message

    @pytest.mark.parametrize("suffix", ["/", "%0A", "?access_token=a-key", "//"])
    def test_no_other_spelling_opens_the_door(self, open_once: OpenApp, name: str, suffix: str) -> None:
        app = open_once(client=ELSEWHERE, admin_keys=(ADMIN_KEY,))
        response = app.client.post(f"/v1/models/{MODEL.id}/{name}{suffix}")
        assert response.status_code in (401, 404, 405)


class TestRemovedFolder:
    """Its model is still in memory."""

    BOUND = "key-of-one-model"

    @pytest.fixture
    def app(self, open_app: OpenApp) -> AppUnderTest:
        callers = {ADMIN_KEY: Caller("admin", admin=True), self.BOUND: Caller("bound", admin=True, models=(MODEL.id,))}
        app = open_app(named_keys={key_hash(key): caller for key, caller in callers.items()})
        folder = app.gateway.catalog.models_dir / "gone"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        assert act(app, "load", "gone", headers=bearer(ADMIN_KEY)).status_code == 200
        shutil.rmtree(folder)
        return app

    @staticmethod
    def listed(app: AppUnderTest, key: str) -> dict[str, bool]:
        models = app.client.get("/v1/models", headers=bearer(key)).json()["data"]
        return {model["id"]: model["loaded"] for model in models}

    def test_removed_folder_leaves_its_model_listed_until_it_is_unloaded(self, app: AppUnderTest) -> None:
        assert self.listed(app, ADMIN_KEY)["gone"]
        assert app.client.get("/v1/models/gone", headers=bearer(ADMIN_KEY)).json()["state"] == "ready"

        assert act(app, "unload", "gone", headers=bearer(ADMIN_KEY)).json()["state"] == "absent"
        assert "gone" not in self.listed(app, ADMIN_KEY)
        error_message(act(app, "unload", "gone", headers=bearer(ADMIN_KEY)), 404, "NotFoundError")

    def test_removed_folder_is_no_model_to_load(self, app: AppUnderTest) -> None:
        error_message(act(app, "load", "gone", headers=bearer(ADMIN_KEY)), 404, "NotFoundError")

    def test_removed_folder_is_hidden_from_a_key_for_other_models(self, app: AppUnderTest) -> None:
        assert "gone" not in self.listed(app, self.BOUND)
        error_message(act(app, "unload", "gone", headers=bearer(self.BOUND)), 404, "NotFoundError")


def test_an_admin_key_may_do_what_a_usual_key_may(open_app: OpenApp) -> None:
    app = open_app(keys=(KEY,), admin_keys=(ADMIN_KEY,))
    assert app.client.get("/v1/models", headers=bearer(ADMIN_KEY)).status_code == 200


def test_an_admin_key_alone_does_not_close_the_server(open_app: OpenApp) -> None:
    assert open_app(admin_keys=(ADMIN_KEY,)).rerank().status_code == 200
