"""Start the segmentation node.

    ros2 launch any2seg_ros segment.launch.py checkpoint:=drive_b0.safetensors image_topic:=/camera/image_raw
    ros2 launch any2seg_ros segment.launch.py checkpoint:=... cameras:=front,left,right

Every parameter and every input topic is an argument; `--show-args` lists them, for the sensors of the shipped
checkpoint: another one has the arguments of its own sensors, such as thermal_topic. With `cameras` there is one node
per camera, segment_front and so on, and {camera} in topics and file names stands for the camera's name.
"""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, SetLaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from any2seg_core.base.home import expanded_text
from any2seg_core.vocabulary.topics import CarlaSensors, carla_bridge
from any2seg_ros import distro
from any2seg_ros import launch_arguments as la

PARAMETER_FILE = "segment.param.yaml"
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
SENSORS = CarlaSensors(rgb=f"rgb_{la.CAMERA}", depth=f"depth_{la.CAMERA}", event=f"dvs_{la.CAMERA}")


def config_folder() -> Path:
    """Where the files that come with the package are."""
    return Path(get_package_share_directory("any2seg_ros")) / "config"


def own_arguments() -> list[la.Argument]:
    """The arguments that are neither a parameter of the node nor a topic."""
    config = config_folder()
    set_already = [os.environ[name] for name in distro.PROFILE_VARIABLES if os.environ.get(name)]
    profile = set_already[0] if set_already else str(config / "fastdds.xml")
    return [
        la.Argument("namespace", "", "Namespace of the node, or of all of them."),
        la.Argument("cameras", "", "One node per camera, as in front,left,right; empty: one node, {camera} is front."),
        la.Argument("shared_process", "true", "Several cameras share one process and one model.", ("true", "false")),
        la.Argument("params_file", str(config / PARAMETER_FILE), "Parameters; those given as arguments win."),
        la.Argument("use_sim_time", "false", "Take the time from /clock.", ("true", "false")),
        la.Argument("log_level", "info", "Least severity that is logged.", LOG_LEVELS),
        la.Argument("fastdds_profile", profile, "Fast DDS profile for large messages; empty: defaults of Fast DDS."),
    ]


def profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """The profile of Fast DDS for everything that is started later."""
    path = expanded_text(context.launch_configurations["fastdds_profile"])
    return [SetEnvironmentVariable(name, path) for name in distro.profile_variables()]


def topics_of_the_suite(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Topics that the suite of the checkpoint says, before the defaults of the arguments count."""
    return [SetLaunchConfiguration(*pair) for pair in la.own_topics(context.launch_configurations).items()]


def arguments_of_the_suite(context: LaunchContext) -> list[DeclareLaunchArgument]:
    """Arguments for the sensors that only the checkpoint names."""
    return [DeclareLaunchArgument(**a.declaration()) for a in la.further_arguments(context.launch_configurations)]


def nodes(context: LaunchContext) -> list[Node]:
    """The nodes; all arguments have their values here. They take `autostart` as a parameter and start themselves."""
    values = context.launch_configurations
    cameras = la.camera_names(values["cameras"])
    la.check_distinct(cameras, values)
    if cameras and values["shared_process"] == "true":
        return [shared_process(values, cameras)]
    return [own_process(values, camera) for camera in cameras or ("",)]


def own_process(values: dict[str, str], camera: str) -> LifecycleNode:
    """One camera, one process."""
    place = camera or la.ONLY_CAMERA
    return LifecycleNode(
        executable="segment_node",
        name=la.node_name(camera),
        parameters=[*common_parameters(values), la.given_parameters(values, place)],
        remappings=la.remappings(values, place),
        ros_arguments=["--log-level", values["log_level"]],
        **common(values),
    )


def shared_process(values: dict[str, str], cameras: tuple[str, ...]) -> Node:
    """All cameras in one process, which holds the model once."""
    return Node(
        executable="segment_cameras",
        arguments=["--cameras", ",".join(cameras)],
        parameters=[*common_parameters(values), written(la.parameters_of_cameras(values, cameras))],
        ros_arguments=["--log-level", values["log_level"], *la.remappings_of_cameras(values, cameras)],
        **common(values),
    )


def written(text: str) -> str:
    """Path of a new temporary file, as launch_ros itself passes parameters."""
    with NamedTemporaryFile("w", prefix="any2seg_cameras_", suffix=".yaml", delete=False) as file:
        file.write(text)
    return file.name


def common(values: dict[str, str]) -> dict[str, str]:
    """What every process is given."""
    return {"package": "any2seg_ros", "namespace": values["namespace"], "output": "screen"}


def common_parameters(values: dict[str, str]) -> list[str | dict[str, bool]]:
    """The parameter file, which may name nodes, and the clock, which is no parameter of the table."""
    file = la.parameter_file(values, str(config_folder() / PARAMETER_FILE))
    return [*file, {"use_sim_time": values["use_sim_time"] == "true"}]


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, nodes."""
    arguments = [*own_arguments(), *la.topic_arguments(carla_bridge(sensors=SENSORS)), *la.parameter_arguments()]
    return LaunchDescription([
        OpaqueFunction(function=topics_of_the_suite),
        *(DeclareLaunchArgument(**argument.declaration()) for argument in arguments),
        OpaqueFunction(function=arguments_of_the_suite),
        OpaqueFunction(function=profile),
        OpaqueFunction(function=nodes),
    ])
