"""TensorFlow's `contrib` of 2016, under its names and argument orders."""
