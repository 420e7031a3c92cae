"""Whole models: layers in a row or in a graph with fit, evaluate and predict; estimators."""
