"""Any2Seg: semantic segmentation from whichever of camera, depth, event camera and LiDAR are alive.

The names of this module are the ones to build on; each is loaded when it is first asked for, so that importing the
package costs nothing and brings no torch.

Shape alphabet of comments and docstrings: B batch, M modality, C channel, H height, W width, K class, N points.

Example:
    >>> from any2seg_core import __version__
    >>> __version__.count(".")
    2
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for that of typing, whose import takes longer than all else here

if TYPE_CHECKING:  # at run time __getattr__ answers; checkers do not see it, so that they know a wrong name
    from any2seg_core.bags.reader import Recording
    from any2seg_core.base.errors import UserError
    from any2seg_core.base.shipped import default_checkpoint
    from any2seg_core.base.versions import __version__
    from any2seg_core.runtime.predictor import Predictor, Segmentation
    from any2seg_core.sensors.calibration import Calibration, load_calibration
    from any2seg_core.sensors.camera import CameraModel
    from any2seg_core.sensors.rig import SensorRig
    from any2seg_core.sync import StreamConfig, SyncConfig, Synchronizer
    from any2seg_core.vocabulary.labels import LabelSpace, label_space
    from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
    from any2seg_core.vocabulary.sensor import Sensor

__all__ = [
    "Calibration",
    "CameraModel",
    "LabelSpace",
    "Predictor",
    "Recording",
    "Segmentation",
    "Sensor",
    "SensorRig",
    "SensorSuite",
    "StreamConfig",
    "SyncConfig",
    "Synchronizer",
    "UserError",
    "__version__",
    "default_checkpoint",
    "label_space",
    "load_calibration",
    "sensor_suite",
]

_HOMES = {
    "Calibration": "sensors.calibration",
    "CameraModel": "sensors.camera",
    "LabelSpace": "vocabulary.labels",
    "Predictor": "runtime.predictor",
    "Recording": "bags.reader",
    "Segmentation": "runtime.predictor",
    "Sensor": "vocabulary.sensor",
    "SensorRig": "sensors.rig",
    "SensorSuite": "vocabulary.modalities",
    "StreamConfig": "sync",
    "SyncConfig": "sync",
    "Synchronizer": "sync",
    "UserError": "base.errors",
    "__version__": "base.versions",
    "default_checkpoint": "base.shipped",
    "label_space": "vocabulary.labels",
    "load_calibration": "sensors.calibration",
    "sensor_suite": "vocabulary.modalities",
}
"""Public name -> module below this package."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
