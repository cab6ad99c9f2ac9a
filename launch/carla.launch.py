"""Start the segmentation node on the sensors of a CARLA vehicle.

    ros2 launch any2seg_ros carla.launch.py checkpoint:=... ego:=hero              # ROS bridge, CARLA 0.9.13
    ros2 launch any2seg_ros carla.launch.py checkpoint:=... profile:=native \\
        calibration_file:=c.yaml camera_info_url:=c.yaml                                    # CARLA 0.9.16 --ros2

Every argument of segment.launch.py may be given too; a topic that is given wins over the profile.
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

from any2seg_core.errors import UserError
from any2seg_core.topics import CarlaSensors, carla_bridge, carla_native
from any2seg_ros import launch_arguments as la

PROFILES = {"bridge": carla_bridge, "native": carla_native}
SENSORS = CarlaSensors(rgb=f"rgb_{la.CAMERA}", depth=f"depth_{la.CAMERA}", event=f"dvs_{la.CAMERA}")


def topics_of_the_profile(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Fill the topic arguments that were not given."""
    values = context.launch_configurations
    sensors = CarlaSensors(rgb=values["rgb"], depth=values["depth"], event=values["dvs"], lidar=values["lidar"])
    topics = PROFILES[values["profile"]](values["ego"], sensors)
    if values["profile"] == "native" and not (values.get("calibration_file") and values.get("camera_info_url")):
        raise UserError(
            "profile native: CARLA 0.9.16 sends a wrong K and wrong transforms: "
            "give both calibration_file and camera_info_url, see docs/carla.md"
        )
    given = [argument for argument in la.topic_arguments(topics) if argument.name not in values]
    return [
        *(SetLaunchConfiguration(argument.name, argument.default) for argument in given),
        LogInfo(msg=f"CARLA profile {values['profile']}: camera on {topics.streams['rgb']}"),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments of CARLA, then segment.launch.py with the topics that follow from them."""
    segment = Path(get_package_share_directory("any2seg_ros")) / "launch" / "segment.launch.py"
    return LaunchDescription([
        DeclareLaunchArgument(
            "profile",
            default_value="bridge",
            choices=list(PROFILES),
            description="bridge: carla_ros_bridge with CARLA 0.9.13; native: CARLA 0.9.16 started with --ros2.",
        ),
        DeclareLaunchArgument("ego", default_value="ego_vehicle", description="Name of the vehicle."),
        DeclareLaunchArgument("rgb", default_value=SENSORS.rgb, description="Name of the camera."),
        DeclareLaunchArgument("depth", default_value=SENSORS.depth, description="Name of the depth camera."),
        DeclareLaunchArgument("dvs", default_value=SENSORS.event, description="Name of the event camera."),
        DeclareLaunchArgument("lidar", default_value=SENSORS.lidar, description="Name of the LiDAR."),
        OpaqueFunction(function=topics_of_the_profile),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(segment))),
    ])
