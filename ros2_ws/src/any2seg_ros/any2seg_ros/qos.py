"""Quality of service of every topic, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from any2seg_core.bags.reader import RecordedQos

RELIABILITIES = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}

OUTPUT = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST,
    depth=2,
)
"""Label, colour, overlay, confidence, modalities: any subscriber matches."""

LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
)
"""Label names: reach subscribers that come later."""

TRANSFORMS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=100)
"""/tf, as tf2_ros listens to it."""

STATIC_TRANSFORMS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)
"""/tf_static: every publisher sends once."""

REPLAY = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=10)
"""What the CARLA bridge offers on its sensor topics."""


def sensor_input(reliability: str, depth: int) -> QoSProfile:
    """Volatile, keep last `depth`; best effort matches every publisher, reliable only reliable ones."""
    return QoSProfile(
        reliability=RELIABILITIES[reliability],
        durability=DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
    )


def as_recorded(offers: Sequence[RecordedQos], is_static: bool) -> QoSProfile:
    """What one publisher has to offer so that everybody who matched one of the recorded publishers matches it too.

    Args:
        offers: of all publishers that the topic had; none: as the CARLA bridge, latched if `is_static`.
    """
    if not offers:
        return LATCHED if is_static else REPLAY
    is_reliable = any(offer.reliability != "best_effort" for offer in offers)
    is_latched = any(offer.durability == "transient_local" for offer in offers)
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=max([offer.depth for offer in offers] + [1 if is_latched else REPLAY.depth]),
    )
