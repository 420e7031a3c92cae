"""Optimisers: builders of the ops that train variables."""

from sw.graph.train.adadelta import AdadeltaOptimizer
from sw.graph.train.adagrad import AdagradOptimizer, ProximalAdagradOptimizer
from sw.graph.train.adam import AdamOptimizer
from sw.graph.train.ftrl import FtrlOptimizer
from sw.graph.train.gradient_descent import GradientDescentOptimizer
from sw.graph.train.momentum import MomentumOptimizer
from sw.graph.train.moving_averages import ExponentialMovingAverage
from sw.graph.train.optimizer import Optimizer
from sw.graph.train.proximal import ProximalGradientDescentOptimizer
from sw.graph.train.rms_prop import RMSPropOptimizer
from sw.graph.train.schedules import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    natural_exp_decay,
    piecewise_constant,
    polynomial_decay,
)

__all__ = [
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "ExponentialMovingAverage",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "RMSPropOptimizer",
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "natural_exp_decay",
    "piecewise_constant",
    "polynomial_decay",
]
