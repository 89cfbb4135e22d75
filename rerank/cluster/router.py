"""Ray's request router for replicas: it asks the desk.

Ray calls this interface alpha. All that it decides is in `desk` and `routing`; this module alone changes with Ray.
"""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from rerank.cluster import desk


class ModelRouter(RequestRouter):
    """The replica for each request, by the wish that is its first argument."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take the replicas that run, and their reports."""
        super().update_replicas(replicas)
        desk.DESK.report({replica.replica_id.unique_id: replica.routing_stats for replica in replicas})

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Each replica as a rank of its own, the best first."""
        if pending_request is None:
            return [candidate_replicas]
        # else Ray would try again without a pause where all are full
        pending_request.routing_context.should_backoff = True
        known = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        return [[known[name]] for name in desk.DESK.order(pending_request.args[0], known)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:  # noqa: ARG002
        """Note where it was sent."""
        desk.DESK.sent(pending_request.args[0], replica_id.unique_id)
