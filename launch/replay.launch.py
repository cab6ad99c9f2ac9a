"""Play a recording to the segmentation node and score its labels.

    ros2 launch any2seg_ros replay.launch.py bag:=runs/demo/bag checkpoint:=drive_b0.safetensors rviz:=true

Every argument of segment.launch.py may be given too. Everything ends with the recording.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from any2seg_core.base.home import expanded
from any2seg_core.vocabulary.topics import CarlaSensors, carla_bridge
from any2seg_ros import launch_arguments as la

DRAIN_S = 2.0  # for the last labels
TRUTH = carla_bridge(sensors=CarlaSensors(truth=f"semantic_{la.CAMERA}")).truth
YES_NO = ["true", "false"]


def recorded_calibration(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """A recording that brings its calibration needs no calibration_file."""
    values = context.launch_configurations
    recorded = expanded(Path(values["bag"])) / "calibration.yaml"
    if values.get("calibration_file", la.UNSET) != la.UNSET or not recorded.is_file():
        return []
    return [SetLaunchConfiguration("calibration_file", str(recorded))]


def score_nodes(context: LaunchContext) -> list[Node]:
    """One judge per segmentation node, in its namespace."""
    return [Node(**options) for options in la.score_nodes(context.launch_configurations)]


def generate_launch_description() -> LaunchDescription:
    """Segmentation, judge, RViz, and the player whose end ends everything."""
    share = Path(get_package_share_directory("any2seg_ros"))
    player = Node(
        package="any2seg_ros",
        executable="replay_node",
        name="replay",
        output="screen",
        parameters=[{
            "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
            "schedule": ParameterValue(LaunchConfiguration("schedule"), value_type=str),
            "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            "loops": ParameterValue(LaunchConfiguration("loops"), value_type=int),
            "start_s": ParameterValue(LaunchConfiguration("start_s"), value_type=float),
            "faults": ParameterValue(LaunchConfiguration("faults"), value_type=list[str]),
            "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
            "wait_s": ParameterValue(LaunchConfiguration("wait_s"), value_type=float),
        }],
    )  # fmt: skip
    end = [TimerAction(period=DRAIN_S, actions=[Shutdown(reason="the recording has ended")])]
    return LaunchDescription([
        DeclareLaunchArgument("bag", description="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed factor."),
        DeclareLaunchArgument("loops", default_value="1", description="How often; 0: until interrupted."),
        DeclareLaunchArgument("start_s", default_value="0.0", description="Begin so far into the recording."),
        DeclareLaunchArgument("faults", default_value="['']", description="List such as ['blur:rgb@2:5,length=0.08']."),
        DeclareLaunchArgument("schedule", default_value="", description="File with a list of faults; empty: none."),
        DeclareLaunchArgument("seed", default_value="0", description="Of all that is random in the faults."),
        DeclareLaunchArgument("wait_s", default_value="60.0", description="Longest wait for the node."),
        *(DeclareLaunchArgument(**a.declaration()) for a in la.score_arguments(TRUTH, "train_ids", "0.9.13", "true")),
        DeclareLaunchArgument("rviz", default_value="false", choices=YES_NO, description="Open RViz."),
        OpaqueFunction(function=recorded_calibration),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(share / "launch" / "segment.launch.py"))),
        OpaqueFunction(function=score_nodes),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(share / "rviz" / "any2seg.rviz")],
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=end)),
    ])
