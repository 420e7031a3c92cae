"""Summaries and hooks of training under the names of 2016."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_summaries_with_tags(tmp_path: Path) -> None:
    """Each kind with its tag, merged by hand and all at once, in a file that can be read back."""
    one = st.scalar_summary("loss", st.constant(2.0))
    st.histogram_summary("weights", st.constant([1.0, 2.0]))
    st.audio_summary("sound", st.constant(np.zeros((1, 8, 1), np.float32)), 8.0)
    every = st.merge_all_summaries()
    pair = st.merge_summary([one, one])
    with st.Session() as session:
        writer = st.train.SummaryWriter(str(tmp_path))
        writer.add_summary(session.run(every), 3)
        writer.add_summary(session.run(pair), 4)
        writer.close()
    (file,) = tmp_path.iterdir()
    tags: dict[int, list[str]] = {}
    for event in st.train.summary_iterator(str(file)):
        tags.setdefault(event.step, []).extend(v.tag.split("/")[0] for v in event.summary.value)
    assert sorted(tags[3]) == ["loss", "sound", "weights"] and tags[4] == ["loss", "loss"]


def test_hooks_see_and_save(tmp_path: Path) -> None:
    """A hook's context and values; checkpoints and summaries as hooks."""
    step = st.train.get_or_create_global_step()
    more = step.assign_add(1)
    summary = st.scalar_summary("step", st.to_float(more))
    seen = []

    class Watch(st.train.SessionRunHook):
        def before_run(self, run_context: Any) -> Any:
            assert isinstance(run_context, st.train.SessionRunContext)
            return st.train.SessionRunArgs(more)

        def after_run(self, run_context: Any, run_values: Any) -> None:
            assert isinstance(run_values, st.train.SessionRunValues)
            seen.append(int(run_values.results))

    hooks = [
        Watch(),
        st.train.CheckpointSaverHook(str(tmp_path), save_steps=2, saver=st.train.Saver()),
        st.train.SummarySaverHook(save_steps=1, output_dir=str(tmp_path), summary_op=summary),
    ]
    with st.train.MonitoredSession(hooks=hooks) as session:
        for _ in range(5):
            session.run(more)
    assert seen == [1, 2, 3, 4, 5]
    saved = st.train.latest_checkpoint(str(tmp_path))
    assert saved is not None and saved.endswith("-5")
    st.train.update_checkpoint_state(str(tmp_path), str(tmp_path / "other"), [saved])
    state = st.train.get_checkpoint_state(str(tmp_path))
    assert state is not None and state.model_checkpoint_path.endswith("other")
