"""Start the segmentation node: ros2 launch any2seg_ros segment.launch.py checkpoint:=... image_topic:=...

Every topic is an argument; the default names are those of the CARLA ROS bridge.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CARLA = "/carla/ego_vehicle"
TOPICS = {
    "image": f"{CARLA}/rgb_front/image",
    "camera_info": f"{CARLA}/rgb_front/camera_info",
    "depth": f"{CARLA}/depth_front/image",
    "depth_camera_info": f"{CARLA}/depth_front/camera_info",
    "events": f"{CARLA}/dvs_front/events",
    "events_camera_info": f"{CARLA}/dvs_front/camera_info",
    "points": f"{CARLA}/lidar",
}


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("any2seg_ros"))
    profile = str(share / "config" / "fastdds.xml")
    arguments = [
        DeclareLaunchArgument("checkpoint", description="Any2Seg checkpoint (.safetensors)"),
        DeclareLaunchArgument("calibration_file", default_value="", description="YAML with the extrinsics"),
        DeclareLaunchArgument("device", default_value="cpu", description="cpu, cuda, cuda:1"),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
        DeclareLaunchArgument("use_sim_time", default_value="false", choices=["true", "false"]),
        DeclareLaunchArgument("log_level", default_value="info", choices=["debug", "info", "warn", "error"]),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / "segment.param.yaml"),
            description="parameters; those given as arguments win",
        ),
    ]
    arguments += [
        DeclareLaunchArgument(f"{name}_topic", default_value=topic, description=f"topic for ~/in/{name}")
        for name, topic in TOPICS.items()
    ]
    node = Node(
        package="any2seg_ros",
        executable="segment_node",
        name="segment",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "checkpoint": LaunchConfiguration("checkpoint"),
                "calibration_file": LaunchConfiguration("calibration_file"),
                "device": LaunchConfiguration("device"),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        remappings=[(f"~/in/{name}", LaunchConfiguration(f"{name}_topic")) for name in TOPICS],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    return LaunchDescription([
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
        *arguments,
        node,
    ])
