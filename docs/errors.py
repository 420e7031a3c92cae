"""The page of errors that a newcomer meets first: programs that are run, with what they really
say."""

from __future__ import annotations

from dataclasses import dataclass

import systolica as st

FILE = "program.py"


@dataclass(frozen=True)
class Case:
    """A program that fails, and the way out."""

    title: str
    program: str
    remedy: str


FIVE = (
    Case(
        "Shapes that do not fit",
        """
x = st.placeholder(st.float32, [None, 64], name="images")
W = st.Variable(st.zeros([100, 10]), name="weights")
y = st.matmul(x, W)
""",
        "It is found when the graph is built, at the line that makes the op; nothing ran yet. "
        "Unknown sizes (`None`) fit everything and are checked when values come.",
    ),
    Case(
        "Kinds of numbers that do not mix",
        """
count = st.constant(3, name="count")
share = st.constant(0.5, name="share")
y = share * count
""",
        "Nothing is converted silently: `share * st.cast(count, st.float32)`. Python numbers take "
        "the tensor's type by themselves, so `share * 3` is fine.",
    ),
    Case(
        "A variable without a value",
        """
W = st.Variable(st.zeros([2, 2]), name="weights")
with st.Session() as session:
    session.run(W * 2)
""",
        "Variables get their first values when an initialiser runs: "
        "`session.run(st.global_variables_initializer())`, after all of them are made. "
        "Optimisers make variables, too.",
    ),
    Case(
        "A placeholder that was not fed",
        """
x = st.placeholder(st.float32, [None, 2], name="images")
y = st.reduce_sum(x)
with st.Session() as session:
    session.run(y)
""",
        "`session.run(y, {x: values})`. Only what a fetch needs has to be fed.",
    ),
    Case(
        "A value of the wrong shape",
        """
x = st.placeholder(st.float32, [None, 2], name="images")
y = st.reduce_sum(x)
with st.Session() as session:
    session.run(y, {x: [1.0, 2.0]})
""",
        "One sample is a batch of one: `{x: [[1.0, 2.0]]}`. The message ends with the line that "
        "made the placeholder.",
    ),
)

WAITING = """
queue = st.FIFOQueue(10, st.float32, [[]], name="samples")
with st.Session(config=st.SessionConfig(operation_timeout_in_ms=100)) as session:
    session.run(queue.dequeue())
"""

NAN = """
p = st.placeholder(st.float32, [None], name="odds")
entropy = -st.reduce_sum(st.multiply(p, st.log(p), name="surprise"))
with st.Session() as session:
    session.run(entropy, {p: [0.5, 0.5, 0.0]}, st.RunOptions(find_nan=True))
"""


def said(program: str) -> str:
    """The error of a program, as Python prints its last line; it must fail."""
    lines = f"import systolica as st\n{program}"
    with st.Graph().as_default():
        try:
            exec(compile(lines, FILE, "exec"), {"__name__": "__main__"})
        except st.errors.OpError as error:
            return f"{type(error).__module__}.{type(error).__name__}: {error}"
    raise AssertionError(f"this program does not fail:\n{program}")


def _shown(program: str) -> list[str]:
    return [
        f"```py\nimport systolica as st\n{program.rstrip()}\n```",
        "",
        f"```text\n{said(program)}\n```",
    ]


def page() -> str:
    """The page."""
    lines = [
        "# The five errors that one meets first",
        "",
        "Generated from `docs/errors.py` by `make docs`, which runs these programs; do not edit.",
        "",
        "Every error is an `st.errors.OpError` of a kind named as in TensorFlow, says which op, "
        "which value and what would be right, and leaves the session usable.",
    ]
    for number, case in enumerate(FIVE, 1):
        lines += ["", f"## {number}. {case.title}", "", *_shown(case.program), "", case.remedy]
    lines += [
        "",
        "## And when nothing happens",
        "",
        "A run that takes from a queue waits for elements. Nobody adds any before "
        "`st.train.start_queue_runners(session, coord)`; after ten seconds a warning says so. With "
        "a deadline, of a session or of one run (`st.RunOptions(timeout_in_ms=...)`), it is an "
        "error:",
        "",
        *_shown(WAITING),
        "",
        "## Where did the NaN come from?",
        "",
        "`session.run(y, options=st.RunOptions(find_nan=True))` looks at every value of the run "
        "and names the first op that made a NaN:",
        "",
        *_shown(NAN),
    ]
    return "\n".join(lines) + "\n"
