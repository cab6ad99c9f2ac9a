"""Filling the blocks: a strip behind the sidewalk (green, canal, rail, plaza), lots with buildings, furniture."""

from __future__ import annotations

import numpy as np

from any2seg_core.vocabulary.labels import DELIVER
from any2seg_drive import buildings, props, vehicles
from any2seg_drive.layout import CORNER_RADIUS_M, KERB_M, OUTER_BLOCK_M, SIDEWALK_M, Block, Face, Layout
from any2seg_drive.materials import MATERIAL_ID
from any2seg_drive.mesh import Mesh, Surface, merge, patch
from any2seg_drive.palette import dimmed, random_colour
from any2seg_drive.site import Site

_STRIP_WIDTH_M = {"none": 0.0, "walled": 0.0, "green": 4.5, "canal": 9.0, "rail": 5.0, "plaza": 8.0}
_LOT_DEPTH_M = 13.0
_WATER_Z = -0.35


class BlockPlan:
    """What goes where: the strip behind the sidewalk of every face, the town's surfaces, streets with an overpass.

    Each kind is dealt from a shuffled pack rather than drawn, so that no town lacks canal, rail or bridge.
    """

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self._rail = self._rail_streets(layout, rng)
        faces = [face for block in layout.blocks for face in block.faces if face.half]
        faces.sort(key=lambda face: not face.on_route)  # stable: the route is dealt the first, complete packs
        pack = ["canal"] * 5 + ["plaza"] * 6 + ["green"] * 4 + ["walled"] * 3 + ["none"] * 4
        dealt: list[str] = []
        while len(dealt) < len(faces):
            dealt += [pack[int(k)] for k in rng.permutation(len(pack))]
        self._strip = {(f.x, f.y, f.dx): kind for f, kind in zip(faces, dealt, strict=False)}
        self.grass = Surface(DELIVER.id("Terrain"), MATERIAL_ID["grass"], random_colour(rng, "green", "green", "earth"),
                             random_colour(rng, "sand", "green", "autumn"))
        self.paving = Surface(DELIVER.id("Ground"), MATERIAL_ID["tiles"], random_colour(rng, "sand", "grey", "brick"),
                              random_colour(rng, "dark", "light"), (rng.uniform(0.8, 1.6), rng.uniform(0.8, 1.6)))
        self.sand = Surface(DELIVER.id("Ground"), MATERIAL_ID["dry_ground"], random_colour(rng, "sand", "earth"))
        self.pole = props.pole_surface(rng)
        self.water = Surface(DELIVER.id("Water"), MATERIAL_ID["water"], dimmed(
            random_colour(rng, "blue", "green"), 0.6), random_colour(rng, "blue", "grey", "green"))
        route = [f for b in layout.blocks for f in b.faces if f.on_route and f.street[2] == 1]
        chosen = rng.permutation(len(route))[: max(3, len(route) // 3)]
        self.overpasses = [route[int(k)] for k in sorted(chosen)]

    def strip_of(self, face: Face) -> str:
        """Strip kind of a face; faces on no street have none."""
        if not face.half:
            return "none"
        return "rail" if face.street in self._rail else self._strip[face.x, face.y, face.dx]

    @staticmethod
    def _rail_streets(layout: Layout, rng: np.random.Generator) -> set[tuple[str, int, int]]:
        """Two street sides, parallel, that the route follows for long: rails run their whole length."""
        shared: dict[tuple[str, int, int], float] = {}
        for block in layout.blocks:
            for face in block.faces:
                if face.on_route:
                    shared[face.street] = shared.get(face.street, rng.uniform(0, 0.9)) + 1.0
        best = max(sorted(shared), key=lambda street: shared[street])
        parallel = [street for street in sorted(shared) if street[0] == best[0] and street[1] != best[1]]
        return {best, max(parallel, key=lambda street: shared[street])}


def fill_block(site: Site, block: Block, plan: BlockPlan, rng: np.random.Generator) -> None:
    """Everything inside the kerb of one block except the sidewalk itself."""
    widths = [_STRIP_WIDTH_M[plan.strip_of(face)] for face in block.faces]
    south, east, north, west = widths
    x0, x1 = block.x0 + SIDEWALK_M + west, block.x1 - SIDEWALK_M - east
    y0, y1 = block.y0 + SIDEWALK_M + south, block.y1 - SIDEWALK_M - north
    base = (plan.grass, plan.paving, plan.sand)[int(rng.integers(3))]
    site.add(patch(x0, x1, y0, y1, KERB_M, base, 8.0))
    for k, face in enumerate(block.faces):
        if not face.half:
            continue
        # strips along x take the whole width, strips along y lie between them
        before = SIDEWALK_M + (widths[(k - 1) % 4] if k % 2 else 0.0)
        after = face.length - SIDEWALK_M - (widths[(k + 1) % 4] if k % 2 else 0.0)
        _STRIPS[plan.strip_of(face)](site, face, plan, before, after, rng)
        inset = SIDEWALK_M + widths[k]
        first, last = (  # rows of lots along x own the corners
            SIDEWALK_M + widths[n % 4] + (_LOT_DEPTH_M + 1.0 if k % 2 and block.faces[n % 4].half else 0.0)
            for n in (k - 1, k + 1)
        )
        depth = _LOT_DEPTH_M if min(block.x1 - block.x0, block.y1 - block.y0) > OUTER_BLOCK_M else 16.0
        _lots(site, face, plan, first, face.length - last, inset, depth, rng)
        if block.on_route:  # elsewhere it would be too far away to be seen
            _furniture(site, face, plan, rng)
            _parking(site, face, rng)


def overpasses(site: Site, plan: BlockPlan, rng: np.random.Generator) -> None:
    """Bridges over the route at the middle of their streets."""
    for face in plan.overpasses:
        span = 2 * (face.half + SIDEWALK_M) + 1.0
        bridge = props.overpass(rng, span)
        # local x of the bridge runs back across the street, from this sidewalk to the far one
        site.add_on(face, bridge, face.length * rng.uniform(0.4, 0.6), SIDEWALK_M + 0.5, 0.0, -np.pi / 2)


def _no_strip(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    """Buildings or gardens begin right behind the sidewalk."""


def _walled(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    """Wall or fence along the sidewalk, with gates."""
    make = (props.wall, props.fence)[int(rng.integers(2))]
    a = a0
    while a < a1 - 3.0:
        length = min(rng.uniform(12.0, 30.0), a1 - a)
        site.add_on(face, make(rng, length), a, SIDEWALK_M + 0.2)
        a += length + rng.uniform(1.5, 4.0)


def _backdrop(site: Site, face: Face, a0: float, a1: float, b: float, rng: np.random.Generator) -> None:
    """Often a wall or fence between an open strip and the lots behind it."""
    kind = int(rng.integers(4))
    if kind < 3:
        length = (a1 - a0) * rng.uniform(0.4, 0.9)
        site.add_on(face, (props.wall, props.fence, props.fence)[kind](rng, length), a0 + 0.5, b + 0.2)


def _green(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    width = _STRIP_WIDTH_M["green"]
    site.add_on(face, patch(a0, a1, SIDEWALK_M, SIDEWALK_M + width, 0.02, plan.grass), 0.0, 0.0)
    for a in np.arange(a0 + 2.0, a1 - 1.0, rng.uniform(6.0, 9.0)):
        b = SIDEWALK_M + rng.uniform(1.5, width - 1.0)
        site.add_on(face, props.tree(rng), float(a), b, yaw=rng.uniform(0, 6))
        for _ in range(int(rng.integers(0, 3))):
            shift = rng.uniform(-3, 3)
            site.add_on(face, props.bush(rng), float(a) + shift, SIDEWALK_M + rng.uniform(1.0, width - 0.8))
    _backdrop(site, face, a0, a1, SIDEWALK_M + width, rng)


def _canal(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    near, far = SIDEWALK_M, SIDEWALK_M + _STRIP_WIDTH_M["canal"]
    site.add_on(face, patch(a0, a1, near, far, _WATER_Z, plan.water), 0.0, 0.0, 0.0)
    bank = props.wall_surface(rng, DELIVER.id("Wall"))
    height = KERB_M - _WATER_Z + 0.3
    for b in (near, far):
        site.add_on(face, props.long_box(a0, a1, b, _WATER_Z - 0.3, 0.3, height, bank), 0.0, 0.0, 0.0)
    for a in (a0, a1):
        site.add_on(face, props.parapet(rng, far - near + 2.0), a, near - 1.0, 0.0, np.pi / 2)
    if rng.random() < 0.35:
        site.add_on(face, props.guard_rail(rng, a1 - a0 - 1.0), a0 + 0.5, near - 0.15)
    if rng.random() < 0.5:
        site.add_on(face, props.fence(rng, a1 - a0 - 1.0), a0 + 0.5, far + 0.3)


def _rail(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    width = _STRIP_WIDTH_M["rail"]
    middle = SIDEWALK_M + width / 2
    ballast = Surface(DELIVER.id("RailTrack"), MATERIAL_ID["track"], random_colour(rng, "grey", "earth", "dark"),
                      random_colour(rng, "earth", "grey"))
    pieces = [patch(SIDEWALK_M, face.length - SIDEWALK_M, -width / 2, width / 2, KERB_M + 0.02, ballast)]
    for a in (0.0, face.length - SIDEWALK_M):  # over the sidewalks of the streets across
        pieces.append(patch(a, a + SIDEWALK_M, -1.4, 1.4, KERB_M + 0.02, ballast))
    if face.cross_half:
        pieces.append(patch(-2 * face.cross_half, 0.0, -1.4, 1.4, 0.025, ballast))
    steel = ballast._replace(material=MATERIAL_ID["rusty_metal"], colour=(0.3, 0.27, 0.25), colour2=(0.2, 0.12, 0.08))
    rails = [props.long_box(0.0, face.length, y, KERB_M, 0.09, 0.16, steel) for y in (-0.72, 0.72)]
    site.add_on(face, merge([*pieces, *rails]), 0.0, middle, 0.0)
    barrier = rng.random()
    if barrier < 0.6:
        site.add_on(face, props.guard_rail(rng, a1 - a0 - 1.0), a0 + 0.5, SIDEWALK_M + 0.1)
    elif barrier < 0.85:
        site.add_on(face, props.fence(rng, a1 - a0 - 1.0), a0 + 0.5, SIDEWALK_M + 0.1)
    for a in np.arange(a0 + 6.0, a1 - 4.0, 24.0):  # masts of the overhead line
        site.add_on(face, props.utility_pole(plan.pole), float(a), SIDEWALK_M + width - 0.3)


def _plaza(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, rng: np.random.Generator) -> None:
    width = _STRIP_WIDTH_M["plaza"]
    floor = (plan.paving, plan.sand)[int(rng.integers(2))]
    site.add_on(face, patch(a0, a1, SIDEWALK_M, SIDEWALK_M + width, 0.0, floor), 0.0, 0.0)
    makers = (props.kiosk_or_sculpture, props.kiosk_or_sculpture, props.billboard, props.bench,
              props.bin_or_hydrant, props.bin_or_hydrant, props.tree, vehicles.trolley, vehicles.person,
              vehicles.animal, lambda r: vehicles.two_wheeler(r, rider=False))
    for a in np.arange(a0 + 2.5, a1 - 2.0, 3.8):
        make = makers[int(rng.integers(len(makers)))]
        site.add_on(face, make(rng), float(a), SIDEWALK_M + rng.uniform(1.2, width - 1.8), yaw=rng.uniform(0, 6.28))
    _backdrop(site, face, a0, a1, SIDEWALK_M + width, rng)


_STRIPS = {"none": _no_strip, "walled": _walled, "green": _green, "canal": _canal, "rail": _rail, "plaza": _plaza}


def _frontage(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, b: float,
              rng: np.random.Generator) -> None:
    """Wall, fence, hedge or nothing at the street end of a lot, with a gap for the gate."""
    kind = int(rng.integers(7))
    gate = min(2.5, 0.3 * (a1 - a0))
    make = (props.wall, props.wall, props.fence, props.fence, props.fence, props.hedge)
    if kind < len(make) and a1 - a0 - gate > 1.5:
        site.add_on(face, make[kind](rng, a1 - a0 - gate), a0, b + 0.3)


def _lots(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, b: float, depth: float,
          rng: np.random.Generator) -> None:
    """Row of lots along a face: towers at the street, houses set back behind a frontage, halls, open ground."""
    district = int(rng.integers(5))
    weights = np.array([[7, 1, 1, 1], [6, 1, 2, 1], [1, 6, 0.5, 1], [2, 1, 5, 1.5], [3, 3, 1, 3]], np.float64)[district]
    weights /= weights.sum()
    a = a0
    while a < a1 - 7.0:
        kind = int(np.searchsorted(np.cumsum(weights), rng.random()))
        width = min(rng.uniform(*((9, 20), (8, 13), (14, 24), (10, 18))[kind]), a1 - a)
        middle = a + width / 2
        if kind == 0:
            tower = buildings.tower(rng, width - rng.uniform(0.2, 2.0), depth - 1.5)
            site.add_on(face, tower, middle, b + rng.uniform(0.9, 1.9))
        elif kind == 1:
            setback = rng.uniform(2.5, 4.5)
            site.add_on(face, buildings.house(rng, width - 2.0, depth - setback - 0.5), middle, b + setback)
            garden = patch(a, a + width, 0.0, setback, 0.03, plan.grass)
            site.add_on(face, garden, 0.0, b)
            _frontage(site, face, plan, a, a + width, b, rng)
            if rng.random() < 0.6:
                site.add_on(face, props.bush(rng), a + rng.uniform(1, width - 1), b + rng.uniform(1.2, setback - 0.8))
        elif kind == 2:
            setback = rng.uniform(1.5, 3.5)
            site.add_on(face, buildings.hall(rng, width - 1.0, depth - setback), middle, b + setback)
            site.add_on(face, patch(a, a + width, 0.0, setback, 0.03, plan.sand), 0.0, b)
            if rng.random() < 0.4:
                site.add_on(face, props.billboard(rng), middle, b + 0.8)
            _frontage(site, face, plan, a, a + width, b, rng)
        else:
            _open_lot(site, face, plan, a, a + width, b, depth, rng)
        a += width + (rng.uniform(0.0, 3.0) if rng.random() < 0.4 else 0.0)


def _open_lot(site: Site, face: Face, plan: BlockPlan, a0: float, a1: float, b: float, depth: float,
              rng: np.random.Generator) -> None:
    """Car park or small park, with a wall at the back so that the block has an end."""
    if rng.random() < 0.5:
        floor = (plan.sand, plan.paving)[int(rng.integers(2))]
        site.add_on(face, patch(a0, a1, 0.0, depth, 0.03, floor), 0.0, b)
        for a in np.arange(a0 + 2.0, a1 - 1.5, 3.2):
            make = (vehicles.car, vehicles.car, vehicles.truck)[int(rng.integers(3))]
            site.add_on(face, make(rng), float(a), b + 6.5, yaw=(-1.5708, 1.5708)[int(rng.integers(2))])
        if rng.random() < 0.5:
            site.add_on(face, props.billboard(rng), 0.5 * (a0 + a1), b + 1.0)
        _frontage(site, face, plan, a0, a1, b, rng)
    else:
        site.add_on(face, patch(a0, a1, 0.0, depth, 0.03, plan.grass), 0.0, b)
        for _ in range(int((a1 - a0) / 3)):
            make = (props.tree, props.tree, props.bush, props.bench)[int(rng.integers(4))]
            site.add_on(face, make(rng), rng.uniform(a0 + 1.5, a1 - 1.5), b + rng.uniform(2.0, depth - 2.0))
    site.add_on(face, (props.wall, props.fence)[int(rng.integers(2))](rng, a1 - a0), a0, b + depth)


def _furniture(site: Site, face: Face, plan: BlockPlan, rng: np.random.Generator) -> None:
    """Lamps, signs, signals and everything else between kerb and sidewalk; traffic beside it comes along -a."""
    start, end, b = CORNER_RADIUS_M, face.length - CORNER_RADIUS_M, 0.55
    for a in np.arange(start + rng.uniform(2, 8), end, rng.uniform(17.0, 22.0)):
        site.add_on(face, props.street_lamp(plan.pole), float(a), b)
        x = face.x + face.dx * a - face.dy * (b - props.LAMP_REACH_M)
        y = face.y + face.dy * a + face.dx * (b - props.LAMP_REACH_M)
        site.lamps.append((x, y, props.LAMP_HEIGHT_M + KERB_M - 0.25))
    overhang = 3.6 if rng.random() < 0.75 else 0.0
    site.add_on(face, props.traffic_light(rng, plan.pole, overhang), start - 1.5, b)
    makers = (props.traffic_sign, props.traffic_sign, props.direction_sign)
    for a in np.arange(start + 3.0, end - 2.0, rng.uniform(11.0, 18.0)):
        site.add_on(face, makers[int(rng.integers(3))](rng, plan.pole), float(a), b + 0.1)
    small = (props.bin_or_hydrant, props.bin_or_hydrant, props.bench, vehicles.trolley, vehicles.trolley,
             lambda r: vehicles.two_wheeler(r, rider=False), _bicycle_rack, props.street_tree)
    for a in np.arange(start + 5.5, end - 2.0, rng.uniform(4.5, 7.0)):
        make = small[int(rng.integers(len(small)))]
        site.add_on(face, make(rng), float(a), b + 0.15, yaw=0.0)
    if rng.random() < 0.35 and end - start > 20:
        site.add_on(face, props.bus_shelter(rng), rng.uniform(start + 6, end - 6), SIDEWALK_M - 0.9)
    if rng.random() < 0.35:
        a = rng.uniform(start, start + 4)
        site.add_on(face, props.guard_rail(rng, min(rng.uniform(12.0, 30.0), end - a)), a, 0.15)


def _bicycle_rack(rng: np.random.Generator) -> Mesh:
    return merge([vehicles.two_wheeler(rng, rider=False).moved(x, 0.2, 0.0, 1.3) for x in (-1.0, -0.3, 0.4, 1.1)])


def _parking(site: Site, face: Face, rng: np.random.Generator) -> None:
    """Parked vehicles in the lane beside the kerb, heading with the traffic (-a)."""
    if not face.parking:
        return
    a = CORNER_RADIUS_M + 5.0
    while a < face.length - CORNER_RADIUS_M - 6.0:
        draw = rng.random()
        if draw < 0.5:
            site.add_on(face, vehicles.car(rng), a + 3.0, -1.2, 0.0, np.pi)
            a += 6.2
        elif draw < 0.62:
            site.add_on(face, vehicles.truck(rng), a + 5.0, -1.25, 0.0, np.pi)
            a += 10.5
        elif draw < 0.70:
            site.add_on(face, vehicles.bus(rng), a + 5.5, -1.28, 0.0, np.pi)
            a += 11.5
        elif draw < 0.82:
            for shift in (0.6, 1.5, 2.4, 3.3):
                site.add_on(face, vehicles.two_wheeler(rng, rider=False), a + shift, -1.1, 0.0, 1.3)
            a += 4.5
        else:
            a += rng.uniform(3.0, 7.0)
