"""The building site: meshes put down on the street plan, in plan coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field

from any2seg_drive.layout import KERB_M, Face
from any2seg_drive.mesh import Mesh


@dataclass
class Site:
    """What has been built so far: meshes in plan coordinates, one instance id each, and lamp positions."""

    meshes: list[Mesh] = field(default_factory=list)
    lamps: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, mesh: Mesh) -> None:
        """Builds a mesh that is already in plan coordinates."""
        self.meshes.append(mesh)

    def add_on(self, face: Face, mesh: Mesh, a: float, b: float, z: float = KERB_M, yaw: float = 0.0) -> None:
        """Builds a mesh at (a, b) of a face, turned by `yaw` against the face's own direction."""
        local = mesh.moved(a, b, z, yaw) if yaw or a or b or z else mesh
        self.add(local.placed(face.dx, face.dy, face.x, face.y))
