"""Plans: the models that a request's model stands for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback
from rerank.errors import ModelNotFound, SettingsError

Resolve = Callable[[str], ModelCard]
"""The card of a name. Raises ModelNotFound."""


@dataclass(frozen=True, slots=True)
class Single:
    """A model of its own."""

    card: ModelCard

    @property
    def members(self) -> tuple[Plan, ...]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Plans that are tried in order until one answers."""

    card: ModelCard
    members: tuple[Plan, ...]
    share: float
    """The part of the remaining time that each may take, except the last."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Plans of which each scores what the one before kept."""

    card: ModelCard
    members: tuple[Plan, ...]
    stages: tuple[CascadeStage, ...]


@dataclass(frozen=True, slots=True)
class Blend:
    """Plans whose rankings are fused."""

    card: ModelCard
    members: tuple[Plan, ...]
    ensemble: Ensemble


Plan = Single | Chain | Cascade | Blend


def plan_of(card: ModelCard, resolve: Resolve, above: tuple[str, ...] = ()) -> Plan:
    """The plan of a card. Raises SettingsError for a route that leads back to itself, ModelNotFound for a member."""
    path = (*above, card.id)
    if card.id in above:
        raise SettingsError(f"the route of {above[0]} leads back to {card.id}: {' -> '.join(path)}")

    def members(names: tuple[str, ...]) -> tuple[Plan, ...]:
        return tuple(plan_of(resolve(name), resolve, path) for name in names)

    match card.route:
        case None:
            return Single(card)
        case Fallback(models, share):
            return Chain(card, members(models), share)
        case Ensemble(models):
            return Blend(card, members(models), card.route)
        case stages:
            return Cascade(card, members(tuple(stage.model for stage in stages)), stages)


def check_routes(cards: Iterable[ModelCard], resolve: Resolve) -> None:
    """Raise SettingsError for a route with an unknown model, or one that leads back to itself."""
    for card in cards:
        try:
            plan_of(card, resolve)
        except ModelNotFound as error:
            raise SettingsError(f"the route of {card.id}: {error.message}") from error


def with_fallbacks(plan: Plan, fallbacks: tuple[Plan, ...]) -> Plan:
    """The plan with a request's own fallbacks behind it."""
    return Chain(plan.card, (plan, *fallbacks), Fallback(()).share) if fallbacks else plan


def first_choice(plan: Plan) -> Iterator[ModelCard]:
    """Cards of the models that it asks if none fails."""
    match plan:
        case Single(card):
            yield card
        case Chain(members=members):
            yield from first_choice(members[0])
        case Cascade(members=members) | Blend(members=members):
            for member in members:
                yield from first_choice(member)


def estimated_work(plan: Plan, documents: int, top_n: int, tokens: Callable[[ModelCard], int]) -> float:
    """Estimated tokens that the plan's first choice reads; ``tokens``: those of all the documents for one model."""
    if not documents:
        return 0
    asked = min(documents, plan.card.max_candidates or documents)
    match plan:
        case Single(card):
            return tokens(card) * asked / documents
        case Chain(members=members):
            return estimated_work(members[0], documents, top_n, tokens) * asked / documents
        case Blend(members=members):
            return sum(estimated_work(member, documents, top_n, tokens) for member in members) * asked / documents
        case Cascade(members=members, stages=stages):
            work = 0.0
            for member, stage in zip(members, stages, strict=True):
                work += estimated_work(member, documents, top_n, tokens) * asked / documents
                asked = kept(stage, top_n, asked)
            return work


def kept(stage: CascadeStage, top_n: int, documents: int) -> int:
    """Number of documents that go on to the next stage."""
    keep = stage.keep
    if keep is None:
        return documents
    wanted = keep if isinstance(keep, int) else -int(-keep * top_n // 1) if top_n else documents
    return min(wanted, documents)
