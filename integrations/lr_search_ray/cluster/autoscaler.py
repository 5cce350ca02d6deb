"""What nodes a cluster that grows may still add."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ray
from ray.experimental.internal_kv import _internal_kv_get

CONFIG = Path("~/ray_bootstrap_config.yaml")  # `ray up` leaves it on the head node, and the autoscaler there reads it


def addable() -> list[dict[str, float]] | None:
    """What each kind of node has that may still be added, under Ray's names: CPU, GPU, ...

    Returns:
        Nothing where no autoscaler runs, None where one runs that does not say (as on Kubernetes).
    """
    config = ray._private.state.state.get_cluster_config()  # which some platforms report
    if config is not None and config.node_group_configs:
        return [dict(group.resources) for group in config.node_group_configs if group.max_count != 0]
    return _kinds_in(CONFIG.expanduser()) if _autoscaled() else []


def _autoscaled() -> bool:
    """Whether an autoscaler runs; Ray's monitor writes a status without one, too, in which each node is a kind of its own."""
    if _internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"__autoscaler") == b"1":
        return True
    status = _internal_kv_get(b"__autoscaling_status")
    if not status:
        return False
    try:
        report = json.loads(status).get("autoscaler_report") or {}  # none while the cluster is starting
        return any(kind != f"node_{node}" for node, kind in (report.get("node_type_mapping") or {}).items())
    except (ValueError, AttributeError):  # it is not documented: nothing is to be refused for it
        return True


def _kinds_in(path: Path) -> list[dict[str, float]] | None:
    import yaml  # type: ignore[import-untyped]  # Ray's own dependency

    try:
        config: dict[str, Any] = yaml.safe_load(path.read_text())
        kinds = config["available_node_types"].values()
        most = config.get("max_workers", 2)  # Ray's default
        grows = [kind for kind in kinds if kind.get("max_workers", most) > 0]
        return [{name: float(amount) for name, amount in kind["resources"].items()} for kind in grows]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return None
