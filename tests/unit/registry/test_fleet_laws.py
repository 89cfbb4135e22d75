"""In every order of events: no caller waits for ever or loses its model, and no budget is overdrawn.

A caller that comes after a reload gets no model of before it.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rerank.catalog.cards import ModelCard
from rerank.errors import ModelUnavailable
from rerank.registry.events import (
    Decision,
    Dismiss,
    Done,
    Event,
    Failed,
    Find,
    Found,
    Grant,
    Load,
    Loaded,
    Pin,
    Refuse,
    Release,
    Reload,
    Shutdown,
    Tick,
    Unload,
    Unloaded,
    Want,
)
from rerank.registry.fleet import Fleet
from rerank.registry.lifecycle import State

BUDGET = 100
SIZES = {"a": 30, "b": 45, "c": 60, "d": 90, "e": 130, "behind another server": 0}
names = st.sampled_from(sorted(SIZES))


class World(RuleBasedStateMachine):
    """Carries out a fleet's decisions, slowly and in any order, and watches."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet({"gpu": BUDGET}, keep_alive=5)
        self.now = 0.0
        self.tickets = 0
        self.revision = 0
        self.current = dict.fromkeys(SIZES, 0)
        self.source: dict[str, int] = {}
        self.least: dict[int, int] = {}
        self.waiting: dict[int, str] = {}
        self.held: dict[int, str] = {}
        self.asked: set[int] = set()
        self.finding: list[str] = []
        self.found: dict[str, int] = {}
        self.loading: dict[str, int] = {}
        self.unloading: list[str] = []
        self.memory: dict[str, int] = {}
        self.stopped = False

    def tell(self, event: Event) -> None:
        self.now += 1
        for decision in self.fleet.handle(event, self.now):
            self.obey(decision)
        # one that turned out never to fit is forgotten
        self.found = {name: size for name, size in self.found.items() if self.is_known(name)}

    def obey(self, decision: Decision) -> None:
        match decision:
            case Find(card, _):
                if self.found.get(card.id, 0) > BUDGET:
                    del self.found[card.id]
                self.source[card.id] = int(card.revision or 0)
                assert card.id not in [*self.finding, *self.found, *self.loading, *self.memory]
                self.finding.append(card.id)
            case Load(name):
                size = self.found.pop(name)
                assert not size or not any(self.loading.values())
                assert not size or not any(self.memory[other] for other in self.unloading)
                self.loading[name] = size
                # another may have turned out larger than the whole budget, which is nothing to one without memory
                assert not size or sum(self.memory.values()) + size <= BUDGET
            case Unload(name):
                assert name in self.memory
                assert name not in self.unloading
                assert name not in self.held.values()
                self.unloading.append(name)
            case Grant(ticket, name):
                assert name in self.memory
                assert name not in self.unloading
                assert self.waiting.pop(ticket) == name
                assert self.source[name] >= self.least[ticket]
                self.held[ticket] = name
            case Refuse(ticket, _):
                del self.waiting[ticket]
            case Done(ticket):
                self.asked.remove(ticket)

    def card(self, name: str, revision: int | None = None) -> ModelCard:
        return ModelCard(id=name, revision=str(self.revision if revision is None else revision))

    def is_known(self, name: str) -> bool:
        return self.fleet.row(self.card(name)).state is not State.ABSENT

    def next_ticket(self) -> int:
        self.tickets += 1
        return self.tickets

    def known_size(self, name: str, estimate: int) -> int:
        row = self.fleet.row(self.card(name))
        measured = row.size["gpu"] if row.measured and row.size else estimate
        return measured if measured <= BUDGET else estimate

    @rule(name=names)
    def want(self, name: str) -> None:
        ticket = self.next_ticket()
        self.waiting[ticket] = name
        self.least[ticket] = self.current[name]
        self.tell(Want(ticket, self.card(name)))

    @rule(data=st.data())
    @precondition(lambda self: self.waiting or self.held)
    def release(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted([*self.waiting, *self.held])))
        self.waiting.pop(ticket, None)
        self.held.pop(ticket, None)
        self.tell(Release(ticket))

    @rule(data=st.data(), works=st.booleans())
    @precondition(lambda self: self.finding)
    def find_ends(self, data: st.DataObject, works: bool) -> None:
        self.end_find(data.draw(st.sampled_from(self.finding)), works=works)

    def end_find(self, name: str, *, works: bool) -> None:
        self.finding.remove(name)
        if works:
            self.found[name] = self.known_size(name, SIZES[name])
            self.tell(Found(name, {"gpu": SIZES[name]}))
        else:
            self.tell(Failed(name, ModelUnavailable("not found")))

    @rule(data=st.data(), works=st.booleans(), error=st.sampled_from([-10, 0, 20]))
    @precondition(lambda self: self.loading)
    def load_ends(self, data: st.DataObject, works: bool, error: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.loading)))
        size = self.loading.pop(name)
        if works:
            self.memory[name] = max(1, size + error) if size else 0
            self.tell(Loaded(name, {"gpu": self.memory[name]}))
        else:
            self.tell(Failed(name, ModelUnavailable("broken")))

    @rule(data=st.data())
    @precondition(lambda self: self.unloading)
    def unload_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.unloading))
        self.unloading.remove(name)
        del self.memory[name]
        self.tell(Unloaded(name))

    @rule(name=names)
    def dismiss(self, name: str) -> None:
        ticket = self.next_ticket()
        self.asked.add(ticket)
        self.tell(Dismiss(ticket, name))

    @rule(name=names, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        ticket = self.next_ticket()
        self.asked.add(ticket)
        self.tell(Pin(ticket, name, pinned))

    @rule(gone=st.sets(names, max_size=2), changed=st.booleans())
    def reload(self, gone: set[str], changed: bool) -> None:
        self.revision += changed
        self.current |= dict.fromkeys(set(SIZES) - gone, self.revision)
        self.tell(Reload(tuple(self.card(name) for name in SIZES if name not in gone)))

    @rule(seconds=st.integers(0, 10))
    def tick(self, seconds: int) -> None:
        self.now += seconds
        self.tell(Tick())

    @rule()
    @precondition(lambda self: self.tickets > 20 and not self.stopped)
    def shut_down(self) -> None:
        self.stopped = True
        self.tell(Shutdown())
        assert not self.waiting

    @invariant()
    def whoever_waits_waits_for_something(self) -> None:
        # for work under way, or for the work of somebody else to end
        assert not self.waiting or self.finding or self.loading or self.unloading or self.held

    @invariant()
    def what_takes_no_memory_waits_for_no_load(self) -> None:
        assert self.stopped or all(self.found.values())

    @invariant()
    def what_is_told_is_true(self) -> None:
        for name in SIZES:
            row = self.fleet.row(self.card(name))
            assert row.leases == list(self.held.values()).count(name)
            assert row.waiting == list(self.waiting.values()).count(name)

    def teardown(self) -> None:
        """Once all work ends, everybody has been answered."""
        while self.finding or self.loading or self.unloading or self.held:
            for name in list(self.finding):
                self.end_find(name, works=True)
            for name in list(self.loading):
                self.memory[name] = self.loading.pop(name)
                self.tell(Loaded(name, {"gpu": self.memory[name]}))
            for name in list(self.unloading):
                self.unloading.remove(name)
                del self.memory[name]
                self.tell(Unloaded(name))
            for ticket in list(self.held):
                del self.held[ticket]
                self.tell(Release(ticket))
        assert not self.waiting
        assert not self.asked


World.TestCase.settings = settings(max_examples=100, stateful_step_count=50)
TestWhateverHappens = World.TestCase
