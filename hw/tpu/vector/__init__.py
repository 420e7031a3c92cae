"""The vector unit: reads rows, converts them to int8, pools them and writes them back."""
