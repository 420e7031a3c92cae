"""A unit under proof: free inputs, assumptions about its neighbours, and named properties.

Time starts with one cycle of reset from an arbitrary state: registers without a reset hold
anything, as they do on silicon and after CONTROL.RESET.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from amaranth.back import rtlil
from amaranth.hdl import (
    Assert,
    Assume,
    ClockDomain,
    Cover,
    Elaboratable,
    Module,
    Mux,
    Shape,
    ShapeLike,
    Signal,
    Value,
)
from amaranth.lib.fifo import Initial  # the only name under which Amaranth 0.5 exports it
from amaranth.lib.wiring import Component, In

from tests.verification.formal.seeds import Seed, planted

PEEK = "peek_"


@dataclass(frozen=True)
class Property:
    """What is proven, in one sentence, and a bug that it must catch."""

    says: str
    seed: Seed


@dataclass(frozen=True)
class Subject:
    """One unit with its properties.

    `build(formal)` describes unit, environment and properties. The proof is by k-induction with
    k = `induction`, or, when that is 0, of the first `bounded` cycles only. Seeds and reachability
    are looked for within `horizon` cycles.
    """

    name: str
    unit: str
    build: Callable[[Formal], None]
    properties: dict[str, Property]
    induction: int = 2
    bounded: int = 0
    horizon: int = 12


class _Statement(Elaboratable):
    """A statement in a module of its own, so that the tools print its name."""

    def __init__(self, kind: Callable[[Value], object], condition: Value) -> None:
        self.kind, self.condition = kind, condition

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.kind(self.condition)
        return m


@dataclass
class Tracked:
    """One element among those under way, chosen at will: `ahead` others leave before it."""

    count: Signal
    """Elements under way."""
    chosen: Signal
    """Whether one is being followed; then `value` and `ahead` have a meaning."""
    value: Signal
    ahead: Signal


@dataclass
class Fifo:
    """Registers of a FIFO."""

    level: Signal
    produce: Signal
    consume: Signal
    rows: list[Signal]

    def at(self, number: Value) -> Value:
        """The row behind `number` others."""
        place = (self.consume + number)[:8]
        depth = len(self.rows)
        return pick(list(self.rows), Mux(place >= depth, place - depth, place))


@dataclass
class Formal:
    """The module under proof while it is described.

    With `only`, just that property is asserted: what finds a seeded bug is the property itself.
    """

    m: Module
    only: str | None = None
    ports: list[Signal] = field(default_factory=list)
    peeks: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    domain: ClockDomain = field(default_factory=lambda: ClockDomain("sync"))
    statements: int = 0

    def __post_init__(self) -> None:
        self.m.domains.sync = self.domain
        self.ports += [self.domain.clk, self.domain.rst]
        self.assume(self.domain.rst == Initial(), always=True)

    def free(self, name: str, shape: ShapeLike = 1) -> Signal:
        """Any value in any cycle."""
        signal = Signal(Shape.cast(shape).width, name=name)
        self.ports.append(signal)
        return signal

    def constant(self, name: str, shape: ShapeLike) -> Signal:
        """Any value, the same in every cycle."""
        signal = self.free(name, shape)
        before = Signal(signal.shape(), name=f"past_{name}", reset_less=True)
        self.m.d.sync += before.eq(signal)
        self.assume(signal == before)
        return signal

    def feed(self, unit: Component, *bound: str) -> None:
        """Every input of `unit` becomes free, except those whose path starts with a `bound`."""
        for path, member, value in unit.signature.flatten(unit):
            name = "_".join(map(str, path))
            if member.flow is In and not any(name.startswith(each) for each in bound):
                self.m.d.comb += Value.cast(value).eq(
                    self.free(f"free_{name}", Value.cast(value).shape())
                )

    def peek(self, path: str, shape: ShapeLike = 1) -> Signal:
        """A register inside: `path` is its flattened name, `dut.fifo.level` or `dut.ring[2]`."""
        signal = Signal(shape, name=f"{PEEK}{len(self.peeks)}")
        self.ports.append(signal)
        self.peeks[signal.name] = path
        return signal

    def past(self, value: Value, name: str) -> Signal:
        """`value` one cycle ago; 0 in the first cycle after reset."""
        value = Value.cast(value)
        register = Signal(value.shape(), name=f"past_{name}")
        self.m.d.sync += register.eq(value)
        return register

    def assume(self, condition: Value, *, always: bool = False) -> None:
        """The neighbours keep `condition`."""
        self._state("assume", Assume, condition if always else self.domain.rst | condition)

    def lemma(self, condition: Value, name: str = "lemma") -> None:
        """An invariant that induction needs; proven with the properties, not counted."""
        if self.only is None:
            self._state(f"lemma_{name.replace('.', '_')}", Assert, self.domain.rst | condition)

    def check(
        self, name: str, then: Value, *, when: Value | int = 1, reached: Value | None = None
    ) -> None:
        """Property `name`: `then` whenever `when`. `reached` (else `when`) must be possible."""
        self.names.append(name)
        when = Value.cast(when)
        if self.only in (None, name):
            self._state(f"property_{name}", Assert, self.domain.rst | ~when.any() | then)
        if self.only is None:
            seen = when if reached is None else Value.cast(reached)
            self._state(f"reach_{name}", Cover, ~self.domain.rst & seen.any())

    def held(self, name: str, stream: object, *fields: Value) -> None:
        """Property: an offer on `stream` stays, with its payload, until taken."""
        valid, ready = stream.valid, stream.ready
        payload = [Value.cast(each) for each in fields] or [Value.cast(stream.payload)]
        waiting = self.past(valid & ~ready, f"{name}_waiting")
        same = [each == self.past(each, f"{name}_{n}") for n, each in enumerate(payload)]
        together = valid
        for each in same:
            together = together & each
        self.check(name, together, when=waiting)

    def assume_held(self, name: str, stream: object) -> None:
        """The neighbour keeps its offer on `stream` until taken."""
        payload = Value.cast(stream.payload)
        waiting = self.past(stream.valid & ~stream.ready, f"{name}_offered")
        same = payload == self.past(payload, f"{name}_payload")
        self.assume(~waiting | (stream.valid & same))

    def latch(self, name: str, condition: Value) -> Signal:
        """Whether `condition` has held in an earlier cycle since reset."""
        latched = Signal(name=f"latch_{name}_{self.statements}")
        self.m.d.sync += latched.eq(latched | condition)
        return latched

    def fifo(self, path: str, depth: int, width: int) -> Fifo:
        """The insides of Amaranth's `SyncFIFO` or, `depth` one less, `SyncFIFOBuffered`."""
        level = f"{path}.level" if not path.endswith("!") else f"{path[:-1]}.inner_level"
        path = path.removesuffix("!")
        bits = range(depth) if depth > 1 else 1
        fifo = Fifo(
            self.peek(level, range(depth + 1)),
            self.peek(f"{path}.produce", bits),
            self.peek(f"{path}.consume", bits),
            [self.peek(f"{path}.storage[{n}]", width) for n in range(depth)],
        )
        level, produce, consume = fifo.level, fifo.produce, fifo.consume
        self.lemma((level <= depth) & (produce < depth) & (consume < depth), f"{path}_bounds")
        end = consume + level
        self.lemma((end == produce) | (end == produce + depth), f"{path}_pointers")
        return fifo

    def count(self, name: str, width: int, up: Value, down: Value | int = 0) -> Signal:
        """A counter of `width` bits that grows by `up` and shrinks by `down`."""
        counter = Signal(width, name=f"count_{name}")
        self.m.d.sync += counter.eq(counter + up - down)
        return counter

    def track(self, name: str, enter: Value, value: Value, leave: Value, width: int = 6) -> Tracked:
        """Follow one element, chosen at will, from `enter` to `leave`."""
        m, value = self.m, Value.cast(value)
        mark = self.free(f"mark_{name}")
        t = Tracked(
            self.count(name, width, enter, leave),
            Signal(name=f"{name}_chosen"),
            Signal(value.shape(), name=f"{name}_value"),
            Signal(width, name=f"{name}_ahead"),
        )
        with m.If(t.chosen & leave):
            m.d.sync += [t.ahead.eq(t.ahead - 1), t.chosen.eq(t.ahead != 0)]
        with m.If(enter & mark & ~t.chosen):
            m.d.sync += [t.chosen.eq(1), t.value.eq(value), t.ahead.eq(t.count - leave)]
        self.lemma(~t.chosen | (t.ahead < t.count), f"{name}_ahead")
        return t

    def _state(self, name: str, kind: Callable[[Value], object], condition: Value) -> None:
        self.statements += 1
        self.m.submodules[f"{name}__{self.statements}"] = _Statement(kind, condition)


def pick(values: list[Value], index: Value) -> Value:
    """`values[index]`, for any number of values."""
    found: Value = values[0]
    for number, value in enumerate(values[1:], 1):
        found = Mux(index == number, value, found)
    return found


@dataclass(frozen=True)
class Described:
    """A subject as text for the tools, with the names of its properties."""

    rtlil: str
    peeks: dict[str, str]
    names: list[str]


def describe(subject: Subject, *, only: str | None = None, plant: bool = True) -> Described:
    """`subject`, whole; or with the bug of property `only` planted and only that asserted."""
    seed = subject.properties[only].seed if only is not None and plant else None
    with planted(seed):
        formal = Formal(Module(), only)
        subject.build(formal)
        text = rtlil.convert(formal.m, name="top", ports=formal.ports, emit_src=False)
    declared, stated = set(subject.properties), set(formal.names)
    if declared != stated:
        raise ValueError(f"{subject.name}: {sorted(declared ^ stated)} declared or stated only")
    return Described(text, formal.peeks, formal.names)
