"""ament_python package: colcon installs it beside any2seg_core, which comes from pip."""

from glob import glob

from setuptools import setup

PACKAGE = "any2seg_ros"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=[PACKAGE],
    package_data={PACKAGE: ["config/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/config", glob("config/*")),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/rviz", glob("rviz/*")),
        (f"share/{PACKAGE}/foxglove", glob("foxglove/*")),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="Any2Seg contributors",
    maintainer_email="any2seg@users.noreply.github.com",
    description="Semantic segmentation from whichever sensors are still alive",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "segment_node = any2seg_ros.segment_node:main",
            "segment_cameras = any2seg_ros.segment_cameras:main",
            "replay_node = any2seg_ros.replay_node:main",
            "score_node = any2seg_ros.score_node:main",
        ]
    },
)
