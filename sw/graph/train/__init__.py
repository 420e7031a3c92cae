"""Optimisers: builders of the ops that train variables."""

from sw.graph.train.adam import AdamOptimizer
from sw.graph.train.gradient_descent import GradientDescentOptimizer
from sw.graph.train.momentum import MomentumOptimizer
from sw.graph.train.optimizer import Optimizer

__all__ = ["AdamOptimizer", "GradientDescentOptimizer", "MomentumOptimizer", "Optimizer"]
