"""The training run that `kill` kills: queues, shuffling, random augmentation, dropout, Adam.

    python -m tests.verification.kill_training DIRECTORY STEPS INTERVAL

Resumes by itself. Prints "resumed N" once and "step N" after each step; at the end it writes the
final values of everything that lasts to DIRECTORY/final.npz.
"""

import os
import sys

import numpy as np

import systolica as st

EXAMPLES, FEATURES, CLASSES, BATCH = 61, 12, 3, 8


def build() -> tuple[st.Operation, st.Variable]:
    """(what trains one step, the global step): everything that could make two runs differ."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((EXAMPLES, FEATURES)).astype(np.float32)
    classes = np.argmax(rows @ rng.standard_normal((FEATURES, CLASSES)), 1).astype(np.int64)
    st.set_random_seed(7)
    row, label = st.train.slice_input_producer([rows, classes], capacity=20)  # shuffled each epoch
    noisy = row + 0.1 * st.random_normal([FEATURES])
    x, y = st.train.shuffle_batch([noisy, label], BATCH, 40, 10)
    h = st.nn.dropout(st.layers.dense(x, 16, st.nn.relu), 0.8)
    loss = st.losses.sparse_softmax_cross_entropy(y, st.layers.dense(h, CLASSES))
    step = st.train.get_or_create_global_step()
    rate = st.train.exponential_decay(0.01, step, 50, 0.9)
    train = st.train.AdamOptimizer(rate).minimize(loss, step)
    averages = st.train.ExponentialMovingAverage(0.95)
    with st.control_dependencies([train]):
        return averages.apply(st.trainable_variables()), step


def main(directory: str, steps: int, interval: int) -> None:
    """Train to `steps`, from wherever the directory's newest checkpoint is."""
    train, step = build()
    hooks = [st.train.StopAtStepHook(last_step=steps)]
    with st.train.MonitoredTrainingSession(
        checkpoint_dir=directory, hooks=hooks, save_checkpoint_steps=interval
    ) as session:
        print("resumed", st.train.global_step(session.raw_session(), step), flush=True)
        while not session.should_stop():
            session.run(train)
            print("step", st.train.global_step(session.raw_session(), step), flush=True)
    saved = st.train.load_checkpoint(st.train.latest_checkpoint(directory))
    values = {name: saved.get_tensor(name) for name in saved.get_variable_to_shape_map()}
    part = os.path.join(directory, "final.part.npz")
    np.savez(part, **values)
    os.replace(part, os.path.join(directory, "final.npz"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
