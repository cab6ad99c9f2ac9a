"""Start the segmentation node on the sensors of a CARLA vehicle.

    ros2 launch any2seg_ros carla.launch.py checkpoint:=... ego:=hero              # ROS bridge, CARLA 0.9.13
    ros2 launch any2seg_ros carla.launch.py checkpoint:=... profile:=native calibration_file:=c.yaml    # 0.9.16 --ros2

Every argument of segment.launch.py may be given too; a topic that is given wins over the profile. score:=true
judges the labels against CARLA's semantic camera.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_core.vocabulary.topics import CarlaSensors, carla_bridge, carla_native, node_camera_infos
from any2seg_ros import launch_arguments as la

PROFILES = {"bridge": (carla_bridge, "palette", "0.9.13"), "native": (carla_native, "tag", "0.9.16")}
SENSORS = CarlaSensors(*(f"{name}_{la.CAMERA}" for name in ("rgb", "depth", "dvs")), truth=f"semantic_{la.CAMERA}")


def choices_of_the_profile(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Fill the arguments that follow from the profile, where they were not given."""
    values = context.launch_configurations
    topics_of, coding, version = PROFILES[values["profile"]]
    names = (values["rgb"], values["depth"], values["dvs"], values["lidar"], values["semantic"])
    topics = topics_of(values["ego"], CarlaSensors(*names))
    chosen = {argument.name: argument.default for argument in la.topic_arguments(topics)}
    chosen |= {"truth_topic": topics.truth, "truth_coding": coding, "carla_version": version}
    if values["profile"] == "native":
        chosen |= geometry_of_native(values)
    return [
        *(SetLaunchConfiguration(name, value) for name, value in chosen.items() if name not in values),
        LogInfo(msg=f"CARLA profile {values['profile']}, vehicle {values['ego']}"),
    ]


def geometry_of_native(values: dict[str, str]) -> dict[str, str]:
    """CARLA 0.9.16 sends a wrong K and wrong transforms: neither is listened to, both come from the file."""
    if not values.get("calibration_file"):
        raise UserError(
            "argument calibration_file: profile native needs one, because the camera_info and the transforms of "
            "CARLA 0.9.16 are wrong",
            "calibration-missing",
        )
    infos = [f"~/in/{below}" for below in node_camera_infos(VEHICLE).values()]
    private = {la.topic_argument(name): name for name in infos}
    return private | {"use_tf": "false"}


def score_nodes(context: LaunchContext) -> list[Node]:
    """One judge per segmentation node, in its namespace."""
    return [Node(**options) for options in la.score_nodes(context.launch_configurations)]


def generate_launch_description() -> LaunchDescription:
    """Arguments of CARLA, then segment.launch.py with the topics that follow from them."""
    segment = Path(get_package_share_directory("any2seg_ros")) / "launch" / "segment.launch.py"
    arguments = [
        la.Argument("profile", "bridge", "ROS bridge (0.9.13) or native ROS 2 (0.9.16).", tuple(PROFILES)),
        la.Argument("ego", "ego_vehicle", "Name of the vehicle."),
        la.Argument("rgb", SENSORS.rgb, "Name of the camera."),
        la.Argument("depth", SENSORS.depth, "Name of the depth camera."),
        la.Argument("dvs", SENSORS.event, "Name of the event camera."),
        la.Argument("lidar", SENSORS.lidar, "Name of the LiDAR."),
        la.Argument("semantic", SENSORS.truth, "Name of the semantic camera, the truth for score."),
    ]
    truth = la.score_arguments("", "palette", "0.9.13", "false")  # the profile has chosen before these defaults count
    return LaunchDescription([
        *(DeclareLaunchArgument(**argument.declaration()) for argument in arguments),
        OpaqueFunction(function=choices_of_the_profile),
        *(DeclareLaunchArgument(**argument.declaration()) for argument in truth),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(segment))),
        OpaqueFunction(function=score_nodes),
    ])
