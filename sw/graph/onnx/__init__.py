"""Models of the ONNX standard as graphs: `importer.import_onnx` is the way in."""
