"""TensorBoard's event files: summaries, graphs and traced runs."""
