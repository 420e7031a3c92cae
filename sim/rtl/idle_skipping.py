"""Verilator's C++ of a one-clock design, rewritten so that idle parts are not evaluated.

Verilator evaluates every statement at every edge. Here the statements are put, in an order that
keeps what each reads and writes, into groups, mostly one per unit of the hardware. A group runs at
an edge only if something that it reads has changed since it last ran, which includes its own
registers; otherwise it would write again what is there. So every variable has, after every edge,
the value that it would have had. `docs/decisions/0011` has the reasons.

Works on the files in place, before they are compiled. Raises `UnknownFormError` for C++ that it
cannot account for; the files are then as they were.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sim.rtl.cxx_statements import MEMBER, Statement, UnknownFormError, exposed_reads, split

_FUNCTION = re.compile(
    r"^void (?P<name>\w+___024root___(?P<kind>nba|ico)_\w+__TOP__\d+)"
    r"\((?P<root>\w+)\* vlSelf\) \{\n(?P<body>.*?)^\}\n",
    re.M | re.S,
)
_DECLARATION = re.compile(
    r"^ +(?P<type>VlUnpacked<[^;]*>|VlWide<\d+>|[CSIQ]Data)(?:/\*[\d:]+\*/)? (?P<name>\w+);$", re.M
)
_PIN = re.compile(r"^ +VL_(?P<way>IN|OUT)(?P<size>8|16|64|W|)\(&?(?P<name>\w+),[^;]*\);$", re.M)
_PIN_TYPES = {"8": "CData", "16": "SData", "": "IData", "64": "QData"}
_CALL = re.compile(r"^ +\w+___024root___(?:nba|ico)_\w+__TOP__\d+\(vlSelf\);$", re.M)
_OUTSIDE = re.compile(r"^(?:extern const \w[^\n]*|void \w+__Vdpiimwrap_\w+\([^\n{]*\));\n", re.M)
_IDLE = "vlSelfRef.idle."
BITS = 64
ALWAYS = ("array",)
"""Units that run at every edge: nearly all registers of a busy array change, so that comparing them
costs more than an idle one saves."""


@dataclass
class Group:
    """Statements that run together, and what decides when."""

    key: str
    statements: list[Statement] = field(default_factory=list)
    exposed: set[str] = field(default_factory=set)

    @property
    def writes(self) -> set[str]:
        return set().union(*(s.writes for s in self.statements))

    @property
    def reads(self) -> set[str]:
        return set().union(*(s.reads for s in self.statements))

    @property
    def always(self) -> bool:
        """Whether it runs at every edge, due or not: it calls out of the model, say."""
        return self.key in ALWAYS or any(s.effect for s in self.statements)


@dataclass(frozen=True)
class Function:
    """A generated function: its local variables with their types, and its statements."""

    name: str
    kind: str
    root: str
    types: dict[str, str]
    statements: list[Statement]
    body: str
    start: int
    end: int

    @property
    def number(self) -> int:
        return int(self.name.rpartition("__")[2])


def rewrite(folder: Path, top: str) -> list[Group]:
    """Rewrite the Verilated files of `top` in `folder`; returns the groups."""
    root = f"V{top}___024root"
    header = folder / f"{root}.h"
    declared = header.read_text()
    sources = {path: path.read_text() for path in sorted(folder.glob(f"{root}__[0-9]*.cpp"))}
    sources = {path: text for path, text in sources.items() if "__Slow" not in path.name}
    types, inputs = _members(declared)
    functions: dict[Path, list[Function]] = {}
    for path, text in sources.items():
        functions[path] = [_function(match) for match in _FUNCTION.finditer(text)]
    every = [f for found in functions.values() for f in found]
    _check_calls(sources, every)
    every.sort(key=lambda function: function.number)
    edge = [function for function in every if function.kind == "nba"]
    settling = [function for function in every if function.kind == "ico"]
    statements: list[Statement] = []
    for number, function in enumerate(edge):
        local, mine = _renamed(function, f"__{number}")
        types |= local
        statements += mine
    plan = Plan(types, inputs, schedule(statements))
    # constants and calls that only another file declares
    outside = "".join(
        sorted({line for text in sources.values() for line in _OUTSIDE.findall(text)})
    )
    new = {edge[0].name: outside + plan.edge(edge[0]), settling[0].name: plan.settling(settling)}
    for path, found in functions.items():
        for function in reversed(found):
            source = sources[path]
            text = new.get(function.name, "")
            sources[path] = source[: function.start] + text + source[function.end :]
        for function in every:
            if function.name not in new:  # now part of the first one
                call = rf"^ *(void )?{function.name}\([^\n]*\);\n"
                sources[path] = re.sub(call, "", sources[path], flags=re.M)
    for path, source in sources.items():
        path.write_text(source)
    marker = "    // INTERNAL VARIABLES\n"
    header.write_text(declared.replace(marker, plan.state() + marker, 1))
    return plan.groups


def _members(header: str) -> tuple[dict[str, str], list[str]]:
    """Type of each member variable, and the input pins but the clock."""
    types = {MEMBER + m["name"]: m["type"] for m in _DECLARATION.finditer(header)}
    inputs = []
    for pin in _PIN.finditer(header):
        name = MEMBER + pin["name"]
        if pin["size"] == "W":
            words = int(pin[0].rsplit(",", 1)[1].rstrip(");"))
            types[name] = f"VlWide<{words}>"
        else:
            types[name] = _PIN_TYPES[pin["size"]]
        if pin["way"] == "IN" and pin["name"] != "clk":
            inputs.append(name)
    return types, inputs


def _function(match: re.Match[str]) -> Function:
    head, _, body = match["body"].partition("    // Body\n")
    types = {m["name"]: m["type"] for m in _DECLARATION.finditer(head)}
    # the values that locals begin with are statements like any other
    begin = [
        line.strip()
        for line in head.splitlines()
        if re.match(r"    (?:\w+ = 0;|VL_ZERO_W\(\d+, \w+\);)$", line)
    ]
    statements = [Statement.parse(text) for text in [*begin, *split(body)]]
    return Function(
        match["name"], match["kind"], match["root"], types, statements, match["body"],
        match.start(), match.end(),
    )  # fmt: skip


def _check_calls(sources: Mapping[Path, str], functions: list[Function]) -> None:
    """One trigger must call all functions of a kind, in order."""
    for kind in ("nba", "ico"):
        names = [function.name for function in functions if function.kind == kind]
        body = next(
            (
                found[1]
                for text in sources.values()
                if (
                    found := re.search(
                        rf"___eval_{kind}\(\w+\* vlSelf\) \{{\n(.*?)^\}}", text, re.M | re.S
                    )
                )
            ),
            "",
        )
        called = [line.strip().partition("(")[0] for line in _CALL.findall(body)]
        ordered = sorted(names, key=lambda name: int(name.rpartition("__")[2]))
        if called != ordered or body.count("if (") != 1 or not names:
            raise UnknownFormError(f"eval_{kind} calls {called}, there are {ordered}")


def _renamed(function: Function, suffix: str) -> tuple[dict[str, str], list[Statement]]:
    """Locals with a suffix, so that those of several functions can live side by side."""
    names = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, function.types)) + r")\b")
    if not function.types:
        return {}, function.statements
    return (
        {name + suffix: kind for name, kind in function.types.items()},
        [Statement.parse(names.sub(rf"\g<1>{suffix}", s.text)) for s in function.statements],
    )


# --- order ---------------------------------------------------------------------------------------


def schedule(statements: list[Statement]) -> list[Group]:
    """Groups in an order of execution that gives every read the value it had in `statements`.

    All statements that write a variable are in one group.
    """
    order = _Order(statements)
    keys = _keys(statements, order)
    groups: list[Group] = []
    ready: dict[str, list[int]] = defaultdict(list)
    missing = {node: len(before) for node, before in order.before.items()}
    for node, count in missing.items():
        if count == 0:
            ready[keys[node]].append(node)
    while any(ready.values()):
        key = max(ready, key=lambda k: (len(ready[k]), k))
        group = Group(key)
        while ready[key]:
            node = ready[key].pop(0)
            group.statements += [statements[i] for i in order.members[node]]
            for after in sorted(order.after[node]):
                missing[after] -= 1
                if missing[after] == 0:
                    ready[keys[after]].append(after)
        groups.append(group)
    return groups


class _Order:
    """Statements as nodes that must stay together, and which node comes before which."""

    def __init__(self, statements: list[Statement]) -> None:
        self.parent = list(range(len(statements)))
        writers: dict[str, list[int]] = defaultdict(list)
        readers: dict[str, list[int]] = defaultdict(list)
        for number, statement in enumerate(statements):
            for name in statement.writes:
                writers[name].append(number)
            for name in statement.reads:
                readers[name].append(number)
        for numbers in writers.values():
            for number in numbers[1:]:
                self._join(numbers[0], number)
        edges = set()
        for name, numbers in writers.items():
            for reader in readers[name]:
                edges |= {
                    (reader, w) if reader < w else (w, reader) for w in numbers if w != reader
                }
        self._join_cycles(edges, len(statements))
        self.members: dict[int, list[int]] = defaultdict(list)
        for number in range(len(statements)):
            self.members[self._find(number)].append(number)
        self.before: dict[int, set[int]] = {node: set() for node in self.members}
        self.after: dict[int, set[int]] = {node: set() for node in self.members}
        for first, second in edges:
            a, b = self._find(first), self._find(second)
            if a != b:
                self.after[a].add(b)
                self.before[b].add(a)

    def _find(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def _join(self, first: int, second: int) -> None:
        a, b = sorted((self._find(first), self._find(second)))
        self.parent[b] = a

    def _join_cycles(self, edges: set[tuple[int, int]], count: int) -> None:
        """Strongly connected nodes become one (Tarjan, without recursion)."""
        after: dict[int, set[int]] = defaultdict(set)
        for first, second in edges:
            a, b = self._find(first), self._find(second)
            if a != b:
                after[a].add(b)
        index: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on_stack: set[int] = set()
        for root in {self._find(n) for n in range(count)}:
            if root in index:
                continue
            work = [(root, iter(after[root]))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                node, children = work[-1]
                for child in children:
                    if child not in index:
                        index[child] = low[child] = len(index)
                        stack.append(child)
                        on_stack.add(child)
                        work.append((child, iter(after[child])))
                        break
                    if child in on_stack:
                        low[node] = min(low[node], index[child])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == index[node]:
                        component: list[int] = []
                        while not component or component[-1] != node:
                            component.append(stack.pop())
                        on_stack -= set(component)
                        for member in component[1:]:
                            self._join(component[0], member)


_PATH = re.compile(r"top__DOT__(\w+)")
DEPTH = 3


def unit(name: str) -> str | None:
    """The unit of the hardware that a variable belongs to; None for a wire between units."""
    match = _PATH.search(name)
    if match is None:
        return None
    parts = [part.partition("__024")[0] for part in match[1].split("__DOT__")]
    return ".".join(parts[:-1][:DEPTH]) or None


def _keys(statements: list[Statement], order: _Order) -> dict[int, str]:
    """A unit for each node: that of what it writes, else of what reads it or what it reads."""
    keys: dict[int, str] = {}
    for node, members in order.members.items():
        found = Counter(
            key for i in members for name in statements[i].writes if (key := unit(name)) is not None
        )
        if found:
            keys[node] = max(found, key=lambda k: (found[k], k))
    while True:
        added: dict[int, str] = {}
        for node in order.members:
            if node not in keys:
                for side in (order.after[node], order.before[node]):
                    found = Counter(keys[n] for n in side if n in keys)
                    if found:
                        added[node] = max(found, key=lambda k: (found[k], k))
                        break
        if not added:
            break
        keys |= added
    return {node: keys.get(node, "") for node in order.members}


# --- text ----------------------------------------------------------------------------------------


class Plan:
    """What becomes of the groups: flags, comparisons and the C++ of both functions."""

    def __init__(self, types: dict[str, str], inputs: list[str], groups: list[Group]) -> None:
        self.types, self.inputs, self.groups = types, inputs, groups
        self.words = {
            name: int(size[1])
            for name, kind in types.items()
            if (size := re.search(r"(\d+)>$", kind)) is not None
        }
        self.readers: dict[str, set[int]] = defaultdict(set)
        uses: Counter[str] = Counter()
        for number, group in enumerate(groups):
            group.exposed = exposed_reads(group.statements, self.words)
            local = {name for name in group.reads | group.writes if MEMBER not in name}
            uses.update(local)
            if group.always:
                continue
            for name in group.exposed:
                self.readers[name].add(number)
        self.shared = sorted(name for name, count in uses.items() if count > 1)
        unknown = {n for g in groups for n in g.reads | g.writes} - set(types)
        if unknown:
            raise UnknownFormError(f"undeclared: {sorted(unknown)[:5]}")

    def state(self) -> str:
        """Members of the root class: flags, locals that outlive a group, pins as last seen."""
        count = -(-len(self.groups) // BITS)
        lines = ["    struct {", f"        QData due[{count}];", "        CData settled;"]
        lines += [f"        {self.types[name]} {name};" for name in self.shared]
        lines += [f"        {self.types[n]} {n.removeprefix(MEMBER)};" for n in self.inputs]
        return "\n".join([*lines, "    } idle{};", ""])

    def edge(self, first: Function) -> str:
        """The groups as functions, and the function that calls those that are due."""
        text, calls = _PRELUDE, ""
        for number, group in enumerate(self.groups):
            name = f"group_{number}__{group.key.replace('.', '__') or 'wires'}"
            text += (
                f"static VL_ATTR_NOINLINE void {name}({first.root}* vlSelf) {{\n"
                f"    auto& vlSelfRef = *vlSelf;\n{self._body(group)}}}\n\n"
            )
            if group.always:
                calls += f"    {name}(vlSelf);\n"
            else:
                word, mask = f"{_IDLE}due[{number // BITS}]", f"{1 << number % BITS:#x}ULL"
                calls += f"    if ({word} & {mask}) {{ {word} &= ~{mask}; {name}(vlSelf); }}\n"
        return (
            f"{text}void {first.name}({first.root}* vlSelf) {{\n"
            f"    auto& vlSelfRef = *vlSelf;\n{calls}}}\n"
        )

    def _body(self, group: Group) -> str:
        before, after = self._comparisons(group.writes)
        own = sorted(n for n in group.reads | group.writes if MEMBER not in n)
        declarations = "".join(
            f"    {self.types[name]} {name};\n" for name in own if name not in self.shared
        )
        body = "\n".join("    " + self._marked(statement) for statement in group.statements)
        outliving = [name for name in own if name in self.shared]
        if outliving:
            names = "|".join(map(re.escape, outliving))
            body = re.sub(rf"(?<![\w.])({names})\b", rf"{_IDLE}\g<1>", body)
        return declarations + before + body + "\n" + after

    def _marked(self, statement: Statement) -> str:
        """The statement's text; a write into a memory makes its readers due."""
        text = statement.text
        for item in reversed(list(statement.simple())):
            if self.types.get(item.target, "").startswith("VlUnpacked"):
                text = (
                    text[: item.start] + self._due(self.readers[item.target]) + text[item.start :]
                )
        return text

    def _due(self, numbers: Iterable[int]) -> str:
        masks: dict[int, int] = defaultdict(int)
        for number in numbers:
            masks[number // BITS] |= 1 << number % BITS
        return "".join(f"{_IDLE}due[{w}] |= {mask:#x}ULL; " for w, mask in sorted(masks.items()))

    def _comparisons(self, written: Iterable[str]) -> tuple[str, str]:
        """C++ that keeps old values, and C++ that makes readers of changed ones due."""
        sets: dict[frozenset[int], list[str]] = defaultdict(list)
        for name in sorted(written):
            lasting = name.startswith(MEMBER) or name in self.shared
            memory = self.types[name].startswith("VlUnpacked")
            if lasting and not memory and self.readers[name]:
                sets[frozenset(self.readers[name])].append(name)
        before, after = "", ""
        for readers, names in sorted(sets.items(), key=lambda item: item[1]):
            tests = []
            for name in names:
                place = name if name.startswith(MEMBER) else _IDLE + name
                old = "old__" + name.removeprefix(MEMBER)
                before += f"    const auto {old} = {place};\n"
                tests.append(f"idle_differ({old}, {place})")
            after += f"    if ({' | '.join(tests)}) {{ {self._due(readers)}}}\n"
        return before, after

    def settling(self, functions: list[Function]) -> str:
        """The function that settles what depends on the pins, only after one has changed."""
        written: set[str] = set()
        for function in functions:
            written |= {n for s in function.statements for n in s.writes if n.startswith(MEMBER)}
        if memories := [name for name in written if self.types[name].startswith("VlUnpacked")]:
            raise UnknownFormError(f"pins write memories: {memories}")
        before, after = self._comparisons(written)
        pins = ""
        for name in self.inputs:
            last = _IDLE + name.removeprefix(MEMBER)
            pins += (
                f"    if (idle_differ({name}, {last})) {{ "
                f"{last} = {name}; changed = true; {self._due(self.readers[name])}}}\n"
            )
        first = functions[0]
        return (
            f"{_PRELUDE}void {first.name}({first.root}* vlSelf) {{\n"
            "    auto& vlSelfRef = *vlSelf;\n"
            f"    bool changed = !{_IDLE}settled;\n"
            f"    if (changed) {{ {_IDLE}settled = 1; {self._due(range(len(self.groups)))}}}\n"
            f"{pins}    if (!changed) return;\n{before}"
            + "".join(f"    {{\n{function.body}    }}\n" for function in functions)
            + f"{after}}}\n"
        )


_PRELUDE = """\
#ifndef IDLE_DIFFER
#define IDLE_DIFFER
template <typename T>
static inline bool idle_differ(const T& a, const T& b) { return a != b; }
template <std::size_t N>
static inline bool idle_differ(const VlWide<N>& a, const VlWide<N>& b) {
    EData all = 0;
    for (std::size_t i = 0; i < N; ++i) all |= a[i] ^ b[i];
    return all != 0;
}
#endif
"""
