"""Frame: one set on the camera plane, and what came of each of its sensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from any2seg_core.sensors.rig import SensorRig


@dataclass(frozen=True)
class Frame:
    """One set on the camera plane.

    Attributes:
        stamp_ns: stamp of the set, end of the event window.
        planes: per usable modality (H, W, 3) uint8, canonical order, all of one size: that of the camera image of the
            set, else of the last one since the last reset, else of the camera's intrinsics; (h, w, 3) where the pixels
            of a network were picked. Empty when nothing could be read. Some cannot be written to: those that are the
            same array as in an earlier set.
        errors: per unusable modality why, one line; unusable is also one without a single pixel in its plane.
        reasons: per unusable modality a stable key to count by, of MESSAGE_REASONS (the message is bad) or of
            HEALTH_REASONS (the sensor is ill).
        codes: per unusable modality whose message is bad, or does not fit the geometry, the code of that error.
        samples: per usable modality the array that its plane was made of, as `SensorRig.planes` takes it; times of
            events in the clock of the stamp.
        notes: what somebody should know about the streams, one line each, told once.
        repeats: per modality that repeats itself, how near it is to frozen, 0..1 (`HealthMonitor.repetition`).
        rig: geometry that the planes were made with; None as long as no camera is known.
        frame_id: frame of the planes: that of the camera image of the set, else of the camera.
        size: (H, W) of the grid of the planes where pixels were picked of some; else None, the planes say it.
    """

    stamp_ns: int
    planes: dict[str, np.ndarray]
    errors: dict[str, str]
    reasons: dict[str, str]
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeats: dict[str, float] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    rig: SensorRig | None = None
    frame_id: str = ""
    size: tuple[int, int] | None = None
