"""Questions to the machines of a cluster, each answered by a worker there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lr_search_ray.cluster.resources import Node, nodes


def one_of_each_machine() -> list[Node]:
    """One node of each machine; the first is this program's own, for its machine."""
    own = ray.get_runtime_context().get_node_id()
    first: dict[str, Node] = {}
    for node in sorted(nodes(), key=lambda node: node.id != own):
        first.setdefault(node.address, node)
    return list(first.values())


def ask(
    asked: Iterable[Node], timeout_seconds: float, question: Callable[[str], str], text: str
) -> list[tuple[Node, str]]:
    """Which nodes do not answer a question with "", and what they say."""
    task = ray.remote(question)
    answers = {}
    for node in asked:
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        answers[task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(text)] = node
    deadline = time.monotonic() + timeout_seconds
    failed = []
    for answer, node in answers.items():
        try:
            reason = ray.get(answer, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            ray.cancel(answer, force=True)
            reason = f"nothing has answered within {timeout_seconds:g} s"
        except Exception as error:
            reason = f"a worker fails: {' '.join(str(error).split())}"
        if reason:
            failed.append((node, reason))
    return failed
