"""Optimisers: builders of the ops that train variables."""

from sw.graph.train.adadelta import AdadeltaOptimizer
from sw.graph.train.adagrad import AdagradOptimizer, ProximalAdagradOptimizer
from sw.graph.train.adam import AdamOptimizer
from sw.graph.train.coordinator import Coordinator, LooperThread
from sw.graph.train.device_setter import replica_device_setter
from sw.graph.train.dual_averaging import AdagradDAOptimizer
from sw.graph.train.ftrl import FtrlOptimizer
from sw.graph.train.global_step import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)
from sw.graph.train.gradient_descent import GradientDescentOptimizer
from sw.graph.train.input import (
    batch,
    batch_join,
    input_producer,
    limit_epochs,
    maybe_batch,
    maybe_batch_join,
    maybe_shuffle_batch,
    maybe_shuffle_batch_join,
    range_input_producer,
    shuffle_batch,
    shuffle_batch_join,
    slice_input_producer,
    string_input_producer,
)
from sw.graph.train.momentum import MomentumOptimizer
from sw.graph.train.moving_averages import ExponentialMovingAverage
from sw.graph.train.optimizer import Optimizer
from sw.graph.train.proximal import ProximalGradientDescentOptimizer
from sw.graph.train.queue_runner import QueueRunner, add_queue_runner, start_queue_runners
from sw.graph.train.rms_prop import RMSPropOptimizer
from sw.graph.train.schedules import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    linear_cosine_decay,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    piecewise_constant,
    piecewise_constant_decay,
    polynomial_decay,
)

__all__ = [
    "AdadeltaOptimizer",
    "AdagradDAOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "Coordinator",
    "ExponentialMovingAverage",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "LooperThread",
    "MomentumOptimizer",
    "Optimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "QueueRunner",
    "RMSPropOptimizer",
    "add_queue_runner",
    "assert_global_step",
    "batch",
    "batch_join",
    "cosine_decay",
    "cosine_decay_restarts",
    "create_global_step",
    "exponential_decay",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "input_producer",
    "inverse_time_decay",
    "limit_epochs",
    "linear_cosine_decay",
    "maybe_batch",
    "maybe_batch_join",
    "maybe_shuffle_batch",
    "maybe_shuffle_batch_join",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
    "range_input_producer",
    "shuffle_batch",
    "shuffle_batch_join",
    "replica_device_setter",
    "slice_input_producer",
    "start_queue_runners",
    "string_input_producer",
]
