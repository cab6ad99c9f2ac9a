"""Replay a recording into the graph: ros2 launch any2seg_ros replay.launch.py bag:=runs/demo/bag"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description() -> LaunchDescription:
    profile = str(Path(get_package_share_directory("any2seg_ros")) / "config" / "fastdds.xml")
    arguments = [
        DeclareLaunchArgument("bag", description="rosbag2 folder or .mcap file"),
        DeclareLaunchArgument("rate", default_value="1.0", description="speed factor"),
        DeclareLaunchArgument("loops", default_value="1", description="how often the bag is played"),
        DeclareLaunchArgument("schedule", default_value="", description="JSON list of {start_s, end_s, sensors}"),
        DeclareLaunchArgument("wait_s", default_value="10.0", description="longest wait for subscribers"),
    ]
    node = Node(
        package="any2seg_ros",
        executable="replay_node",
        name="replay",
        output="screen",
        parameters=[
            {
                "bag": LaunchConfiguration("bag"),
                "schedule": LaunchConfiguration("schedule"),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loops": ParameterValue(LaunchConfiguration("loops"), value_type=int),
                "wait_s": ParameterValue(LaunchConfiguration("wait_s"), value_type=float),
            }
        ],
    )
    return LaunchDescription([
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
        *arguments,
        node,
    ])
