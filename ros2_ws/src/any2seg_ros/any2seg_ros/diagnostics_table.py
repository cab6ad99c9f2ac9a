"""The keys of the node's status in /diagnostics, for the documentation. A test holds them against a real message."""

from __future__ import annotations

from types import MappingProxyType

NODE_KEYS = MappingProxyType({
    "fusion_state": "ok, partial (a sensor is missing), degraded (the first reference is), stalled, idle, disabled",
    "enabled": "as `~/enable` set it",
    "reference_stream": "sensor that leads at present",
    "reference_timestamp_min": "oldest stamp in the last set, seconds",
    "reference_timestamp_max": "newest stamp in the last set, seconds",
    "used": "sensors in the last label",
    "labels": "labels published",
    "label_rate_hz": "since the last report",
    "inference_ms": "projection and model, last label",
    "pipeline_latency_ms": "newest message of the set came in until its label went out",
    "sets": "sets with enough sensors, complete or timed out",
    "sets_incomplete": "sets not given to the model: a required sensor missing, or fewer than `min_modalities`",
    "sets_overrun": "sets replaced by newer ones before the model was free",
    "sets_failed": "sets that gave no label",
    "sets_idle": "sets that nobody wanted to see",
    "last_error": "why the last of them failed",
    "time_jumps": "jumps of time that reset the synchroniser",
    "model": "checkpoint",
    "device": "where it runs",
    "precision": "of its encoder's arithmetic",
})  # fmt: skip
STREAM_KEYS = MappingProxyType({
    "state": "never_seen, alive or dead",
    "used": "in the last label",
    "timestamp": "newest stamp, seconds",
    "age_ms": "stamp of the last label minus stamp of the message; only where used",
    "missing": "why it is not in the last label; only where not used",
    "interval_ms": "usual time between messages",
    "rate_hz": "the same as a rate",
    "received": "messages that came in",
    "fused": "messages that were used",
    "malformed": "messages that could not be used, in all",
    "malformed.REASON": "the same by reason",
    "ill": "messages left out because the sensor is ill, in all",
    "ill.REASON": "the same by reason: frozen, black, saturated, no_depth, sparse, event_storm, event_silence",
    "drops_no_match": "no set wanted it",
    "drops_late": "came after its set",
    "drops_queue": "buffer was full",
    "drops_jump": "time jumped",
    "drops_bad_stamp": "stamp was zero or negative; absent until it happens",
    "drops_duplicate": "stamp was there already; absent until it happens",
    "publishers": "publishers of the topic",
    "mount": "whence its pose: calibration_file, tf, camera_frame (has that frame), assumed (the camera's own) or none",
    "incompatible_qos": "publishers whose quality of service does not match",
})  # fmt: skip
"""After the sensor's name and a dot, as in `rgb.rate_hz`."""
