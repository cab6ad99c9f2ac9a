"""Start the segmentation node.

    ros2 launch any2seg_ros segment.launch.py checkpoint:=drive_b0.safetensors image_topic:=/camera/image_raw
    ros2 launch any2seg_ros segment.launch.py checkpoint:=... cameras:=front,left,right

Every parameter and every input topic is an argument; `--show-args` lists them. With `cameras` there is one node per
camera, /front/segment and so on, and {camera} in topics and file names stands for the camera's name.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from any2seg_core.topics import CarlaSensors, carla_bridge
from any2seg_ros import launch_arguments as la

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # until Jazzy, and after
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
SENSORS = CarlaSensors(rgb=f"rgb_{la.CAMERA}", depth=f"depth_{la.CAMERA}", event=f"dvs_{la.CAMERA}")


def own_arguments() -> list[la.Argument]:
    """The arguments that are neither a parameter of the node nor a topic."""
    config = Path(get_package_share_directory("any2seg_ros")) / "config"
    set_already = [os.environ[name] for name in PROFILE_VARIABLES if os.environ.get(name)]
    profile = set_already[0] if set_already else str(config / "fastdds.xml")
    return [
        la.Argument("name", "segment", "Name of the node."),
        la.Argument("namespace", "", "Namespace of the node, or of all of them."),
        la.Argument("cameras", "", "One node per camera, as in front,left,right; empty: one node, {camera} is front."),
        la.Argument("params_file", str(config / "segment.param.yaml"), "Parameters; those given as arguments win."),
        la.Argument("use_sim_time", "false", "Take the time from /clock.", ("true", "false")),
        la.Argument("log_level", "info", "Least severity that is logged.", LOG_LEVELS),
        la.Argument("fastdds_profile", profile, "Fast DDS profile for large messages; empty: defaults of Fast DDS."),
    ]


def nodes(context: LaunchContext) -> list[LifecycleNode]:
    """The nodes; all arguments have their values here. The node takes `autostart` as a parameter and starts itself."""
    values = context.launch_configurations
    cameras = la.camera_names(values["cameras"])
    la.check_distinct(cameras, values)
    return [
        LifecycleNode(
            package="any2seg_ros",
            executable="segment_node",
            name=values["name"],
            namespace=la.namespace(values["namespace"], camera),
            output="screen",
            parameters=[
                la.for_camera(values["params_file"], camera or la.ONLY_CAMERA),
                {
                    **la.given_parameters(values, camera or la.ONLY_CAMERA),
                    "use_sim_time": values["use_sim_time"] == "true",
                },
            ],
            remappings=la.remappings(values, camera or la.ONLY_CAMERA),
            ros_arguments=["--log-level", values["log_level"]],
        )
        for camera in cameras or ("",)
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, nodes."""
    arguments = [*own_arguments(), *la.topic_arguments(carla_bridge(sensors=SENSORS)), *la.parameter_arguments()]
    return LaunchDescription([
        *(
            DeclareLaunchArgument(
                argument.name,
                default_value=argument.default,
                description=argument.description,
                choices=list(argument.choices) or None,
            )
            for argument in arguments
        ),
        *(SetEnvironmentVariable(name, LaunchConfiguration("fastdds_profile")) for name in PROFILE_VARIABLES),
        OpaqueFunction(function=nodes),
    ])
