"""Which topic carries which sensor: names of the node's inputs, and of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from any2seg_core.vocabulary.modalities import SHIPPED, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import POINTS

_OLDER_INPUTS = MappingProxyType({"rgb": "image", "event": "events", "lidar": "points"})
"""Sensors of the shipped suites whose inputs the node had before sensors could be named."""
_SHIPPED = tuple(suite.name for suite in SHIPPED)


def node_input(suite: SensorSuite, name: str) -> str:
    """Name of a sensor's messages below the node's ``~/in/``: that of the sensor, but for some of the shipped suites.

    Launch arguments and parameters are made of it too: ``<input>_topic``, ``<input>_transport``.
    """
    return _OLDER_INPUTS.get(name, name) if suite.name in _SHIPPED else name


def node_camera_infos(suite: SensorSuite) -> dict[str, str]:
    """Sensor -> name of its camera_info below ``~/in/``, of all sensors that have pixels."""
    return {sensor.name: _camera_info(node_input(suite, sensor.name), sensor.name) for sensor in suite.sensors
            if sensor.kind != POINTS}  # fmt: skip


def _camera_info(below: str, name: str) -> str:
    return "camera_info" if below == "image" != name else f"{below}_camera_info"


@dataclass(frozen=True)
class TopicMap:
    """Topics of one robot or recording.

    Attributes:
        streams: sensor -> its topic. camera_infos: sensor -> its camera_info topic.
        truth: topic of ground-truth train ids (mono8), or "" if there is none.
        odometry: topic of the vehicle's motion (nav_msgs/Odometry), or "" if there is none.
        suite: the sensors there can be.
    """

    streams: dict[str, str]
    camera_infos: dict[str, str]
    truth: str = ""
    odometry: str = ""
    suite: SensorSuite = VEHICLE

    @property
    def names(self) -> tuple[str, ...]:
        """All topics, each once."""
        extra = (name for name in (self.truth, self.odometry) if name)
        return tuple(dict.fromkeys((*self.streams.values(), *self.camera_infos.values(), *extra)))

    def sensor_of(self, topic: str) -> str | None:
        """The sensor that a topic belongs to, its camera_info included; None for every other topic."""
        for table in (self.streams, self.camera_infos):
            for name, candidate in table.items():
                if candidate == topic:
                    return name
        return None

    def node_remappings(self) -> dict[str, str]:
        """Private input of the node -> topic, for every input that this map has."""
        pairs = {f"~/in/{node_input(self.suite, name)}": self.streams[name] for name in self.suite.members
                 if name in self.streams}  # fmt: skip
        for name, below in node_camera_infos(self.suite).items():
            if name in self.camera_infos:
                pairs[f"~/in/{below}"] = self.camera_infos[name]
        return pairs


@dataclass(frozen=True)
class CarlaSensors:
    """Names of the sensors in CARLA: `id` in the objects file of the bridge, `ros_name` with native ROS 2."""

    rgb: str = "rgb_front"
    depth: str = "depth_front"
    event: str = "dvs_front"
    lidar: str = "lidar"
    truth: str = "semantic_front"


def carla_bridge(ego: str = "ego_vehicle", sensors: CarlaSensors = CarlaSensors()) -> TopicMap:
    """Topics of the CARLA ROS bridge (for CARLA 0.9.13), as the simulated drive records them."""
    return _carla(f"/carla/{ego}", sensors, events_below="events")


def carla_native(ego: str = "ego_vehicle", sensors: CarlaSensors = CarlaSensors()) -> TopicMap:
    """Topics of CARLA 0.9.16 with its native ROS 2 interface: events come as a point cloud."""
    return _carla(f"/carla/{ego}", sensors, events_below="point_cloud")


def _carla(prefix: str, sensors: CarlaSensors, events_below: str) -> TopicMap:
    cameras = {"rgb": sensors.rgb, "depth": sensors.depth, "event": sensors.event}
    return TopicMap(
        streams={
            "rgb": f"{prefix}/{sensors.rgb}/image",
            "depth": f"{prefix}/{sensors.depth}/image",
            "event": f"{prefix}/{sensors.event}/{events_below}",
            "lidar": f"{prefix}/{sensors.lidar}",
        },
        camera_infos={name: f"{prefix}/{sensor}/camera_info" for name, sensor in cameras.items()},
        truth=f"{prefix}/{sensors.truth}/image",
    )
